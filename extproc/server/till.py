"""The till: where a worker's exchanges have their claims decided and their bills settled.

In front of memory it answers at once; `extproc.server.network_till` is in front of what
can be slow, or away.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol, TypeVar

from extproc.exchange.commands import Settlement
from extproc.identity import Accounting
from extproc.policy.books import Books
from extproc.policy.claims import (
    Admission,
    Denied,
    Verdict,
)
from extproc.server.notes import More, Notes
from extproc.server.pulse import Pulse
from extproc.state.base import Balance
from extproc.state.memory import MemoryStore

T = TypeVar("T")

log = logging.getLogger(__name__)

TICK_SECONDS: Final = 1.0
"""Between looks at what has expired and what has to be kept alive."""


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

    def inherit(self, settlements: Iterable[Settlement]) -> None:
        """Charge what workers that have died could not tell the store any more."""

    def seed(self, balances: Mapping[str, Balance]) -> None:
        """Raise what is spent to what control knows."""

    async def run(self) -> None:
        """Do what has to be done from time to time, until canceled."""

    async def flushed(self) -> None:
        """Wait until every settlement has arrived."""

    def levels(self) -> dict[str, float]:
        """Return how things stand, for `extproc.server.pulse`."""

    def held(self) -> dict[str, int]:
        """Return what is reserved (nano-dollars by meter), where nobody else has it."""


class Open:
    """The holds that are open, and which of them have to be kept alive."""

    def __init__(self) -> None:
        self._expiry: dict[str, tuple[Admission, float]] = {}

    def add(self, admission: Admission, expires: float) -> None:
        """Note one that is held until `expires`."""
        self._expiry[admission.id] = (admission, expires)

    def discard(self, admission: Admission) -> None:
        """Forget one that is settled."""
        self._expiry.pop(admission.id, None)

    def all(self) -> list[tuple[Admission, float]]:
        """Return them with their expiry."""
        return list(self._expiry.values())

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


class Timed:
    """Tells the pulse how long a verb took."""

    __slots__ = ("_began", "_pulse", "_verb")

    def __init__(self, pulse: Pulse, verb: str) -> None:
        self._pulse, self._verb = pulse, verb
        self._began = time.perf_counter()

    def __enter__(self) -> None:
        """Go on."""

    def __exit__(self, *_: object) -> None:
        """Note the time, also of a failure."""
        seconds = time.perf_counter() - self._began
        self._pulse.time("extproc_store_seconds", self._verb, seconds=seconds)


class MemoryTill:
    """The till of the only worker there is."""

    def __init__(
        self,
        store: MemoryStore,
        *,
        clock: Callable[[], float],
        accounting: Accounting,
        pulse: Pulse | None = None,
        notes: Notes | None = None,
    ) -> None:
        """`clock` gives Unix seconds; `pulse` is told how long each verb takes."""
        self._notes = notes or Notes()
        self.books = Books()
        self._pulse = pulse or Pulse()
        self._store = store
        self._clock = clock
        self._open = Open()
        self.accounting = accounting

    def admit(self, admission: Admission) -> Verdict:
        """See `Till.admit`."""
        now = self._clock()
        expires = now + self.accounting.hold_seconds
        self._open.add(admission, expires)
        began = time.perf_counter()
        verdict = self._store.admit(admission, now=now, expires=expires)
        self._time("admit", time.perf_counter() - began)
        if type(verdict) is Denied:
            self._open.discard(admission)
        return verdict

    def settle(self, settlement: Settlement) -> None:
        """See `Till.settle`."""
        self._open.discard(settlement.admission)
        began = time.perf_counter()
        self._store.settle(settlement.admission, settlement.spent, now=self._clock())
        self._time("settle", time.perf_counter() - began)

    def _time(self, verb: str, seconds: float) -> None:
        self._pulse.time("extproc_store_seconds", verb, seconds=seconds)

    def top_up(self, admission: Admission, nanos: int) -> bool:
        """See `Till.top_up`."""
        now = self._clock()
        expires = now + self.accounting.hold_seconds
        self._open.discard(admission)
        self._open.add(admission, expires)
        granted = self._store.top_up(admission, nanos, now=now, expires=expires)
        if granted:
            self._notes.reserved(More(admission.id, nanos))
        return granted

    def inherit(self, settlements: Iterable[Settlement]) -> None:
        """See `Till.inherit`: the store died with them, and control says what is spent."""

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

    def held(self) -> dict[str, int]:
        """See `Till.held`."""
        held: dict[str, int] = {}
        for admission, _ in self._open.all():
            for claim in admission.claims:
                if claim.counts == "nanos":
                    held[claim.meter] = held.get(claim.meter, 0) + claim.amount
        return held

    def levels(self) -> dict[str, float]:
        """See `Till.levels`."""
        return {"extproc_worker_unsettled": 0, "extproc_worker_store_away": 0}


def make_till(
    accounting: Accounting,
    *,
    clock: Callable[[], float],
    pulse: Pulse | None = None,
    notes: Notes | None = None,
) -> Till:
    """Return the till for `accounting`; `clock` gives Unix seconds.

    Raises:
        ValueError: the store's address is none.
    """
    if accounting.store is None:
        return MemoryTill(
            MemoryStore(), clock=clock, accounting=accounting, pulse=pulse, notes=notes
        )
    from extproc.server.network_till import NetworkTill  # noqa: PLC0415
    from extproc.state.redis import RedisError, RedisStore, connect  # noqa: PLC0415

    client = connect(accounting.store, timeout=STORE_SECONDS)
    return NetworkTill(
        RedisStore(client),
        clock=clock,
        accounting=accounting,
        error=RedisError,
        pulse=pulse,
        notes=notes,
    )


STORE_SECONDS: Final = 1.0
"""After which a store that does not reply is away; nobody waits so long for a verdict."""
