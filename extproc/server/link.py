"""The socket between the workers and control: snapshots one way, records the other.

Control sends the latest `Snapshot` to a worker that says `Hello` and again with every
change, behind what has changed of its grants (`extproc.server.grants`); the worker says `Applied`. Workers send `Records` in batches and keep each one
until control says `RecordsKept`; there is at most one batch under way on a connection, so
after a lost connection at most one batch comes twice, and control knows it by its ids.

What a worker learns of deployments (`Live`) goes to the other workers the same way, a
cooldown at once: one worker's 429 spares the others theirs.

Nothing on the data path waits for any of this: `WorkerLink.record` appends to memory.
This module is part of every worker: it imports nothing but msgspec and the core.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from extproc.exchange.completion import Completion
from extproc.exchange.content import Content
from extproc.runtime import Snapshot
from extproc.server.grants import Edition, GrantsPart
from extproc.server.kept_contents import KeptContents
from extproc.server.link_frames import (
    Applied,
    Balances,
    Broke,
    Hello,
    Live,
    Others,
    RawRecords,
    Records,
    RecordsKept,
    Refused,
    SnapshotMessage,
    encoder,
    frame,
    from_control,
    from_worker,
    read_frame,
)
from extproc.server.pulse import BEAT_SECONDS, Beat, BeatKept, Counts, Pulse, Times
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
SILENT_SECONDS: Final = 5.0
"""After which a worker is taken to hang: it beats once a second."""
REMEMBERED_IDS: Final = 64 * MAX_BATCH
"""Ids that control remembers to know a repeated record: one batch of each of 64 workers,
since a worker resends no more than the batch that was under way."""

MAX_BEATS: Final = 1_000
"""Workers whose last beat is remembered, so that it counts once if it comes twice."""


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
    ) -> None:
        self.lost = 0
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
        if len(self._kept) >= self._max_kept:
            self._kept.popleft()
            self._first += 1
            self.lost += 1
        # Encoded at once: bytes take a third of the memory and cost the garbage
        # collector nothing, and a batch that is sent twice is encoded once.
        self._kept.append(msgspec.Raw(encoder.encode(completion)))
        self._arrived.set()

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
            await _closed(writer)

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
                        self._kept.popleft()
                        self._first += 1
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
            writer.write(frame(RawRecords(self._first, batch, self.lost, said)))
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


@dataclass(slots=True)
class Peer:
    """A connected worker, as control sees it."""

    pid: int
    name: str
    id: str = ""
    generation: int = -1
    """The last one that it applied; -1 before the first."""
    refused: str | None = None
    """Why it refused a later one."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there is something that it has not been sent."""
    live: Live = field(default_factory=Live)
    levels: dict[str, float] = field(default_factory=dict)
    """Of its last beat."""
    others: dict[str, Others] = field(default_factory=dict)
    """By worker, the latest of what it has not been told."""
    heard: float = -math.inf
    """When it was last heard of, by the loop's clock."""
    rebalance: bool = True
    """Whether it is to be told again what is charged to each budget."""
    broke: list[str] = field(default_factory=list)
    """Deployments that broke answers of its off, which it has not been told."""

    def made(self, id: str) -> bool:  # noqa: A002  gw.id
        """Say whether this is its exchange."""
        return bool(self.id) and id.startswith(f"gw-{self.id}-")

    def answers(self, now: float) -> bool:
        """Say whether it has been heard of lately; `now` is by the loop's clock."""
        return now - self.heard < SILENT_SECONDS


