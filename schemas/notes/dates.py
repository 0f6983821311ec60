"""Dates as people write them in frontmatter, understood where there is one way to understand them.

ISO 8601 in all its spellings, `2026/01/12`, `20260112`, seconds and milliseconds since 1970, RFC 2822, months by their English
names, and numbers with dots or slashes where only one order of day and month is possible. Not understood: `05/07/2023`, words
such as `yesterday` (a date in a file must not depend on when it is read), other languages. Pure, light: standard library only.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

_MONTH_NAMES = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_MONTHS = {name[:3]: number for number, name in enumerate(_MONTH_NAMES, 1)}
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z")
_ISO = re.compile(
    r"(\d{4})-(\d\d?)-(\d\d?)(?:[Tt ]\s*(\d\d?):(\d\d)(?::(\d\d)(?:[.,]\d{1,12})?)?\s*(Z|z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?)?\Z"
)
_SLASHED = re.compile(r"(\d{4})([/.])(\d\d?)\2(\d\d?)(?:[T ]+(.+))?\Z")
_ORDER_OPEN = re.compile(r"(\d\d?)([/.-])(\d\d?)\2(\d{4})(?:,?[T ]+(.+))?\Z")
_COMPACT = re.compile(r"(\d{4})(\d\d)(\d\d)(?:[T-]?(\d\d)(\d\d)(\d\d)?(Z)?)?\Z")
_EPOCH = re.compile(r"(\d{9,10}|\d{12,13}|\d{16}|\d{19})(?:\.\d+)?\Z")
_MONTH = re.compile(r"(\d{4})-(\d\d)\Z")
_WEEKDAY = re.compile(r"(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?\.?,?\s+", re.I)
_DAY_FIRST = re.compile(
    r"(\d\d?)(?:st|nd|rd|th)?(?:\s+of)?[\s.-]+([a-z]{3,9})\.?,?[\s.-]+(\d{4})(?:,?\s+(?:at\s+)?(.+))?\Z", re.I
)
_MONTH_FIRST = re.compile(r"([a-z]{3,9})\.?\s+(\d\d?)(?:st|nd|rd|th)?,?\s+(\d{4})(?:,?\s+(?:at\s+)?(.+))?\Z", re.I)
_TIME = re.compile(r"(\d\d?):(\d\d)(?::(\d\d)(?:\.\d+)?)?\s*([ap]\.?m\.?)?\s*(Z|UTC|GMT|[+-]\d\d:?\d\d)?\Z", re.I)


def read_date(text: str) -> str | None:
    """A date in ISO 8601: `2026-01-12`, or `2026-01-12T13:07:00Z` in UTC; None where it cannot be told.

    A time without a zone is taken for UTC. Fractions of a second are dropped.
    """
    text = text.strip()
    if text.startswith("[[") and text.endswith("]]"):
        text = text[2:-2].strip()
    if len(text) < 8 or len(text) > 80:
        return None
    try:
        return _read(text)
    except (ValueError, OverflowError):
        return None


def _read(text: str) -> str | None:
    if _ISO_DATE.match(text):
        return datetime(int(text[:4]), int(text[5:7]), int(text[8:])).date().isoformat()
    if iso := _ISO.match(text):
        year, month, day, hour, minute, second, zone = iso.groups()
        if hour is None:
            return _date(year, month, day)
        return _instant(_at(year, month, day, hour, minute, second), zone)
    if text.isdigit() or _EPOCH.match(text):
        return _number(text)
    if compact := _COMPACT.match(text):
        return _from_compact(compact)
    if slashed := _SLASHED.match(text):
        return _with_time(slashed[1], slashed[3], slashed[4], slashed[5])
    if numbers := _ORDER_OPEN.match(text):
        first, second = int(numbers[1]), int(numbers[3])
        if first > 12 or first == second:
            return _with_time(numbers[4], second, first, numbers[5])
        return _with_time(numbers[4], first, second, numbers[5]) if second > 12 else None
    return _words(_WEEKDAY.sub("", text, count=1))


def _words(text: str) -> str | None:
    if named := _DAY_FIRST.match(text):
        month = _month(named[2])
        return _with_time(named[3], month, named[1], named[4]) if month else None
    if named := _MONTH_FIRST.match(text):
        month = _month(named[1])
        return _with_time(named[3], month, named[2], named[4]) if month else None
    return None


def _month(name: str) -> int | None:
    name = name.lower()
    number = _MONTHS.get(name[:3])
    return number if number and (len(name) == 3 or name == "sept" or _MONTH_NAMES[number - 1] == name) else None


def _number(text: str) -> str | None:
    """Digits alone: a date or timestamp where they make one of our time, else time since 1970 by their count."""
    if len(text) in (8, 12, 14) and text.isdigit() and text[:2] in ("19", "20") and (compact := _COMPACT.match(text)):
        return _from_compact(compact)
    if not (epoch := _EPOCH.match(text)):
        return None
    digits = epoch[1]
    seconds = int(digits) // 10 ** {9: 0, 10: 0, 12: 3, 13: 3, 16: 6, 19: 9}[len(digits)]
    return _text(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))


def _from_compact(compact: re.Match[str]) -> str:
    year, month, day, hour, minute, second, zone = compact.groups()
    return _date(year, month, day) if hour is None else _instant(_at(year, month, day, hour, minute, second), zone)


def _with_time(year: str | int, month: str | int, day: str | int, time: str | None) -> str | None:
    if not time or not time.strip():
        return _date(year, month, day)
    found = _TIME.match(time.strip())
    if found is None:
        return None
    hour = int(found[1])
    if found[4]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if found[4][0] in "pP" else 0)
    return _instant(_at(year, month, day, hour, found[2], found[3]), found[5])


def _date(year: str | int, month: str | int, day: str | int) -> str:
    return datetime(int(year), int(month), int(day)).date().isoformat()


def _at(
    year: str | int, month: str | int, day: str | int, hour: str | int, minute: str | int, second: str | int | None
) -> datetime:
    # A leap second is the last one a clock shows.
    return datetime(int(year), int(month), int(day), int(hour), int(minute), min(int(second or 0), 59))


def _instant(moment: datetime, zone: str | None) -> str:
    if zone and zone[0] in "+-":
        digits = zone[1:].replace(":", "")
        offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
        return _text(moment.replace(tzinfo=timezone(-offset if zone[0] == "-" else offset)).astimezone(UTC))
    return _text(moment)


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment.year >= 1000 else moment.replace(tzinfo=None).isoformat() + "Z"
