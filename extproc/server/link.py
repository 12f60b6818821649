"""A worker's end of the socket to control: snapshots one way, records the other.

Control sends the latest `Snapshot` to a worker that says `Hello` and again with every
change, behind what has changed of its grants (`extproc.server.grants`); the worker says `Applied`.
Workers send `Records` in batches and keep each one until control says `RecordsKept`; there is at most one batch under way on a connection, so
after a lost connection at most one batch comes twice, and control knows it by its ids.

What a worker learns of deployments (`Live`) goes to the other workers the same way, a
cooldown at once: one worker's 429 spares the others theirs.

Nothing on the data path waits for any of this: `WorkerLink.record` appends to memory, some
of which outlives the worker (`extproc.server.notes`). What workers before it have left goes
to control first.

This module is part of every worker: it imports nothing but msgspec and the core. Control's
end is `extproc.server.control_link`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from extproc.exchange.completion import Completion
from extproc.exchange.content import Content
from extproc.runtime import Snapshot
from extproc.server.grants import GrantsPart
from extproc.server.kept_contents import KeptContents
from extproc.server.link_frames import (
    Applied,
    Balances,
    Broke,
    Hello,
    Live,
    Others,
    RawRecords,
    RecordsKept,
    Refused,
    SnapshotMessage,
    closed,
    encoder,
    frame,
    from_control,
    read_frame,
)
from extproc.server.notes import Notes
from extproc.server.pulse import BEAT_SECONDS, BeatKept, Pulse
from extproc.state.base import Balance

log = logging.getLogger(__name__)

MAX_KEPT_RECORDS: Final = 100_000
"""Some 40 MB at 400 bytes each: control may be away for 100 s at 1,000 requests/s. Past
that the oldest are dropped and counted, so that the budgets of today are right first."""
MAX_BATCH: Final = 1_000
"""Records in one frame: some 400 kB, which control reads without holding its loop."""
BATCH_SECONDS: Final = 0.05
"""Between batches: at 1,000 requests/s one frame carries 50 records."""
BACKOFF_SECONDS: Final = (0.05, 1.0)
"""First and longest pause between connection attempts: a control that is back must reach
its workers within a second (revoked keys)."""
LIVE_SECONDS: Final = 0.25
"""Between two looks at what the other workers should know: loads, which change with every
request. A cooldown does not wait for it."""


class WorkerLink:
    """The worker's end: it connects for as long as it lives, and forgets nothing.

    Attributes:
        lost: completions dropped because control was away for too long.
        contents: what was said in the exchanges of those that are kept.
    """

    def __init__(
        self,
        path: Path,
        on_snapshot: Callable[[Snapshot], None],
        *,
        name: str = "worker",
        id: str = "",  # noqa: A002  of the worker
        max_kept: int = MAX_KEPT_RECORDS,
        live: Callable[[], Live] = Live,
        on_others: Callable[[Others], None] = lambda _: None,
        on_grants: Callable[[GrantsPart], None] = lambda _: None,
        on_balances: Callable[[Mapping[str, Balance]], None] = lambda _: None,
        on_broke: Callable[[Sequence[str]], None] = lambda _: None,
        pulse: Pulse | None = None,
        notes: Notes | None = None,
    ) -> None:
        self.lost = 0
        self._notes = notes or Notes()
        self._places: deque[int] = deque()
        """Where each of `_kept` is written down."""
        self._inherited = 0  # the sequence of the first that is our own
        self._on_inherited: Callable[[], None] = lambda: None
        self._released = asyncio.Event()
        self._released.set()
        self.contents = KeptContents()
        self._on_balances = on_balances
        self._on_broke = on_broke
        self._on_grants = on_grants
        self._pulse = pulse
        self._live = live
        self._on_others = on_others
        self._news = asyncio.Event()
        self._path = path
        self._on_snapshot = on_snapshot
        self._name = name
        self._id = id
        self._max_kept = max_kept
        self._kept: deque[msgspec.Raw] = deque()
        self._first = 0  # the sequence of _kept[0]
        self._writer: asyncio.StreamWriter | None = None
        self._arrived = asyncio.Event()
        self._connection = asyncio.Event()
        self._acknowledged = asyncio.Event()

    def record(self, completion: Completion) -> None:
        """Keep `completion` until control has it; never waits."""
        kept = self._kept
        if len(kept) >= self._max_kept:
            self._forget()
            self.lost += 1
        # Encoded at once: bytes take a third of the memory and cost the garbage
        # collector nothing, and a batch that is sent twice is encoded once.
        raw = encoder.encode(completion)
        if not kept:
            self._arrived.set()
        kept.append(msgspec.Raw(raw))
        self._places.append(self._notes.record(completion.id, raw))

    def inherit(
        self, records: Sequence[Completion], on_kept: Callable[[], None]
    ) -> None:
        """Take, before any of our own, the records of workers that have died.

        They are written down already; `on_kept` is called when control has them. Nothing
        is sent before `release`: what control knows, a store that loses its memory is told
        was spent, and a bill that came to it after that would be charged twice.
        """
        self._kept.extend(msgspec.Raw(encoder.encode(one)) for one in records)
        self._inherited = self._first + len(records)
        self._on_inherited = on_kept
        if records:
            self._released.clear()
            self._arrived.set()
        else:
            on_kept()

    def release(self) -> None:
        """Let records go: the store has the bills of those that were inherited."""
        self._released.set()

    def _forget(self) -> None:
        """Drop the oldest: control has it, or never will."""
        self._kept.popleft()
        self._first += 1
        if self._first > self._inherited:
            self._notes.kept(self._places.popleft())
        elif self._first == self._inherited:
            self._on_inherited()

    def keep(self, content: Content) -> None:
        """Keep what was said in the exchange whose record is the next one."""
        self.contents.keep(self._first + len(self._kept), content)

    def tell(self) -> None:
        """Let the other workers know at once what has changed."""
        self._news.set()

    @property
    def connected(self) -> bool:
        """Whether control is there now."""
        return self._writer is not None

    @property
    def unacknowledged(self) -> int:
        """How many records control has not confirmed."""
        return len(self._kept)

    async def flushed(self) -> None:
        """Wait until control has every record: for the end of a drain."""
        while self._kept:
            self._acknowledged.clear()
            await self._acknowledged.wait()

    async def run(self) -> None:
        """Stay connected until canceled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send_batches())
            tasks.create_task(self._tell_live())
            if self._pulse is not None:
                tasks.create_task(self._beat(self._pulse))
            shortest, longest = BACKOFF_SECONDS
            pause = shortest
            while True:
                try:
                    reader, writer = await asyncio.open_unix_connection(self._path)
                except OSError:
                    pause = min(2 * pause, longest)
                else:
                    pause = shortest
                    await self._converse(reader, writer)
                await asyncio.sleep(pause)

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(frame(Hello(os.getpid(), self._name, self._id)))
        self._writer = writer
        self._connection.set()
        try:
            await self._listen(reader, writer)
        except (OSError, asyncio.IncompleteReadError, msgspec.DecodeError) as error:
            log.debug("control is away: %s", error)
        finally:
            self._writer = None
            self._connection.clear()
            self._acknowledged.set()
            await closed(writer)

    async def _listen(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while True:
            match from_control(await read_frame(reader)):
                case GrantsPart() as part:
                    self._on_grants(part)
                    await asyncio.sleep(0)  # the next may be here already
                case SnapshotMessage(snapshot):
                    writer.write(frame(self._apply(snapshot)))
                case RecordsKept(up_to):
                    while self._kept and self._first < up_to:
                        self._forget()
                    self.contents.forget(self._first)
                    if not self._kept:
                        self._arrived.clear()
                    self._acknowledged.set()
                case Others() as others:
                    self._on_others(others)
                case Balances(balances):
                    self._on_balances(balances)
                case Broke(deployments):
                    self._on_broke(deployments)
                case BeatKept(number):
                    if self._pulse is not None:
                        self._pulse.kept(number)

    async def _tell_live(self) -> None:
        told, to = Live(), self._writer
        while True:
            await self._connection.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LIVE_SECONDS):
                    await self._news.wait()
            self._news.clear()
            writer, now = self._writer, self._live()
            if writer is None or (now == told and writer is to):
                continue
            if _is_gone(writer):
                await asyncio.sleep(LIVE_SECONDS)
                continue
            if writer.transport.get_write_buffer_size() == 0:
                writer.write(frame(now))
                told, to = now, writer

    async def _beat(self, pulse: Pulse) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            if (writer := self._writer) is not None and not _is_gone(writer):
                writer.write(frame(pulse.beat()))

    async def _send_batches(self) -> None:
        while True:
            await self._arrived.wait()
            await self._released.wait()
            await self._connection.wait()
            writer = self._writer
            if writer is None:
                continue
            if _is_gone(writer):
                await asyncio.sleep(BATCH_SECONDS)
                continue
            batch = tuple(islice(self._kept, MAX_BATCH))
            up_to = self._first + len(batch)
            # No drain: nothing more is written before this one is acknowledged.
            said = self.contents.before(up_to)
            inherited = min(len(batch), max(0, self._inherited - self._first))
            records = RawRecords(self._first, batch, self.lost, said, inherited)
            writer.write(frame(records))
            while self._first < up_to and self._writer is writer:
                self._acknowledged.clear()
                await self._acknowledged.wait()
            if len(self._kept) < MAX_BATCH:
                await asyncio.sleep(BATCH_SECONDS)

    def _apply(self, snapshot: Snapshot) -> Applied | Refused:
        try:
            self._on_snapshot(snapshot)
        except (LookupError, ValueError) as error:
            log.warning("generation %d refused: %s", snapshot.generation, error)
            return Refused(snapshot.generation, f"{type(error).__name__}: {error}")
        return Applied(snapshot.generation)


def _is_gone(writer: asyncio.StreamWriter) -> bool:
    """Say whether control has died, which who reads from it hears of a moment later.

    uvloop raises RuntimeError at whatever is done with such a transport but this.
    """
    return writer.transport.is_closing()
