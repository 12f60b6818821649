"""``make chaos CHAOS=short``, as a test: no client sees a failure that could be hidden."""

from __future__ import annotations

import pytest

from tests.chaos.__main__ import chaos

pytestmark = pytest.mark.envoy

LEFT_ALONE = ("hung", "late", "429-storm", "429-bare", "529", "reset", "fallback")
"""Faults whose provider must soon get none of the requests but trials."""


def test_every_fault_is_hidden_where_a_target_is_well():
    rows = {row.name: row for row in chaos(short=True)}
    assert {name: row.failures for name, row in rows.items() if row.failures} == {}
    assert sum(row.requests for row in rows.values()) > 600
    for name in LEFT_ALONE:
        assert rows[name].asked <= rows[name].requests // 2, name
    assert rows["burst"].asked == 200
    assert rows["burst"].requests == 200
