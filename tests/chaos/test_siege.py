"""``make chaos``, its second half, in short: everybody comes at once."""

from __future__ import annotations

import pytest

from tests.chaos.siege import AFTER, CROWDS, NARROW, PLAYS, narrow, siege

pytestmark = pytest.mark.envoy


def test_whoever_comes_and_whatever_is_gone_nothing_is_lost_nor_left(chaos_stage):
    rows = list(siege(chaos_stage, list(PLAYS), short=True))
    assert {row.name: row.wrong for row in rows if row.wrong} == {}
    assert {row.name for row in rows} == {*CROWDS, *AFTER, "afterwards"}
    assert rows[-1].name == "afterwards"


def test_a_gateway_that_has_too_little_lives_and_loses_nothing():
    rows = list(narrow(list(NARROW), short=True))
    assert {row.name: row.wrong for row in rows if row.wrong} == {}
    assert [row.name for row in rows] == [*NARROW, "afterwards"]
