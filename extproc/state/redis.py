"""The store of many workers and nodes: Valkey or Redis, one Lua script a verb.

A script runs alone, so each verb is atomic. All keys begin with one tag in braces and are
in one slot of a cluster: the claims of one request stand on its key, its team and on
everybody at once, and have to be decided together. Imported only where it is configured.

    {tag}w:<meter>  hash   slot -> amount                  a sliding window
    {tag}b:<meter>  hash   s(pent), h(eld), k<life>         a budget's period
    {tag}c:<meter>  number                                 requests under way
    {tag}h:<id>     msgpack {state, reserved}              a hold; settled ones for a while
    {tag}due        sorted set: id by expiry
    {tag}life       hash   created, empty, beat             since when it remembers
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from extproc.policy.claims import (
    NOTHING,
    Admission,
    Admitted,
    Claim,
    Denied,
    Left,
    Spent,
    Verdict,
)
from extproc.policy.rate import seconds_until, slot_at
from extproc.state.base import Balance, Charged
from extproc.state.memory import CORRECTABLE_SECONDS, KEPT_SECONDS
from extproc.state.pipeline import Pipeline, Script

__all__ = ["RedisError", "RedisStore", "connect"]

TAG: Final = "{extproc}"
SETTLED_SECONDS: Final = 3600
"""How long a settled id is known as such: a settlement is repeated, when its answer was
lost, within minutes."""
EXPIRED_AT_ONCE: Final = 200
"""Holds in one `expire`: some milliseconds, in which nobody else is served."""

RECOVERED_AT_ONCE: Final = 200
"""Budgets, or holds, in one script: as many as in one `expire`."""

_pack = msgspec.msgpack.encode


def connect(url: str, *, timeout: float) -> Redis:
    """Return a client of the server at `url`; it connects when it is used.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        timeout: seconds for connecting, and for any reply that nobody waits for.
    """
    return Redis.from_url(url, socket_connect_timeout=timeout, socket_timeout=timeout)


class RedisStore:
    """See `Store`. Every verb raises `RedisError` when the server cannot be asked."""

    def __init__(self, client: Redis, *, tag: str = TAG) -> None:
        self._client = client
        self._tag = tag
        self._pipeline = Pipeline(client, tag)
        self._admit = Script("admit")
        self._settle = Script("settle")
        self._top_up = Script("top_up")
        self._expire = Script("expire")
        self._seed = Script("seed")
        self._epoch = Script("epoch")
        self._recover = Script("recover")

    async def admit(
        self, admission: Admission, *, now: float, expires: float
    ) -> Verdict:
        """See `Store.admit`."""
        claims = admission.claims
        request = _pack((admission.id, expires, _reserved(admission, now)))
        reply = [int(n) for n in await self._pipeline.run(self._admit, request)]
        if reply[0]:
            return Admitted(
                tuple(
                    _left(claim, reply[2 * i + 1], reply[2 * i + 2], now)
                    for i, claim in enumerate(claims)
                )
            )
        _, number, remaining, last, over, waiting = reply
        claim = claims[number]
        return Denied(
            number,
            _left(claim, remaining, last, now),
            1.0 if waiting else _wait(claim, over, now),
            waiting=bool(waiting),
        )

    async def settle(
        self, admission: Admission, spent: Spent, *, now: float
    ) -> Charged:
        """See `Store.settle`."""
        packed = [
            (
                _kind(claim), claim.meter, spent.on(claim), _slot(claim, now),
                claim.seconds, claim.ends,
            )
            for claim in admission.claims
        ]  # fmt: skip
        request = _pack((admission.id, SETTLED_SECONDS, packed))
        reply = await self._pipeline.run(self._settle, request)
        return tuple(map(int, reply)) if reply else None

    async def release(self, admission: Admission, *, now: float) -> Charged:
        """See `Store.release`."""
        return await self.settle(admission, NOTHING, now=now)

    async def top_up(
        self,
        admission: Admission,
        nanos: int,
        *,
        now: float,  # noqa: ARG002  the protocol's
        expires: float,
    ) -> bool:
        """See `Store.top_up`."""
        limits = [c.limit if c.counts == "nanos" else -1 for c in admission.claims]
        request = _pack((admission.id, nanos, expires, limits))
        return bool(await self._pipeline.run(self._top_up, request))

    async def expire(self, *, now: float) -> int:
        """See `Store.expire`."""
        return int(
            await self._pipeline.run(
                self._expire, now, EXPIRED_AT_ONCE, CORRECTABLE_SECONDS
            )
        )

    async def seed(self, balances: Mapping[str, Balance], *, now: float) -> None:
        """See `Store.seed`."""
        packed = _sums(balances, now)
        if packed:
            await self._pipeline.run(self._seed, _pack(packed))

    async def epoch(self, since: float, *, now: float) -> float:
        """See `Store.epoch`."""
        return float(await self._pipeline.run(self._epoch, since, now))

    async def recover(
        self,
        balances: Mapping[str, Balance],
        holds: Iterable[tuple[Admission, float]],
        *,
        now: float,
    ) -> None:
        """See `Store.recover`; the money first, in pieces that hold nobody up."""
        sums = _sums(balances, now)
        held = [
            (admission.id, expires, _reserved(admission, now))
            for admission, expires in holds
        ]
        for at in range(0, max(len(sums), 1), RECOVERED_AT_ONCE):
            piece = _pack((sums[at : at + RECOVERED_AT_ONCE], []))
            await self._pipeline.run(self._recover, piece)
        for at in range(0, len(held), RECOVERED_AT_ONCE):
            piece = _pack(([], held[at : at + RECOVERED_AT_ONCE]))
            await self._pipeline.run(self._recover, piece)

    async def spent(self, meters: tuple[str, ...]) -> tuple[int, ...]:
        """See `Store.spent`."""
        pipe = self._client.pipeline(transaction=False)
        for meter in meters:
            pipe.hmget(f"{self._tag}b:{meter}", ["s", "h"])
        replies = await pipe.execute()
        return tuple(sum(int(n or 0) for n in reply) for reply in replies)

    async def close(self) -> None:
        """Close all connections."""
        await self._pipeline.close()
        await self._client.aclose()


def _kind(claim: Claim) -> str:
    if claim.seconds:
        return "w"
    return "b" if claim.counts == "nanos" else "c"


def _sums(balances: Mapping[str, Balance], now: float) -> list[tuple[str, int, int]]:
    return [
        (meter, balance.nanos, balance.ends)
        for meter, balance in balances.items()
        if balance.ends + KEPT_SECONDS > now
    ]


def _reserved(
    admission: Admission, now: float
) -> list[tuple[str, str, int, int, int, int, int]]:
    """Return the claims as the scripts read them."""
    return [
        (
            _kind(claim), claim.meter, claim.limit, claim.amount, _slot(claim, now),
            claim.seconds, claim.ends,
        )
        for claim in admission.claims
    ]  # fmt: skip


def _slot(claim: Claim, now: float) -> int:
    return slot_at(claim.seconds, now) if claim.seconds else 0


def _left(claim: Claim, remaining: int, last: int, now: float) -> Left:
    if claim.seconds:
        return Left(remaining, seconds_until(claim.seconds, last, now))
    if claim.counts == "nanos":
        return Left(remaining, claim.ends - now, last)
    return Left(remaining, 0.0)


def _wait(claim: Claim, over: int, now: float) -> float | None:
    if claim.amount > claim.limit:
        return None
    if claim.seconds:
        return seconds_until(claim.seconds, over, now)
    return max(0.0, claim.ends - now) if claim.counts == "nanos" else 1.0
