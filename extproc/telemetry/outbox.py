"""What waits to be sent to somebody who may be away: bounded, counted, never waited for.

A batch that could not be sent is tried again after a growing pause, for as long as there is
room; past that the oldest things go, and each is counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_WEIGHT: Final = 64 << 20
"""Bytes of what is heavy that may wait for one sink."""
BATCH_WEIGHT: Final = 1 << 20
"""Bytes of what is heavy that are sent at once: gRPC's servers take messages of 4 MiB."""
PAUSES: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before each further attempt; the last for all after it."""


class Outbox(Generic[T]):
    """One queue and who empties it.

    Attributes:
        lost: things that there was no room for.
        away: whether the last batch did not arrive.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[Sequence[T]], bool],
        *,
        most: int = 10_000,
        batch: int = 500,
        gather: float = 0.5,
        pauses: Sequence[float] = PAUSES,
        told: Callable[[str, bool], None] = lambda _name, _well: None,
        weigh: Callable[[T], int] = lambda _: 0,
    ) -> None:
        """`send` may block, in a thread, and says whether a batch has arrived.

        Args:
            name: for the log and for metrics.
            send: sends one batch.
            most: things that may wait.
            batch: things that are sent at once.
            gather: seconds between two batches.
            pauses: seconds before each further attempt.
            told: hears of every batch whether it has arrived.
            weigh: the bytes of a thing, where they count.
        """
        self.lost = 0
        self.away = False
        self.name = name
        self._send = send
        self._most = most
        self._batch = batch
        self._gather = gather
        self._pauses = pauses
        self._told = told
        self._weigh = weigh
        self._weight = 0
        self._waiting: deque[T] = deque()
        self._sending: Sequence[T] = ()
        self._arrived = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def waiting(self) -> int:
        """How many things have not arrived."""
        return len(self._waiting) + len(self._sending)

    def put(self, things: Iterable[T]) -> None:
        """Send `things` some time; never waits."""
        for thing in things:
            weight = self._weigh(thing)
            while self._waiting and (
                self.waiting >= self._most or self._weight + weight > MOST_WEIGHT
            ):
                self._weight -= self._weigh(self._waiting.popleft())
                self.lost += 1
            if self.waiting >= self._most:
                self.lost += 1
                continue
            self._waiting.append(thing)
            self._weight += weight
        if self._waiting:
            self._empty.clear()
            self._arrived.set()

    async def run(self) -> None:
        """Send until canceled."""
        failures = 0
        while True:
            if not self._sending:
                if not self._waiting:
                    self._empty.set()
                    self._arrived.clear()
                    await self._arrived.wait()
                self._sending = self._next_batch()
            well = await asyncio.to_thread(self._send, self._sending)
            self._told(self.name, well)
            self.away = not well
            if well:
                if failures:
                    log.info("%s can be sent to again", self.name)
                failures, self._sending = 0, ()
                await asyncio.sleep(self._gather)
                continue
            if not failures:
                log.warning("%s cannot be sent to; it is tried again", self.name)
            pause = self._pauses[min(failures, len(self._pauses) - 1)]
            failures += 1
            await asyncio.sleep(pause)

    def _next_batch(self) -> list[T]:
        batch: list[T] = []
        weight = 0
        while self._waiting and len(batch) < self._batch:
            more = self._weigh(self._waiting[0])
            if batch and weight + more > BATCH_WEIGHT:
                break
            weight += more
            batch.append(self._waiting.popleft())
        self._weight -= weight
        return batch

    async def flushed(self) -> None:
        """Wait until everything has arrived: for tests, and the end of control."""
        await self._empty.wait()
