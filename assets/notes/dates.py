"""When something was, said by a person: `2026-01`, `yesterday`, `3 weeks ago`, `2026-01-01..2026-03`, as a span of time.

Reading dates of notes belongs to `schemas.notes`; here is what a command's option may say, and how a span is compared with
the dates that the index holds (`2026-01-12`, or `2026-01-12T13:07:00Z`). ISO 8601 and the common English words are read here;
only what is left goes to dateparser, whose import alone costs more than a whole command may. Light otherwise.

A date in ISO 8601 that names no time zone is in UTC, as in notes; words are in the time zone of `now`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from schemas.errors import UsageError

RULE: Final = "notes-bad-date"

_ISO = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d{2})(?:-(?P<day>\d{2})"
    r"(?:[T ](?P<hour>\d{2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"\s*(?P<zone>[Zz]|[+-]\d{2}:?\d{2})?)?)?)?"
)
_WEEK = re.compile(r"(?P<year>\d{4})-?W(?P<week>\d{2})")
_AGO = re.compile(
    r"(?:(?P<last>(?:(?:in )?the )?(?:last|past))\s+)?"
    r"(?P<count>\d{1,6}|an?|one|two|three|four|five|six|seven|eight|nine|ten)"
    r"\s*(?P<unit>s|secs?|seconds?|min|mins|minutes?|h|hours?|d|days?|w|weeks?|months?|y|years?)(?P<ago>\s+ago)?"
)
_CALENDAR = re.compile(r"(?P<which>this|last|previous|next)\s+(?P<unit>week|month|year)")
_WEEKDAY = re.compile(r"(?:(?P<which>last|this|on)\s+)?(?P<day>mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?")
_NUMBERS: Final = {
    word: number + 1
    for number, word in enumerate(["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"])
} | {"a": 1, "an": 1}
_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS_OF: Final = {"month": 1, "year": 12}


@dataclass(frozen=True, slots=True)
class When:
    """A span of time, `start` inclusive, `stop` exclusive; both aware, None where it is open at that end."""

    start: dt.datetime | None
    stop: dt.datetime | None

    def sql(self, column: str) -> tuple[str, list[str]]:
        """A condition on a column of the index that lies within the span, and its parameters. A date without a time counts as
        the whole day: it is in every span that touches that day. NULL never is."""
        parts: list[str] = []
        values: list[str] = []
        if self.start is not None:
            parts.append(f"{column} >= CASE length({column}) WHEN 10 THEN ? ELSE ? END")
            values += [self.start.date().isoformat(), instant(self.start)]
        if self.stop is not None:
            # The last moment that is still within, for its day.
            last = (self.stop - dt.timedelta(microseconds=1)).date().isoformat()
            parts.append(f"CASE length({column}) WHEN 10 THEN {column} <= ? ELSE {column} < ? END")
            values += [last, instant(self.stop)]
        return (" AND ".join(parts) or f"{column} IS NOT NULL", values)

    def holds(self, written: str) -> bool:
        """Whether a date of the index lies within the span; the same as `sql`."""
        if len(written) == 10:
            after = self.start is None or written >= self.start.date().isoformat()
            before = self.stop is None or written <= (self.stop - dt.timedelta(microseconds=1)).date().isoformat()
        else:
            after = self.start is None or written >= instant(self.start)
            before = self.stop is None or written < instant(self.stop)
        return after and before


def instant(moment: dt.datetime) -> str:
    """A moment in UTC as text that sorts with the dates of the index: without the `Z`, so that `…:00Z` and `…:00.5Z` both lie
    at or after it."""
    utc = moment.astimezone(dt.UTC)
    return utc.strftime("%Y-%m-%dT%H:%M:%S") if not utc.microsecond else utc.strftime("%Y-%m-%dT%H:%M:%S.%f")


def read_moment(text: str) -> dt.datetime:
    """The moment that `--as-of` names, aware: a date alone means its first instant. Raises UsageError; words are refused, for
    what depends on the clock cannot fix it."""
    span = _iso(text.strip())
    if span is None or span.start is None:
        raise UsageError(f"{text!r} is not a date in ISO 8601", rule=RULE, fix="write it like 2026-01-12 or 2026-01-12T13:07:00Z")
    return span.start


def iso_span(text: str) -> When | None:
    """The span that a date in ISO 8601 covers (`2026`: the year), None for anything else."""
    return _iso(text.strip())


def read_when(text: str, now: dt.datetime, languages: Sequence[str] = ("en",)) -> When:
    """The span that `text` names, seen from `now` (aware). `A..B` is from the start of A to the end of B; either may be left
    out. `languages` are those (ISO 639-1) whose words count: in some language most words are a month. Raises UsageError (rule
    `notes-bad-date`)."""
    words = " ".join(text.split())
    first, dots, last = words.partition("..")
    if dots:
        if not first.strip() and not last.strip():
            raise _bad(text)
        start = read_when(first, now, languages).start if first.strip() else None
        stop = read_when(last, now, languages).stop if last.strip() else None
        if start is not None and stop is not None and start >= stop:
            raise UsageError(f"{text!r} ends before it begins", rule=RULE, fix="put the earlier date first")
        return When(start, stop)
    try:
        span = _iso(words) or _words(words.casefold(), now) or _other_words(words, now, languages)
    except (OverflowError, ValueError):
        span = None
    if span is None:
        raise _bad(text)
    return span


def _bad(text: str) -> UsageError:
    return UsageError(
        f"{text!r} is not a date that can be understood",
        rule=RULE,
        fix="write it like 2026-01-12, 2026-01, 2026-01-12T13:07:00Z, yesterday, 'last week', '3 days ago' or 2026-01..2026-03",
    )


def _iso(text: str) -> When | None:
    week = _WEEK.fullmatch(text)
    if week is not None:
        try:
            monday = dt.datetime.fromisocalendar(int(week["year"]), int(week["week"]), 1).replace(tzinfo=dt.UTC)
        except ValueError:
            return None
        return When(monday, monday + dt.timedelta(days=7))
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    zone = found["zone"]
    offset: dt.tzinfo = dt.UTC
    try:
        if zone and zone not in "Zz":
            minutes = int(zone[1:3]) * 60 + int(zone[-2:])
            offset = dt.timezone(dt.timedelta(minutes=-minutes if zone[0] == "-" else minutes))
        start = dt.datetime(
            int(found["year"]),
            int(found["month"] or 1),
            int(found["day"] or 1),
            int(found["hour"] or 0),
            int(found["minute"] or 0),
            int(found["second"] or 0),
            int((found["fraction"] or "0").ljust(6, "0")[:6]),
            tzinfo=offset,
        )
        if not found["month"]:
            stop = _month(start, 12)
        elif not found["day"]:
            stop = _month(start, 1)
        elif not found["hour"]:
            stop = start + dt.timedelta(days=1)
        elif not found["second"]:
            stop = start + dt.timedelta(minutes=1)
        else:
            stop = start + (dt.timedelta(microseconds=1) if found["fraction"] else dt.timedelta(seconds=1))
    except (ValueError, OverflowError):
        return None
    return When(start, stop)


def _month(start: dt.datetime, months: int) -> dt.datetime:
    """`start` that many months later, on the last day of that month where it is shorter."""
    total = start.year * 12 + start.month - 1 + months
    year, month = total // 12, total % 12 + 1
    following = dt.date(year + month // 12, month % 12 + 1, 1)
    return start.replace(year=year, month=month, day=min(start.day, (following - dt.timedelta(days=1)).day))


def _words(text: str, now: dt.datetime) -> When | None:
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    day = dt.timedelta(days=1)
    if text == "now":
        return When(now, now + dt.timedelta(seconds=1))
    if text in ("today", "yesterday", "tomorrow"):
        start = midnight + {"today": 0, "yesterday": -1, "tomorrow": 1}[text] * day
        return When(start, start + day)
    if (found := _CALENDAR.fullmatch(text)) is not None:
        step = {"this": 0, "next": 1}.get(found["which"], -1)
        if found["unit"] == "week":
            start = midnight - midnight.weekday() * day + step * 7 * day
            return When(start, start + 7 * day)
        months = _MONTHS_OF[found["unit"]]
        start = _month(midnight.replace(day=1, month=midnight.month if months == 1 else 1), step * months)
        return When(start, _month(start, months))
    if (found := _WEEKDAY.fullmatch(text)) is not None:
        back = (midnight.weekday() - _DAYS.index(found["day"][:3])) % 7
        if found["which"] == "last" and back == 0:
            back = 7
        start = midnight - back * day
        return When(start, start + day)
    return _ago(text, now, midnight)


def _ago(text: str, now: dt.datetime, midnight: dt.datetime) -> When | None:
    found = _AGO.fullmatch(text)
    if found is None or not (found["last"] or found["ago"]):
        return None
    count = _NUMBERS.get(found["count"]) or int(found["count"])
    unit = found["unit"]
    if unit[0] in "sh" or unit.startswith("min"):
        seconds = {"s": 1, "m": 60, "h": 3600}[unit[0]]
        start = now - dt.timedelta(seconds=seconds * count)
        length = dt.timedelta(seconds=seconds)
    else:
        days = {"d": 1, "w": 7}.get(unit[0])
        # Days and longer are counted in days of the calendar: "3 days ago" is a day, not this minute three days back.
        start = midnight - dt.timedelta(days=days * count) if days else _month(midnight, -count * (1 if unit[0] == "m" else 12))
        length = dt.timedelta(days=1)
    return When(start, now + dt.timedelta(seconds=1)) if found["last"] else When(start, start + length)


def _other_words(text: str, now: dt.datetime, languages: Sequence[str]) -> When | None:
    # A bare number would be a month or a year, a letter or two the name of one.
    if not re.search(r"[^\W\d_]{3}|\d[./]\d", text) or len(text) > 100:
        return None
    from dateparser.date import DateDataParser

    zone = now.tzinfo or dt.UTC
    settings = {
        "RELATIVE_BASE": now.replace(tzinfo=None),
        "PREFER_DATES_FROM": "past",
        "RETURN_TIME_AS_PERIOD": True,
    }
    for language in languages:
        try:
            found = DateDataParser(languages=[language], settings=settings).get_date_data(text)
        except ValueError:  # a language it does not know
            continue
        if found.date_obj is not None:
            break
    else:
        return None
    made = found.date_obj if found.date_obj.tzinfo is not None else found.date_obj.replace(tzinfo=zone)
    if found.period == "time":
        return When(made, made + dt.timedelta(seconds=1))
    start = made.replace(hour=0, minute=0, second=0, microsecond=0)
    if found.period == "year":
        start = start.replace(month=1, day=1)
        return When(start, _month(start, 12))
    if found.period == "month":
        start = start.replace(day=1)
        return When(start, _month(start, 1))
    return When(start, start + dt.timedelta(days=1))
