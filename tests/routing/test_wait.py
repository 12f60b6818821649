"""Every way in which providers say how long to wait."""

from __future__ import annotations

import pytest

from extproc.routing.wait import noted, read_retry_after

NOON = 1_700_049_600.0  # Wed, 15 Nov 2023 12:00:00 GMT


@pytest.mark.parametrize(
    ("said", "wait"),
    [
        ("20", "20"),
        ("Wed, 15 Nov 2023 12:00:30 GMT", "Wed, 15 Nov 2023 12:00:30 GMT"),
        ("ms 1500", "1.5"),
        ("ms soon", None),
        ("reset 1s", "1"),
        ("reset 6m0s", "360"),
        ("reset 2m59.56s", "179.56"),
        ("reset 1h0m2s", "3602"),
        ("reset 120ms", "0.12"),
        ("reset 30", "30"),
        ("reset -", None),
        ("reset 6m!", None),
        ("-", None),
    ],
)
def test_what_lua_notes_becomes_a_retry_after(said, wait):
    assert noted(said) == wait


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("20", 20.0),
        ("0.5", 0.5),
        ("Wed, 15 Nov 2023 12:00:30 GMT", 30.0),
        ("Wednesday, 15-Nov-23 12:00:30 GMT", 30.0),
        ("Wed Nov 15 12:00:30 2023", 30.0),
        ("Wed, 15 Nov 2023 11:00:00 GMT", 0.0),
        ("Wed, 15 Nov 2023 12:00:30 -0000" + "9" * 300, None),
        ("-1", None),
        ("inf", None),
        ("nan", None),
        ("soon", None),
        (None, None),
    ],
)
def test_a_retry_after_is_seconds_or_a_date(value, seconds):
    assert read_retry_after(value, NOON) == seconds


def test_without_a_clock_a_date_says_nothing():
    assert read_retry_after("Wed, 15 Nov 2023 12:00:30 GMT") is None
