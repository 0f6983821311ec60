"""When something was, as people say it."""

from __future__ import annotations

import datetime as dt
import sqlite3
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.notes.dates import When, read_moment, read_when
from schemas.errors import UsageError

NOW = dt.datetime(2026, 3, 18, 15, 4, tzinfo=dt.UTC)  # a Wednesday


def span(text: str, now: dt.datetime = NOW) -> tuple[str, str]:
    found = read_when(text, now)
    assert found.start is not None
    assert found.stop is not None
    return found.start.strftime("%Y-%m-%dT%H:%M:%S"), found.stop.strftime("%Y-%m-%dT%H:%M:%S")


@pytest.mark.parametrize(
    ("text", "start", "stop"),
    [
        ("2026", "2026-01-01T00:00:00", "2027-01-01T00:00:00"),
        ("2025-12", "2025-12-01T00:00:00", "2026-01-01T00:00:00"),
        ("2026-02-28", "2026-02-28T00:00:00", "2026-03-01T00:00:00"),
        ("2026-01-12T13:07", "2026-01-12T13:07:00", "2026-01-12T13:08:00"),
        ("2026-01-12 13:07:05Z", "2026-01-12T13:07:05", "2026-01-12T13:07:06"),
        ("2026-W03", "2026-01-12T00:00:00", "2026-01-19T00:00:00"),
        ("today", "2026-03-18T00:00:00", "2026-03-19T00:00:00"),
        ("Yesterday", "2026-03-17T00:00:00", "2026-03-18T00:00:00"),
        ("this week", "2026-03-16T00:00:00", "2026-03-23T00:00:00"),
        ("last week", "2026-03-09T00:00:00", "2026-03-16T00:00:00"),
        ("last month", "2026-02-01T00:00:00", "2026-03-01T00:00:00"),
        ("last year", "2025-01-01T00:00:00", "2026-01-01T00:00:00"),
        ("monday", "2026-03-16T00:00:00", "2026-03-17T00:00:00"),
        ("wednesday", "2026-03-18T00:00:00", "2026-03-19T00:00:00"),
        ("last wednesday", "2026-03-11T00:00:00", "2026-03-12T00:00:00"),
        ("3 days ago", "2026-03-15T00:00:00", "2026-03-16T00:00:00"),
        ("two weeks ago", "2026-03-04T00:00:00", "2026-03-05T00:00:00"),
        ("a month ago", "2026-02-18T00:00:00", "2026-02-19T00:00:00"),
        ("last 2 months", "2026-01-18T00:00:00", "2026-03-18T15:04:01"),
        ("2 hours ago", "2026-03-18T13:04:00", "2026-03-18T14:04:00"),
        ("march 3rd", "2026-03-03T00:00:00", "2026-03-04T00:00:00"),
        ("12/25/2025", "2025-12-25T00:00:00", "2025-12-26T00:00:00"),
        ("2026-01..2026-02", "2026-01-01T00:00:00", "2026-03-01T00:00:00"),
        ("last month..yesterday", "2026-02-01T00:00:00", "2026-03-18T00:00:00"),
    ],
)
def test_a_span_is_as_long_as_what_was_said(text: str, start: str, stop: str) -> None:
    assert span(text) == (start, stop)


def test_a_month_ago_on_the_31st_is_the_last_day_of_a_shorter_month() -> None:
    assert span("a month ago", dt.datetime(2026, 3, 31, tzinfo=dt.UTC))[0] == "2026-02-28T00:00:00"


def test_ranges_may_be_open() -> None:
    assert read_when("2026-01..", NOW).stop is None
    assert read_when("..2026-01", NOW).start is None


@pytest.mark.parametrize(
    "text",
    ["", "..", "foo", "bar", "banana", "not-a-date", "12", "2026-02-30", "2026-13-01", "99999 years ago", "2026..2025", "\0"],
)
def test_case_42_a_bad_date_is_a_mistake_of_usage(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_when(text, NOW)
    assert (caught.value.exit_code, caught.value.rule) == (2, "notes-bad-date")
    assert caught.value.fix


def test_words_are_in_the_time_zone_of_now() -> None:
    tokyo = dt.timezone(dt.timedelta(hours=9))
    found = read_when("today", dt.datetime(2026, 3, 19, 1, 0, tzinfo=tokyo))
    assert found.holds("2026-03-18T15:30:00Z")
    assert found.holds("2026-03-19")
    assert not found.holds("2026-03-18T14:59:59Z")


def test_case_42_since_an_instant_holds_that_very_instant() -> None:
    since = When(read_when("2026-01-12T13:07:00Z", NOW).start, None)
    assert since.holds("2026-01-12T13:07:00Z")
    assert since.holds("2026-01-12T13:07:00.5Z")
    assert since.holds("2026-01-12")
    assert not since.holds("2026-01-12T13:06:59Z")
    assert not since.holds("2026-01-11")


def test_until_a_day_holds_the_whole_day() -> None:
    until = When(None, read_when("2026-01-12", NOW).stop)
    assert until.holds("2026-01-12T23:59:59.999Z")
    assert until.holds("2026-01-12")
    assert not until.holds("2026-01-13")
    assert not until.holds("2026-01-13T00:00:00Z")


DATES = st.datetimes(dt.datetime(2025, 12, 30), dt.datetime(2026, 2, 3))
WRITTEN = st.one_of(DATES.map(lambda d: d.date().isoformat()), DATES.map(lambda d: d.replace(microsecond=0).isoformat() + "Z"))


@settings(max_examples=50, deadline=None)
@given(WRITTEN, st.sampled_from(["2026", "2026-01", "2026-01-12", "2026-01-12T13:07:00Z", "2026-01..2026-02", "..2026-01-05"]))
def test_sql_says_what_python_says(written: str, text: str) -> None:
    span_ = read_when(text, NOW)
    sql, values = span_.sql("d")
    connection = sqlite3.connect(":memory:")
    (held,) = connection.execute(f"SELECT {sql} FROM (SELECT ? AS d)", (*values, written)).fetchone()
    (empty,) = connection.execute(f"SELECT {sql} FROM (SELECT NULL AS d)", values).fetchone()
    connection.close()
    assert bool(held) == span_.holds(written)
    assert not empty


def test_as_of_takes_no_words() -> None:
    assert read_moment("2026-01-12") == dt.datetime(2026, 1, 12, tzinfo=dt.UTC)
    assert read_moment("2026-01-12T10:00+02:00") == dt.datetime(2026, 1, 12, 8, tzinfo=dt.UTC)
    with pytest.raises(UsageError):
        read_moment("yesterday")


def test_common_dates_do_not_load_the_large_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dateparser.date", None)
    for text in ("2026-01-12", "yesterday", "3 weeks ago", "last month", "friday"):
        read_when(text, NOW)
    with pytest.raises(ImportError):
        read_when("march 3rd", NOW)
