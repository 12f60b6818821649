"""Periods of the calendar in a time zone, without asking the system for either.

A budget's period begins at midnight of its own zone, whatever the offset is that day;
control looks the offsets up once and puts them into the snapshot (`identity.Zone`).
"""

from __future__ import annotations

import bisect
from datetime import date

from extproc.identity import Period, Zone

_EPOCH = date(1970, 1, 1).toordinal()
_DAY = 86_400

NEVER = 1 << 40
"""The end of a ``total``: Unix seconds far behind any clock."""


def offset_at(zone: Zone, at: int) -> int:
    """Return how many seconds east of UTC `zone` is at `at` (Unix seconds)."""
    return zone.offsets[max(0, bisect.bisect_right(zone.since, at) - 1)]


def period_at(period: Period, zone: Zone, now: float) -> tuple[int, int]:
    """Return the Unix seconds at which the period around `now` begins and ends.

    The end is the next one's beginning. Where the clocks skip midnight the day begins
    with its first moment; where midnight comes twice, with the first.
    """
    if period == "total":
        return 0, NEVER
    at = int(now)
    local = at + offset_at(zone, at)
    if period == "hour":
        # By the clock's minutes; the hour that comes twice is two periods.
        start = at - local % 3600
        return start, start + 3600
    today = date.fromordinal(_EPOCH + local // _DAY)
    first = _first_day(period, today)
    return _midnight(first, zone), _midnight(_first_day_after(period, first), zone)


def _first_day(period: Period, day: date) -> date:
    match period:
        case "week":
            return date.fromordinal(day.toordinal() - day.weekday())
        case "month":
            return day.replace(day=1)
        case "quarter":
            return day.replace(month=day.month - (day.month - 1) % 3, day=1)
        case "year":
            return day.replace(month=1, day=1)
        case _:
            return day


def _first_day_after(period: Period, first: date) -> date:
    longest = {"day": 1, "week": 7, "month": 31, "quarter": 92, "year": 366}[period]
    return _first_day(period, date.fromordinal(first.toordinal() + longest))


def _midnight(day: date, zone: Zone) -> int:
    """Return when `day` begins in `zone`: the first moment whose local date it is."""
    local = (day.toordinal() - _EPOCH) * _DAY
    # No place is further than a day from UTC, nor changes its offset twice in two days.
    before = offset_at(zone, local - _DAY)
    after = offset_at(zone, local + _DAY)
    first = local - before
    if offset_at(zone, first) == before:
        return first
    second = local - after
    if offset_at(zone, second) == after:
        return second
    # Midnight is skipped: the day begins when the clocks are changed.
    return zone.since[bisect.bisect_right(zone.since, first) - 1]
