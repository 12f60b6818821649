"""Periods of the calendar, against the time zone database."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given, strategies as st

from extproc.config.subjects import zone
from extproc.identity import Period, Zone
from extproc.policy.budget import NEVER, offset_at, period_at

CREATED = 1_800_000_000
NAMES = (
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "America/Sao_Paulo",
    "Africa/Cairo", "Asia/Beirut", "Pacific/Apia", "Australia/Lord_Howe",
)  # fmt: skip
ZONES = {name: zone(name, created=CREATED) for name in NAMES}
PERIODS: tuple[Period, ...] = get_args(Period)


def unix(text, name="UTC"):
    return int(
        datetime.fromisoformat(text).replace(tzinfo=zoneinfo.ZoneInfo(name)).timestamp()
    )


CASES = {
    "hour": ("2027-03-15T10:42", "2027-03-15T10:00", "2027-03-15T11:00"),
    "day": ("2027-03-15T10:42", "2027-03-15T00:00", "2027-03-16T00:00"),
    "week": ("2027-03-17T10:42", "2027-03-15T00:00", "2027-03-22T00:00"),
    "month": ("2027-02-17T10:42", "2027-02-01T00:00", "2027-03-01T00:00"),
    "quarter": ("2027-12-31T23:59", "2027-10-01T00:00", "2028-01-01T00:00"),
    "year": ("2028-02-29T00:00", "2028-01-01T00:00", "2029-01-01T00:00"),
}


@pytest.mark.parametrize("period", CASES)
@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/New_York"])
def test_a_period_begins_at_midnight_of_its_zone(period, name):
    now, start, end = (unix(text, name) for text in CASES[period])
    assert period_at(period, ZONES[name], now) == (start, end)
    assert period_at(period, ZONES[name], start) == (start, end)
    assert period_at(period, ZONES[name], end)[0] == end


def test_a_total_has_no_end():
    assert period_at("total", Zone(), 5.5) == (0, NEVER)


def test_a_day_on_which_the_clocks_change_is_shorter_or_longer():
    berlin = ZONES["Europe/Berlin"]
    for text, hours in (("2027-03-28T12:00", 23), ("2027-10-31T12:00", 25)):
        start, end = period_at("day", berlin, unix(text, "Europe/Berlin"))
        assert end - start == hours * 3600


def test_a_day_without_a_midnight_begins_when_the_clocks_change():
    cairo = ZONES["Africa/Cairo"]
    changes = [
        since
        for since, before, after in zip(
            cairo.since[1:], cairo.offsets, cairo.offsets[1:], strict=False
        )
        if after > before and (since + before) % 86_400 == 0
    ]
    assert changes, "Egypt no longer changes its clocks at midnight"
    for change in changes:
        assert period_at("day", cairo, change)[0] == change
        assert period_at("day", cairo, change - 1)[1] == change


times = st.integers(CREATED, CREATED + 8 * 366 * 86_400)


@given(st.sampled_from(NAMES), st.sampled_from(PERIODS), times)
def test_every_moment_is_in_exactly_one_period(name, period, now):
    start, end = period_at(period, ZONES[name], now)
    assert start <= now < end
    assert period_at(period, ZONES[name], end - 1) == (start, end)
    if period != "total":
        assert period_at(period, ZONES[name], end)[0] == end


@given(st.sampled_from(NAMES), times)
def test_a_day_begins_where_the_date_changes(name, now):
    start, _ = period_at("day", ZONES[name], now)
    info = zoneinfo.ZoneInfo(name)
    first = datetime.fromtimestamp(start, UTC).astimezone(info)
    last = datetime.fromtimestamp(start - 1, UTC).astimezone(info)
    assert first.date() == datetime.fromtimestamp(now, UTC).astimezone(info).date()
    assert last.date() < first.date()
    assert (
        offset_at(ZONES[name], start)
        == (first.utcoffset() or timedelta()).total_seconds()
    )
