"""``make chaos CHAOS=short``, as a test: no client sees a failure that could be hidden."""

from __future__ import annotations

import math

import pytest

from tests.chaos.__main__ import FAULTS
from tests.chaos.client import Result
from tests.chaos.faults import Row, faults, until_normal

pytestmark = pytest.mark.envoy

LEFT_ALONE = ("429-storm", "429-bare", "529", "reset", "fallback")
"""Faults whose provider must soon get none of the requests but trials."""
FOUND_OUT = ("hung", "late")
"""The same, where each failure takes the first byte's whole time to be one."""


@pytest.fixture(scope="module")
def rows(chaos_stage) -> dict[str, Row]:
    found = {row.name: row for row in faults(chaos_stage, FAULTS, short=True)}
    assert found.keys() == set(FAULTS)
    return found


def test_every_fault_is_hidden_where_a_target_is_well(rows):
    seen = {name: row.why for name, row in rows.items() if row.failed}
    assert seen == {}
    assert sum(row.requests for row in rows.values()) > 900


def test_a_target_that_fails_is_left_alone(rows):
    for name in LEFT_ALONE:
        assert rows[name].asked <= rows[name].meanwhile / 2, name
    for name in FOUND_OUT:
        assert rows[name].asked <= rows[name].meanwhile * 3 / 4, name


def test_with_the_primary_down_200_requests_at_once_wait_for_the_fallback(rows):
    assert (rows["burst"].requests, rows["burst"].asked) == (200, 200)
    assert rows["burst"].p50 >= 3000


def test_a_worker_that_dies_breaks_only_what_it_was_answering(rows):
    for name in ("worker-killed", "worker-stopped"):
        assert len(rows[name].failures) <= rows[name].open, name


def test_requests_are_soon_as_fast_as_before(rows):
    late = {name: row.normal for name, row in rows.items() if row.normal == math.inf}
    assert late == {}


def test_until_normal_is_when_no_more_than_one_in_twenty_is_slow():
    def seen(*seconds):
        return [Result(1.0 + i, its) for i, its in enumerate(seconds)]

    usual = [0.1] * 20
    assert until_normal(seen(*[0.1] * 20), usual, 1.0) == 0
    assert until_normal(seen(1, 1, *[0.1] * 18), usual, 1.0) == 2
    assert until_normal(seen(*[0.1] * 19, 1), usual, 1.0) == 0
    assert until_normal(seen(*[1] * 20), usual, 1.0) == math.inf
    assert until_normal([Result(1.0, 0.1, "503")], usual, 1.0) == math.inf
