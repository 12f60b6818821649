"""A target's own changes to a body."""

from __future__ import annotations

import json

import pytest

from extproc.deployment import Edits
from extproc.exchange.edit import edit

BODY = b' {"model" : "m", "user":"u",\n "temperature":0.50}'

CASES = [
    (
        Edits(set={"temperature": b"0"}),
        b' {"model" : "m", "user":"u",\n "temperature":0}',
    ),
    (Edits(default={"temperature": b"1"}), BODY),
    (Edits(default={"top_p": b"1"}), {"top_p": 1}),
    (Edits(remove=("user",)), {"user": None}),
    (Edits(remove=("nothing",)), BODY),
    (Edits(remove=("user",), default={"user": b'"x"'}), {"user": "x"}),
    (Edits(remove=("user",), set={"user": b'"x"'}), {"user": "x"}),
]


@pytest.mark.parametrize(("edits", "expected"), CASES)
def test_members_are_set_left_out_and_added(edits, expected):
    out = edit(BODY, edits)
    if isinstance(expected, bytes):
        assert out == expected
        return
    wanted = json.loads(BODY) | expected
    assert json.loads(out) == {k: v for k, v in wanted.items() if v is not None}


def test_no_edits_are_none():
    assert not Edits()
    assert Edits(remove=("x",))
