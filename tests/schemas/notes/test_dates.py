"""Dates as people write them: understood where there is one way to understand them."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.notes.dates import read_date


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2026-01-12", "2026-01-12"),
        ("2026-1-2", "2026-01-02"),
        ("2026-01-12T13:07:00Z", "2026-01-12T13:07:00Z"),
        ("2026-01-17T16:10:50.485482713Z", "2026-01-17T16:10:50Z"),
        ("2026-01-12 13:07", "2026-01-12T13:07:00Z"),
        ("2026-01-12T13:07:00+02:00", "2026-01-12T11:07:00Z"),
        ("2024-04-01 00:00:00 -0400", "2024-04-01T04:00:00Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
        ("1669150683170", "2022-11-22T20:58:03Z"),
        ("1669150683", "2022-11-22T20:58:03Z"),
        ("1669150683.17", "2022-11-22T20:58:03Z"),
        ("20260112", "2026-01-12"),
        ("202601121307", "2026-01-12T13:07:00Z"),
        ("20260112130700", "2026-01-12T13:07:00Z"),
        ("20260112T130700Z", "2026-01-12T13:07:00Z"),
        ("July 5, 2023", "2023-07-05"),
        ("5 July 2023", "2023-07-05"),
        ("Jul. 5 2023", "2023-07-05"),
        ("05-Jul-2023", "2023-07-05"),
        ("1st of March, 2024", "2024-03-01"),
        ("Wed, 05 Jul 2023 10:00:00 +0000", "2023-07-05T10:00:00Z"),
        ("Wednesday, July 5th, 2023 10:30 PM", "2023-07-05T22:30:00Z"),
        ("July 5, 2023 at 12:05 am", "2023-07-05T00:05:00Z"),
        ("2023/07/05", "2023-07-05"),
        ("2023.07.05 09:00", "2023-07-05T09:00:00Z"),
        ("07/25/2023", "2023-07-25"),
        ("25.07.2023", "2023-07-25"),
        ("05/05/2023", "2023-05-05"),
        ("[[2022-05-01]]", "2022-05-01"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_understood(text: str, date: str) -> None:
    assert read_date(text) == date


@pytest.mark.parametrize(
    "text",
    [
        "05/07/2023",
        "yesterday",
        "2022-05",
        "2022",
        "2023-02-30",
        "99999999999999",
        "July 35, 2023",
        "Jux 5 2023",
        "5 Jul",
        "",
        " ",
        "2023-07-05 25:00",
        "July 5, 2023 at 13:00 pm",
        "0000-01-01",
        "٢٠٢٦-٠١-١٢x",
        "9" * 500,
        "202699991307",
        "2023-07-05 noon",
    ],
)
def test_not_understood(text: str) -> None:
    assert read_date(text) is None


@settings(max_examples=50, deadline=None)
@given(st.datetimes(datetime.datetime(1, 1, 2), datetime.datetime(9998, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_an_instant_is_the_same_in_every_zone(moment: datetime.datetime, minutes: int) -> None:
    moment = moment.replace(microsecond=0)
    zone = datetime.timezone(datetime.timedelta(minutes=minutes))
    written = moment.replace(tzinfo=datetime.UTC).astimezone(zone).isoformat()
    assert read_date(written) == read_date(moment.isoformat() + "Z") == moment.isoformat() + "Z"


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="0123456789-/.:TZ +amJuly,", max_size=40))
def test_never_raises_and_always_sorts(text: str) -> None:
    date = read_date(text)
    assert date is None or datetime.datetime.fromisoformat(date.replace("Z", "+00:00"))
