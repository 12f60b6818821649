"""The till in front of a store that can be slow, or away.

A verdict is awaited for a short while, and settlements are sent later and again until
they arrive: nothing of an answer waits for the store. What the till cannot ask in time it
decides by its lease (`extproc.server.lease`), so that all workers together overspend at most
workers x lease in one outage. What the lease admitted is charged in full as soon as the store is back.

A store that has lost its data gets it back from the workers: each says what it was last
told is spent, and what it holds. Settlements wait for that, so that none is lost in it.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from typing import Final, TypeVar

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
from extproc.server.lease import Lease
from extproc.server.notes import More, Notes
from extproc.server.patience import Patience
from extproc.server.pulse import Pulse
from extproc.server.till import TICK_SECONDS, Open, Timed
from extproc.state.base import Balance, Charged, Store

T = TypeVar("T")

log = logging.getLogger(__name__)

PROBE_SECONDS: Final = 0.1
"""Between attempts to reach a store that is away."""
SENT_AT_ONCE: Final = 200
"""Settlements in one round trip."""
MOST_UNSENT: Final = 100_000
"""Settlements kept while the store is away: some 60 MB, 100 s at 1,000 requests/s. Past
that the oldest go, and their holds are charged as reserved when they expire."""
FRESH_SECONDS: Final = 2.0
"""How young a store's memory has to be for a worker that has just begun, and has lost
nothing itself, to say what control knows: later the store knows better."""


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
        notes: Notes | None = None,
    ) -> None:
        """`error` is what the store raises when it cannot be asked."""
        self._notes = notes or Notes()
        self._pulse = pulse or Pulse()
        self.books = Books()
        self.away = False
        self.lost = 0
        self._store = store
        self._clock = clock
        self._error = error
        self._open = Open()
        self.accounting = accounting
        self._lease = Lease()
        self._patience = Patience()
        self._seen: dict[str, Balance] = {}
        """What the store has last said is spent."""
        self._told: dict[str, Balance] = {}
        """What control says is: less exact, but it outlives the workers."""
        self._untold = False
        self._epoch: float | None = None
        self._looked = 0.0
        self._unsent: deque[Settlement] = deque()
        self._arrived = asyncio.Event()
        self._sent = asyncio.Event()
        self._asking: set[asyncio.Task[None]] = set()

    def admit(self, admission: Admission) -> Verdict | asyncio.Future[Verdict]:
        """See `Till.admit`."""
        now = self._clock()
        expires = now + self.accounting.hold_seconds
        self._open.add(admission, expires)
        self._notes.claimed(admission)
        if self.away:
            verdict = self._by_lease(admission, now, expires)
            if isinstance(verdict, Denied):
                self._notes.settled(admission)
            return verdict
        loop = asyncio.get_running_loop()
        coming: asyncio.Future[Verdict] = loop.create_future()
        asking = loop.create_task(self._ask(admission, coming, now, expires))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        self._patience.wait(
            loop,
            self.accounting.deadline_seconds,
            coming,
            partial(self._late, admission, coming, expires),
        )
        return coming

    def settle(self, settlement: Settlement) -> None:
        """See `Till.settle`."""
        admission = settlement.admission
        self._open.discard(admission)
        self._lease.settle(admission, settlement.spent, now=self._clock())
        if len(self._unsent) >= MOST_UNSENT:
            self._notes.settled(self._unsent.popleft().admission)
            self.lost += 1
        self._notes.billed(settlement)
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

    def inherit(self, settlements: Iterable[Settlement]) -> None:
        """See `Till.inherit`."""
        for one in settlements:
            self.settle(one)

    def seed(self, balances: Mapping[str, Balance]) -> None:
        """See `Till.seed`; it is for a store that has forgotten, or is new."""
        now = self._clock()
        self._told = {m: b for m, b in self._told.items() if b.ends > now}
        for meter, balance in balances.items():
            known = self._told.get(meter)
            if known is None or known.nanos < balance.nanos:
                self._told[meter] = balance
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

    def held(self) -> dict[str, int]:
        """See `Till.held`: the store has it."""
        return {}

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
            self._lease.answer(admission, admitted=False, now=self._clock())
            if not verdict.done():
                verdict.set_result(self._by_lease(admission, now, expires))
            if isinstance(verdict.result(), Denied):
                # It may have been heard all the same, and nobody else will settle it.
                self.settle(Settlement(admission, NOTHING))
            return
        admitted = isinstance(said, Admitted)
        self._lease.answer(admission, admitted=admitted, now=self._clock())
        if isinstance(said, Admitted):
            self._note(admission, said)
        else:
            self._note_denied(admission, said)
        if not verdict.done():
            verdict.set_result(said)
        refused = isinstance(verdict.result(), Denied)
        if refused and isinstance(said, Denied):
            self._notes.settled(admission)
        elif refused:
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
        if said and nanos:
            self._notes.reserved(More(admission.id, nanos))
        granted.set_result(said)

    def _late(
        self, admission: Admission, verdict: asyncio.Future[Verdict], expires: float
    ) -> None:
        said = self._by_lease(admission, self._clock(), expires)
        if isinstance(said, Admitted):
            self._lease.ask(admission, expires)
        verdict.set_result(said)

    def _by_lease(self, admission: Admission, now: float, expires: float) -> Verdict:
        verdict = self._lease.admit(
            admission, self.accounting, now=now, expires=expires
        )
        if isinstance(verdict, Admitted):
            return verdict
        if self.accounting.fail_open:
            return Admitted((), leased=True)
        self._open.discard(admission)
        return verdict

    def _note(self, admission: Admission, said: Admitted) -> None:
        for claim, left in zip(admission.claims, said.left, strict=True):
            if claim.counts == "nanos":
                self._lease.know(claim.meter, left.remaining)
                self._know(claim, left.spent)

    def _note_denied(self, admission: Admission, said: Denied) -> None:
        self._open.discard(admission)
        claim = admission.claims[said.claim]
        if claim.counts == "nanos":
            self._lease.know(claim.meter, said.left.remaining)

    def _know(self, claim: Claim, nanos: int) -> None:
        known = self._seen.get(claim.meter)
        if known is None or known.nanos < nanos:
            self._seen[claim.meter] = Balance(nanos, claim.ends)

    def _delivered(self, settlement: Settlement, charged: Charged) -> None:
        """Note what the store says is charged now: it may forget it."""
        if charged is not None:
            claims = settlement.admission.claims
            for claim, nanos in zip(claims, charged, strict=True):
                if claim.counts == "nanos":
                    self._know(claim, nanos)

    def _lose(self, error: Exception) -> None:
        if not self.away:
            self.away = True
            self._lease.renew(now=self._clock())
            # Its text can have the address with a password in it.
            log.warning("the store is away: %s", type(error).__name__)

    async def _look(self, now: float) -> None:
        """Bring a store up to date that has lost what it knew."""
        epoch = await self._asked("epoch", self._store.epoch(self._looked, now=now))
        lost = self._epoch is not None and epoch != self._epoch
        if lost:
            seen = {m: b for m, b in self._seen.items() if b.ends > now}
            await self._asked(
                "recover", self._store.recover(seen, self._open.all(), now=now)
            )
            self._seen = seen
        if lost or (self._untold and now - epoch < FRESH_SECONDS):
            await self._asked("seed", self._store.seed(self._told, now=now))
            self._untold = False
        self._epoch = epoch
        self._looked = now
        if self.away:
            self.away = False
            self._lease.renew(now=now)
            log.warning("the store is back")

    async def _tick(self) -> None:
        now = self._clock()
        try:
            await self._look(now)
            await self._asked("expire", self._store.expire(now=now))
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
            with Timed(self._pulse, verb):
                return await _awaited(reply)
        except self._error:
            self._pulse.count("extproc_store_failures", verb)
            raise

    async def _send(self) -> None:
        while True:
            await self._arrived.wait()
            if self.away or self._epoch is None:
                await asyncio.sleep(PROBE_SECONDS)
                continue
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
                    self._notes.settled(one.admission)
                    self._delivered(one, reply)
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


async def _awaited(reply: T | Awaitable[T]) -> T:
    return await reply if inspect.isawaitable(reply) else reply
