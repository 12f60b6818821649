"""The till: where a worker's exchanges have their claims decided and their bills settled.

In front of memory it answers at once. In front of the network a verdict is awaited for a
short while, and settlements are sent later and again until they arrive: nothing of an
answer waits for the store. What the till cannot ask in time it decides by its *lease*: a
small part of every limit, which each worker may admit by itself while the store is away,
so that all of them together overspend at most workers x lease in one outage. What the
lease admitted is charged in full as soon as the store is back.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from itertools import islice
from typing import Final, Protocol, TypeVar

import msgspec

from extproc.exchange.commands import Settlement
from extproc.identity import Accounting
from extproc.policy.books import Books
from extproc.policy.claims import (
    NOTHING,
    Admission,
    Admitted,
    Claim,
    Denied,
    Verdict,
)
from extproc.server.pulse import Pulse
from extproc.state.base import Balance, Store
from extproc.state.memory import MemoryStore

T = TypeVar("T")

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 1.0
"""Between looks at what has expired and what has to be kept alive."""
PROBE_SECONDS: Final = 0.1
"""Between attempts to reach a store that is away."""
SENT_AT_ONCE: Final = 200
"""Settlements in one round trip."""
MOST_UNSENT: Final = 100_000
"""Settlements kept while the store is away: some 60 MB, 100 s at 1,000 requests/s. Past
that the oldest go, and their holds are charged as reserved when they expire."""
RATE_SHARE: Final = 10.0
"""Percent of a rate limit that a worker admits by itself while the store is away, at
least: limits on speed are not money, and 1 % of 60 requests a minute is none."""


class Till(Protocol):
    """What the calls of one worker see."""

    books: Books
    accounting: Accounting
    """May change; the store's address may not."""

    def admit(self, admission: Admission) -> Verdict | asyncio.Future[Verdict]:
        """Return the verdict, or what it will come by; it always comes, and in time."""

    def settle(self, settlement: Settlement) -> None:
        """Charge what was used; never waits, and counts once."""

    def top_up(self, admission: Admission, nanos: int) -> bool | asyncio.Future[bool]:
        """Reserve more money; return whether there is so much, or what will say so."""

    def seed(self, balances: Mapping[str, Balance]) -> None:
        """Raise what is spent to what control knows."""

    async def run(self) -> None:
        """Do what has to be done from time to time, until canceled."""

    async def flushed(self) -> None:
        """Wait until every settlement has arrived."""

    def levels(self) -> dict[str, float]:
        """Return how things stand, for `extproc.server.pulse`."""


class _Open:
    """The holds that are open, and which of them have to be kept alive."""

    def __init__(self) -> None:
        self._expiry: dict[str, tuple[Admission, float]] = {}

    def add(self, admission: Admission, expires: float) -> None:
        self._expiry[admission.id] = (admission, expires)

    def discard(self, admission: Admission) -> None:
        self._expiry.pop(admission.id, None)

    def aging(self, now: float, seconds: float) -> list[tuple[Admission, float]]:
        """Return those that are past half their time, with their new expiry."""
        due = []
        for admission, expires in self._expiry.values():
            if expires - now > seconds / 2:
                break  # in the order in which they expire
            due.append((admission, now + seconds))
        for admission, expires in due:
            del self._expiry[admission.id]
            self._expiry[admission.id] = (admission, expires)
        return due