class ControlLink:
    """Control's end: it listens, gives everyone the latest snapshot, collects records.

    Attributes:
        peers: the workers connected now.
    """

    def __init__(
        self,
        path: Path,
        on_records: Callable[[Sequence[Completion]], None],
        *,
        balances: Callable[[], Mapping[str, Balance]] = dict,
    ) -> None:
        self._balances = balances
        self.peers: list[Peer] = []
        self.on_contents: Callable[[Sequence[Content]], None] = lambda _: None
        """Told what was said in the exchanges of the records that come next."""
        self.on_beat: Callable[[Counts, Times], None] = lambda _counts, _times: None
        """Told of each worker's second, once."""
        self._beats: dict[str, int] = {}
        self._path = path
        self._on_records = on_records
        self._edition: Edition | None = None
        self._changed = asyncio.Event()
        self._seen: dict[str, None] = {}  # in order of arrival: the oldest go first
        self._lost: dict[int, int] = {}  # by pid: a worker that reconnects counts once

    @property
    def lost(self) -> int:
        """Completions dropped by all workers, those that have left included."""
        return sum(self._lost.values())

    def publish(self, snapshot: Snapshot) -> bool:
        """Send `snapshot` to every worker, and to those that connect later.

        Say whether it is another one than before.
        """
        new = self._edition is None or snapshot is not self._edition.snapshot
        if new:
            self._edition = Edition(snapshot)
        for peer in self.peers:
            peer.news.set()
        return new

    def rebalance(self) -> None:
        """Say to every worker what is charged to each budget now."""
        for peer in self.peers:
            peer.rebalance = True
            peer.news.set()

    def broke(self, completions: Sequence[Completion]) -> None:
        """Say to whoever read these answers that their provider broke them off."""
        for one in completions:
            for peer in self.peers:
                if peer.made(one.id) and one.cluster and one.request_model:
                    peer.broke.append(f"{one.cluster}/{one.request_model}")
                    peer.news.set()

    def alive(self, id: str) -> bool:  # noqa: A002  gw.id
        """Say whether the worker is connected whose exchange this is."""
        return any(peer.made(id) for peer in self.peers)

    def answers(self, id: str) -> bool:  # noqa: A002  gw.id
        """Say whether that worker has been heard of lately: it does not hang."""
        now = asyncio.get_running_loop().time()
        return any(peer.made(id) and peer.answers(now) for peer in self.peers)

    async def applied(self, generation: int) -> None:
        """Wait until every connected worker serves `generation` or a later one."""
        while any(peer.generation < generation for peer in self.peers):
            await self._changed.wait()

    async def run(self, on_listening: Callable[[], None] | None = None) -> None:
        """Serve until canceled.

        Raises:
            OSError: the path cannot be bound.
        """
        async with asyncio.TaskGroup() as tasks:
            stopping = False

            def accept(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter
            ) -> None:
                if stopping:
                    writer.close()
                else:
                    tasks.create_task(self._serve(reader, writer))

            self._path.unlink(missing_ok=True)  # of a control that was killed
            # Not yet serving: that takes a turn of the loop, in which a cancellation
            # would lose the socket.
            server = await asyncio.start_unix_server(
                accept, self._path, start_serving=False
            )
            try:
                self._path.chmod(0o600)
                await server.start_serving()
                if on_listening is not None:
                    on_listening()
                # Not serve_forever: from Python 3.12 on it waits, when canceled, for
                # the connections that this group would only end afterwards.
                await asyncio.Event().wait()
            finally:
                stopping = True
                server.close()
                self._path.unlink(missing_ok=True)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        peer: Peer | None = None
        try:
            peer = await _introduced(reader)
            self.peers.append(peer)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._tell(peer, writer))
                tasks.create_task(self._listen(peer, reader, writer))
        except* (OSError, asyncio.IncompleteReadError):
            pass  # gone, as workers and probes of the socket go
        except* msgspec.DecodeError as error:
            log.warning("dropped a link: %s", error.exceptions[0])
        finally:
            if peer is not None:
                self.peers.remove(peer)
                self._pass_on(peer, Live())
                self._pulse()
            await _closed(writer)

    async def _tell(self, peer: Peer, writer: asyncio.StreamWriter) -> None:
        # Only the latest matters: a worker that reads slowly skips generations.
        sent: Edition | None = None
        while True:
            if peer.rebalance:
                peer.rebalance = False
                if balances := self._balances():
                    writer.write(frame(Balances(dict(balances))))
            if (new := self._edition) is not None and new is not sent:
                for part in new.parts(sent):
                    writer.write(frame(part))
                    await writer.drain()
                writer.write(frame(SnapshotMessage(new.rest)))
                sent = new
            if peer.broke:
                broke, peer.broke = peer.broke, []
                writer.write(frame(Broke(tuple(broke))))
            while peer.others:
                writer.write(frame(peer.others.pop(next(iter(peer.others)))))
            await writer.drain()
            await peer.news.wait()
            peer.news.clear()

    async def _listen(
        self,
        peer: Peer,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            message = from_worker(await read_frame(reader))
            peer.heard = clock()
            match message:
                case Applied(generation):
                    peer.generation, peer.refused = generation, None
                    self._pulse()
                case Refused(generation, reason):
                    peer.refused = f"generation {generation}: {reason}"
                    log.warning("worker %s refused %s", peer.name, peer.refused)
                    self._pulse()
                case Records(first, completions, lost, contents):
                    if contents:
                        self.on_contents(contents)
                    self._on_records(self.unseen(completions))
                    if lost:
                        self._lost[peer.pid] = lost
                    writer.write(frame(RecordsKept(first + len(completions))))
                case Live() as live:
                    self._pass_on(peer, live)
                case Beat() as beat:
                    self._hear(peer, beat)
                    writer.write(frame(BeatKept(beat.number)))
                case Hello():
                    raise msgspec.DecodeError("a second Hello")

    def _hear(self, peer: Peer, beat: Beat) -> None:
        peer.levels = beat.levels
        if beat.number != self._beats.get(peer.id):
            self.on_beat(beat.counts, beat.times)
        self._beats.pop(peer.id, None)
        self._beats[peer.id] = beat.number
        while len(self._beats) > MAX_BEATS:
            del self._beats[next(iter(self._beats))]

    def unseen(self, completions: Sequence[Completion]) -> list[Completion]:
        """Return those that have not come before, and remember them."""
        new = []
        for completion in completions:
            if completion.id not in self._seen:
                self._seen[completion.id] = None
                new.append(completion)
        surplus = max(0, len(self._seen) - REMEMBERED_IDS)
        for oldest in list(islice(self._seen, surplus)):
            del self._seen[oldest]
        return new

    def _pass_on(self, peer: Peer, live: Live) -> None:
        peer.live = live
        for other in self.peers:
            if other is not peer:
                name = peer.id or f"{peer.name}.{peer.pid}"
                other.others[name] = Others(name, live)
                other.news.set()

    def _pulse(self) -> None:
        self._changed.set()
        self._changed.clear()


async def _introduced(reader: asyncio.StreamReader) -> Peer:
    hello = from_worker(await read_frame(reader))
    if not isinstance(hello, Hello):
        raise msgspec.DecodeError(f"{type(hello).__name__} before Hello")
    heard = asyncio.get_running_loop().time()
    return Peer(hello.pid, hello.name, hello.id, heard=heard)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
