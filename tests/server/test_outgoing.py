"""What answers control may be anybody: a flood, a drip, a bomb, one who sends it elsewhere."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from extproc.server import outgoing
from tests.answerer import MOST, Answerer, bomb, drip, elsewhere, flood, well


def ask(url: str, *, seconds: float = 20) -> httpx.Response:
    async def once() -> httpx.Response:
        async with outgoing.client() as http, asyncio.timeout(seconds):
            return await outgoing.ask(http, "POST", url, form={"secret": "s"})

    return asyncio.run(once())


def test_of_a_flood_little_is_read():
    with Answerer(flood) as server:
        with pytest.raises(httpx.ReadError, match="does not end"):
            ask(server.url)
        assert server.sent < MOST // 2


def test_a_bomb_is_not_let_off():
    with Answerer(bomb) as server:
        with pytest.raises(httpx.DecodingError):
            ask(server.url)
        assert b"accept-encoding: identity" in server.asked[0].lower()


def test_a_drip_lasts_as_long_as_its_asker_has_time():
    with Answerer(drip) as server, pytest.raises(TimeoutError):
        ask(server.url, seconds=0.3)


def test_nobody_is_followed():
    with Answerer(elsewhere) as server:
        assert [ask(server.url).status_code for _ in range(2)] == [302, 307]
        assert len(server.asked) == 2


def test_what_is_asked_for_in_the_clear_is_for_no_proxy(monkeypatch):
    """The token of the machine itself (169.254.169.254) would be the proxy's too."""
    with Answerer(well) as server, Answerer(well) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert ask(server.url).content == b"{}"
        assert proxy.asked == []