class MemoryTill:
    """The till of the only worker there is."""

    def __init__(
        self,
        store: MemoryStore,
        *,
        clock: Callable[[], float],
        accounting: Accounting,
        pulse: Pulse | None = None,
    ) -> None:
        """`clock` gives Unix seconds; `pulse` is told how long each verb takes."""
        self.books = Books()
        self._pulse = pulse or Pulse()
        self._store = store
        self._clock = clock
        self._open = _Open()
        self.accounting = accounting

    def admit(self, admission: Admission) -> Verdict:
        """See `Till.admit`."""
        now = self._clock()
        expires = now + self.accounting.hold_seconds
        self._open.add(admission, expires)
        with _Timed(self._pulse, "admit"):
            verdict = self._store.admit(admission, now=now, expires=expires)
        if type(verdict) is Denied:
            self._open.discard(admission)
        return verdict

    def settle(self, settlement: Settlement) -> None:
        """See `Till.settle`."""
        self._open.discard(settlement.admission)
        with _Timed(self._pulse, "settle"):
            self._store.settle(
                settlement.admission, settlement.spent, now=self._clock()
            )

    def top_up(self, admission: Admission, nanos: int) -> bool:
        """See `Till.top_up`."""
        now = self._clock()
        expires = now + self.accounting.hold_seconds
        self._open.discard(admission)
        self._open.add(admission, expires)
        return self._store.top_up(admission, nanos, now=now, expires=expires)

    def seed(self, balances: Mapping[str, Balance]) -> None:
        """See `Till.seed`."""
        self._store.seed(balances, now=self._clock())

    async def run(self) -> None:
        """See `Till.run`."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self.tick()

    def tick(self) -> None:
        """Keep alive what is under way, charge what has expired."""
        now = self._clock()
        for admission, expires in self._open.aging(now, self.accounting.hold_seconds):
            self._store.top_up(admission, 0, now=now, expires=expires)
        self._store.expire(now=now)

    async def flushed(self) -> None:
        """See `Till.flushed`: everything is settled at once."""

    def levels(self) -> dict[str, float]:
        """See `Till.levels`."""
        return {"extproc_worker_unsettled": 0, "extproc_worker_store_away": 0}


class NetworkTill:
    """The till in front of a store that can be slow, or away.

    Attributes:
        away: whether the store could not be asked when it was last tried.
        lost: settlements that were dropped because it was away for too long.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float],
        accounting: Accounting,
        error: type[Exception],
        pulse: Pulse | None = None,
    ) -> None:
        """`error` is what the store raises when it cannot be asked."""
        self._pulse = pulse or Pulse()
        self.books = Books()
        self.away = False
        self.lost = 0
        self._store = store
        self._clock = clock
        self._error = error
        self._open = _Open()
        self.accounting = accounting
        self._lease = MemoryStore()
        self._remaining: dict[str, int] = {}
        self._balances: dict[str, Balance] = {}
        self._untold = False
        """Whether control has said what the store may not know."""
        self._unsent: deque[Settlement] = deque()
        self._arrived = asyncio.Event()
        self._sent = asyncio.Event()
        self._asking: set[asyncio.Task[None]] = set()

    def admit(self, admission: Admission) -> Verdict | asyncio.Future[Verdict]:
        """See `Till.admit`."""
        now = self._clock()
        expires = now + self.accounting.hold_seconds
        self._open.add(admission, expires)
        if self.away:
            return self._by_lease(admission, now, expires)
        loop = asyncio.get_running_loop()
        verdict: asyncio.Future[Verdict] = loop.create_future()
        asking = loop.create_task(self._ask(admission, verdict, now, expires))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        late = loop.call_later(
            self.accounting.deadline_seconds, self._late, admission, verdict, expires
        )
        verdict.add_done_callback(lambda _: late.cancel())
        return verdict

    def settle(self, settlement: Settlement) -> None:
        """See `Till.settle`."""
        self._open.discard(settlement.admission)
        self._lease.settle(settlement.admission, settlement.spent, now=self._clock())
        if len(self._unsent) >= MOST_UNSENT:
            self._unsent.popleft()
            self.lost += 1
        self._unsent.append(settlement)
        self._arrived.set()

    def top_up(self, admission: Admission, nanos: int) -> bool | asyncio.Future[bool]:
        """See `Till.top_up`; while the store is away, no: the lease is for requests."""
        if self.away:
            return False
        loop = asyncio.get_running_loop()
        granted: asyncio.Future[bool] = loop.create_future()
        now = self._clock()
        expires = now + self.accounting.hold_seconds
        self._open.discard(admission)
        self._open.add(admission, expires)
        asking = loop.create_task(
            self._ask_more(admission, nanos, granted, now, expires)
        )
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        return granted

    def seed(self, balances: Mapping[str, Balance]) -> None:
        """See `Till.seed`."""
        now = self._clock()
        self._balances = {m: b for m, b in self._balances.items() if b.ends > now}
        for meter, balance in balances.items():
            known = self._balances.get(meter)
            if known is None or known.nanos < balance.nanos:
                self._balances[meter] = balance
        self._untold = True

    async def run(self) -> None:
        """See `Till.run`."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send())
            while True:
                await self._tick()
                await asyncio.sleep(PROBE_SECONDS if self.away else TICK_SECONDS)

    async def flushed(self) -> None:
        """See `Till.flushed`."""
        while self._unsent:
            self._sent.clear()
            await self._sent.wait()

    def levels(self) -> dict[str, float]:
        """See `Till.levels`."""
        return {
            "extproc_worker_unsettled": len(self._unsent),
            "extproc_worker_store_away": self.away,
        }

    async def _ask(
        self,
        admission: Admission,
        verdict: asyncio.Future[Verdict],
        now: float,
        expires: float,
    ) -> None:
        try:
            said: Verdict = await self._asked(
                "admit", self._store.admit(admission, now=now, expires=expires)
            )
        except self._error as error:
            self._lose(error)
            if not verdict.done():
                verdict.set_result(self._by_lease(admission, now, expires))
            return
        if isinstance(said, Admitted):
            self._note(admission, said)
        else:
            self._open.discard(admission)
        if not verdict.done():
            verdict.set_result(said)
        elif isinstance(said, Admitted) and isinstance(verdict.result(), Denied):
            # Too late: it has been refused meanwhile, and nobody else will settle it.
            self.settle(Settlement(admission, NOTHING))

    async def _ask_more(
        self,
        admission: Admission,
        nanos: int,
        granted: asyncio.Future[bool],
        now: float,
        expires: float,
    ) -> None:
        try:
            said: bool = await self._asked(
                "top_up", self._store.top_up(admission, nanos, now=now, expires=expires)
            )
        except self._error as error:
            self._lose(error)
            said = False
        granted.set_result(said)

    def _late(
        self, admission: Admission, verdict: asyncio.Future[Verdict], expires: float
    ) -> None:
        if not verdict.done():
            verdict.set_result(self._by_lease(admission, self._clock(), expires))

    def _by_lease(self, admission: Admission, now: float, expires: float) -> Verdict:
        claims = tuple(map(self._leased, admission.claims))
        mine = msgspec.structs.replace(admission, claims=claims)
        verdict = self._lease.admit(mine, now=now, expires=expires)
        if isinstance(verdict, Admitted):
            return msgspec.structs.replace(verdict, leased=True)
        if self.accounting.fail_open:
            return Admitted((), leased=True)
        self._open.discard(admission)
        return msgspec.structs.replace(verdict, storeless=True)

    def _leased(self, claim: Claim) -> Claim:
        """Return `claim` on the part of its limit that is ours."""
        percent = self.accounting.lease_percent
        if claim.counts == "nanos":
            known = self._remaining.get(claim.meter, claim.limit)
            limit = min(int(claim.limit * percent / 100), known)
        else:
            limit = max(1, int(claim.limit * max(percent, RATE_SHARE) / 100))
        return msgspec.structs.replace(claim, limit=limit)

    def _note(self, admission: Admission, said: Admitted) -> None:
        if len(self._remaining) > MOST_UNSENT:
            self._remaining.clear()
        for claim, left in zip(admission.claims, said.left, strict=True):
            if claim.counts == "nanos":
                self._remaining[claim.meter] = left.remaining
                self._know(claim, left.spent)

    def _know(self, claim: Claim, nanos: int) -> None:
        known = self._balances.get(claim.meter)
        if known is None or known.nanos < nanos:
            self._balances[claim.meter] = Balance(nanos, claim.ends)

    def _delivered(self, settlement: Settlement) -> None:
        """Note what the store has charged: it may forget it."""
        nanos = settlement.spent.nanos
        for claim in settlement.admission.claims if nanos else ():
            if claim.counts == "nanos":
                known = self._balances.get(claim.meter)
                self._know(claim, nanos + (known.nanos if known is not None else 0))

    def _lose(self, error: Exception) -> None:
        if not self.away:
            self.away = True
            self._lease = MemoryStore()
            # Its text can have the address with a password in it.
            log.warning("the store is away: %s", type(error).__name__)

    async def _find(self) -> None:
        """Bring the store up to date that is back; it may have lost everything."""
        now = self._clock()
        await self._asked("seed", self._store.seed(self._balances, now=now))
        self.away = False
        log.warning("the store is back")

    async def _tick(self) -> None:
        now = self._clock()
        try:
            await self._asked("expire", self._store.expire(now=now))
            if self.away:
                await self._find()
            elif self._untold:
                await self._asked("seed", self._store.seed(self._balances, now=now))
                self._untold = False
            for admission, expires in self._open.aging(
                now, self.accounting.hold_seconds
            ):
                await self._asked(
                    "top_up", self._store.top_up(admission, 0, now=now, expires=expires)
                )
        except self._error as error:
            self._lose(error)

    async def _asked(self, verb: str, reply: T | Awaitable[T]) -> T:
        """Return what the store replies, and note how long that took."""
        try:
            with _Timed(self._pulse, verb):
                return await _awaited(reply)
        except self._error:
            self._pulse.count("extproc_store_failures", verb)
            raise

    async def _send(self) -> None:
        while True:
            await self._arrived.wait()
            batch = list(islice(self._unsent, SENT_AT_ONCE))
            now = self._clock()
            replies = await asyncio.gather(
                *(
                    self._asked(
                        "settle", self._store.settle(one.admission, one.spent, now=now)
                    )
                    for one in batch
                ),
                return_exceptions=True,
            )
            kept = [
                one
                for one, reply in zip(batch, replies, strict=True)
                if isinstance(reply, BaseException)
            ]
            for one, reply in zip(batch, replies, strict=True):
                self._unsent.popleft()
                if not isinstance(reply, BaseException):
                    self._delivered(one)
            self._unsent.extendleft(reversed(kept))
            self._sent.set()
            if not self._unsent:
                self._arrived.clear()
            for reply in replies:
                if isinstance(reply, self._error):
                    self._lose(reply)
                elif isinstance(reply, BaseException):
                    raise reply
            if kept:
                await asyncio.sleep(PROBE_SECONDS)


class _Timed:
    """Tells the pulse how long a verb took."""

    __slots__ = ("_began", "_pulse", "_verb")

    def __init__(self, pulse: Pulse, verb: str) -> None:
        self._pulse, self._verb = pulse, verb
        self._began = time.perf_counter()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        seconds = time.perf_counter() - self._began
        self._pulse.time("extproc_store_seconds", self._verb, seconds=seconds)


async def _awaited(reply: T | Awaitable[T]) -> T:
    return await reply if inspect.isawaitable(reply) else reply


def make_till(
    accounting: Accounting, *, clock: Callable[[], float], pulse: Pulse | None = None
) -> Till:
    """Return the till for `accounting`; `clock` gives Unix seconds.

    Raises:
        ValueError: the store's address is none.
    """
    if accounting.store is None:
        return MemoryTill(
            MemoryStore(), clock=clock, accounting=accounting, pulse=pulse
        )
    from extproc.state.redis import RedisError, RedisStore, connect  # noqa: PLC0415

    client = connect(accounting.store, timeout=STORE_SECONDS)
    return NetworkTill(
        RedisStore(client),
        clock=clock,
        accounting=accounting,
        error=RedisError,
        pulse=pulse,
    )


STORE_SECONDS: Final = 1.0
"""After which a store that does not reply is away; nobody waits so long for a verdict."""
