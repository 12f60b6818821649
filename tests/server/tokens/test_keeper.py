"""Tokens through the hours: a clock that is turned by hand, and an endpoint that fails."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import Any

import httpx
import pytest

from extproc.config.identities import EntraConfig, GoogleConfig
from extproc.server.tokens import Keeper, Token, TokenRefused
from extproc.server.tokens.keeper import LONGEST_PAUSE

HOUR = 3600.0


def entra(name: str) -> EntraConfig:
    return EntraConfig.model_validate_json(
        f'{{"tenant_id":"t","client_id":"{name}","client_secret":"s"}}'
    )


AZURE, OTHER, GOOGLE = entra("a"), entra("b"), GoogleConfig()


class World:
    """A clock, an endpoint, and who is told of tokens."""

    def __init__(self, *, jitter: float = 0.0, **more: Any) -> None:
        self.now = 1000.0
        self.asked: list[tuple[object, float]] = []
        self.published: list[dict[str, str]] = []
        self.failed: list[str] = []
        self.answer: Any = lambda count: Token(f"token-{count}", HOUR)
        self.keeper = Keeper(
            source_of=lambda identity: _Source(self, identity),
            http=httpx.AsyncClient(),
            monotonic=lambda: self.now,
            wall_clock=lambda: self.now,
            jitter=lambda: jitter,
            publish=self._publish,
            failed=self.failed.append,
            **more,
        )

    async def _publish(self) -> None:
        self.published.append(self.keeper.tokens)

    async def until(self, end: float) -> None:
        """Turn the clock to `end`, and let happen what is due on the way."""
        while (due := self.keeper.next_due()) <= end:
            self.now = max(self.now, due)
            await self.keeper.renew_due()
        self.now = end


class _Source:
    def __init__(self, world: World, identity: object) -> None:
        self.world, self.identity = world, identity

    async def fetch(self, http: object, now: float) -> Token:
        del http
        self.world.asked.append((self.identity, now))
        found: Token | Exception = self.world.answer(len(self.world.asked))
        if isinstance(found, Exception):
            raise found
        return found


def play(scene, **options):
    async def run():
        await scene(World(**options))

    asyncio.run(run())


@pytest.mark.parametrize(("jitter", "due"), [(0.0, 0.8), (1.0, 0.7)])
def test_the_next_token_is_asked_for_well_before_the_last_one_ends(jitter, due):
    async def scene(world):
        await world.keeper.configure({"azure": AZURE}, {})
        assert world.keeper.tokens == {"azure": "token-1"}
        await world.until(1000 + due * HOUR - 1)
        assert world.published == []
        await world.until(1000 + due * HOUR + 1)
        assert world.published == [{"azure": "token-2"}]

    play(scene, jitter=jitter)


def test_a_day_needs_no_more_tokens_than_that_and_none_ever_expires():
    async def scene(world):
        await world.keeper.configure({"azure": AZURE}, {})
        for hour in range(1, 25):
            await world.until(1000 + hour * HOUR)
            assert min(world.keeper.seconds_left().values()) > 0.19 * HOUR
        assert len(world.asked) == 31  # every 48 minutes, and at the beginning

    play(scene)


def test_whoever_fails_is_asked_ever_more_slowly_and_the_old_token_is_used(caplog):
    caplog.set_level(logging.WARNING)

    async def scene(world):
        await world.keeper.configure({"azure": AZURE}, {})
        world.answer = lambda _: TokenRefused("entra says no")
        await world.until(1000 + 0.8 * HOUR + 700)
        tries = [now for _, now in world.asked[1:]]
        pauses = [b - a for a, b in itertools.pairwise(tries)]
        assert pauses[:7] == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE]
        assert set(pauses[7:]) == {LONGEST_PAUSE}
        assert world.keeper.tokens == {"azure": "token-1"}
        assert world.published == []
        assert world.failed == ["azure"] * len(tries)
        (told,) = world.keeper.report()
        assert told["ok"] is False
        assert told["problem"] == "entra says no"
        assert 0 < told["expires_in"] <= 20
        world.answer = lambda _: Token("token-new", HOUR)
        await world.until(world.now + LONGEST_PAUSE)
        assert world.published == [{"azure": "token-new"}]
        assert world.keeper.report()[0]["ok"] is True

    play(scene)
    assert "entra says no" in caplog.text
    assert "good for" in caplog.text


def test_a_token_that_nobody_could_renew_is_said_to_have_expired(caplog):
    async def scene(world):
        await world.keeper.configure({"azure": AZURE}, {})
        world.answer = lambda _: httpx.ConnectError("refused")
        await world.until(1000 + HOUR + 120)
        assert world.keeper.seconds_left() == {"azure": 0.0}
        assert world.keeper.tokens == {"azure": "token-1"}

    play(scene)
    assert "has expired" in caplog.text


@pytest.mark.parametrize(
    "error",
    [
        TokenRefused("no"),
        httpx.ConnectTimeout("slow"),
        OSError("no file"),
        TimeoutError(),
    ],
)
def test_a_start_does_not_wait_for_a_token_that_does_not_come(error):
    async def scene(world):
        world.answer = lambda _: error
        await world.keeper.configure({"azure": AZURE}, {})
        assert world.keeper.tokens == {}
        (told,) = world.keeper.report()
        assert (told["ok"], told["expires_in"]) == (False, 0.0)
        world.answer = lambda _: Token("late", HOUR)
        await world.until(world.now + 2)
        assert world.published == [{"azure": "late"}]

    play(scene)


def test_what_an_earlier_process_left_serves_until_there_is_a_new_one():
    async def scene(world):
        world.answer = lambda _: TokenRefused("no")
        await world.keeper.configure({"azure": AZURE}, {"azure": "left-over"})
        assert world.keeper.tokens == {"azure": "left-over"}
        (told,) = world.keeper.report()
        assert told["expires_in"] is None
        world.answer = lambda _: Token("new", HOUR)
        await world.until(world.now + 2)
        assert world.keeper.tokens == {"azure": "new"}

    play(scene)


def test_one_identity_is_asked_for_once_whoever_it_serves():
    async def scene(world):
        wanted = {"a": AZURE, "b": AZURE, "c": GOOGLE}
        await world.keeper.configure(wanted, {})
        assert len(world.asked) == 2
        tokens = world.keeper.tokens
        assert tokens["a"] == tokens["b"] != tokens["c"]

    play(scene)


def test_a_new_configuration_asks_only_for_whom_it_adds():
    async def scene(world):
        await world.keeper.configure({"a": AZURE}, {})
        await world.keeper.configure({"a": AZURE, "b": OTHER}, {})
        assert [identity for identity, _ in world.asked] == [AZURE, OTHER]
        await world.keeper.configure({"b": OTHER}, {})
        assert world.keeper.tokens == {"b": "token-2"}
        await world.keeper.configure({}, {})
        assert world.keeper.next_due() == float("inf")

    play(scene)


def test_it_runs_by_itself_and_notices_a_new_configuration():
    async def scene(world):
        world.answer = lambda count: Token(f"token-{count}", 0.05)
        running = asyncio.ensure_future(world.keeper.run())
        await asyncio.sleep(0)
        await world.keeper.configure({"a": AZURE}, {})
        while not world.published:
            world.now += 0.05
            await asyncio.sleep(0.01)
        running.cancel()
        assert world.published[0]["a"].startswith("token-")

    play(scene)


def test_no_token_is_shown():
    async def scene(world):
        await world.keeper.configure({"azure": AZURE}, {})
        told = repr((world.keeper.report(), Token("secret-token", 1)))
        assert "token-1" not in told
        assert "secret-token" not in told

    play(scene)
