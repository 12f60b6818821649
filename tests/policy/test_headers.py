"""What a client is told of its limits."""

from __future__ import annotations

import pytest

from extproc.policy.claims import Claim, Left
from extproc.policy.headers import NAMES, duration, limit_headers


def claim(counts, limit):
    return Claim("m", counts, limit, 1, seconds=60)


def test_the_tightest_limit_of_a_kind_is_told():
    standings = [
        (claim("requests", 100), Left(50, 60.0)),
        (claim("requests", 10_000), Left(100, 3_600.0)),
        (claim("requests", 10), Left(9, 1.0)),
        (claim("nanos", 10), Left(0, 1.0)),
    ]
    told = dict(limit_headers(standings, anthropic=False, at=0))
    assert told == {
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": "100",
        "x-ratelimit-reset-requests": "1h0m0s",
    }


def test_only_anthropics_clients_are_told_of_input_and_output():
    standings = [
        (claim("input_tokens", 9), Left(1, 2.0)),
        (claim("output_tokens", 9), Left(1, 2.0)),
        (claim("total_tokens", 9), Left(1, 2.0)),
    ]
    anthropic = dict(limit_headers(standings, anthropic=True, at=1_800_000_000))
    assert anthropic["anthropic-ratelimit-input-tokens-remaining"] == "1"
    assert (
        anthropic["anthropic-ratelimit-output-tokens-reset"] == "2027-01-15T08:00:02Z"
    )
    openai = dict(limit_headers(standings, anthropic=False, at=0))
    assert set(openai) == {
        f"x-ratelimit-{what}-tokens" for what in ("limit", "remaining", "reset")
    }
    assert {*anthropic, *openai} <= set(NAMES)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0171, "18ms"),
        (1, "1s"),
        (59.95, "60s"),
        (60, "1m0s"),
        (359.2, "6m0s"),
        (7_325, "2h2m5s"),
    ],
)
def test_times_are_written_as_openai_does(seconds, text):
    assert duration(seconds) == text
