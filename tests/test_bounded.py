"""An answer is read up to a length and a time, whoever gives it."""

from __future__ import annotations

import time

import httpx
import pytest

from extproc import bounded
from extproc.local.providers.through import through
from tests.answerer import MOST, Answerer, bomb, drip, flood, well


def read(url: str, *, seconds: float = 20) -> bytes:
    with httpx.stream("GET", url, headers=bounded.PLAIN) as answer:
        return bounded.read(answer, most=1000, ends=time.monotonic() + seconds)


def test_what_ends_is_read_whole():
    with Answerer(well) as server:
        assert read(server.url) == b"{}"


def test_of_a_flood_little_is_read():
    with Answerer(flood) as server:
        with pytest.raises(bounded.Endless):
            read(server.url)
        assert server.sent < MOST // 2


def test_a_drip_ends_in_time():
    with Answerer(drip) as server, pytest.raises(bounded.Endless):
        read(server.url, seconds=0.1)


def test_a_bomb_is_not_let_off():
    with Answerer(bomb) as server:
        with pytest.raises(httpx.DecodingError):
            read(server.url)
        assert b"accept-encoding: identity" in server.asked[0].lower()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (flood, "the answer does not end"),
        (drip, "the answer does not end"),
        (bomb, "the connection broke: DecodingError"),
    ],
)
def test_a_gateway_that_is_tried_is_not_trusted_to_end(answer, why):
    with Answerer(answer) as server:
        found = through(server.url, "sk-any", "gpt-4o", seconds=0.5)
    failed = next(one for one in found if one.outcome == "failed")
    assert (failed.check, failed.reason) == ("answer", why)
