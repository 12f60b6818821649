"""Control's end of the socket to its workers; see `extproc.server.link` for what is said on it."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from extproc.exchange.completion import Completion
from extproc.exchange.content import Content
from extproc.runtime import Snapshot
from extproc.server.grants import Edition
from extproc.server.link import MAX_BATCH
from extproc.server.link_frames import (
    Applied,
    Balances,
    Broke,
    Hello,
    Live,
    Others,
    Records,
    RecordsKept,
    Refused,
    SnapshotMessage,
    closed,
    frame,
    from_worker,
    read_frame,
)
from extproc.server.pulse import Beat, BeatKept, Counts, Times
from extproc.state.base import Balance

log = logging.getLogger(__name__)

SILENT_SECONDS: Final = 5.0
"""After which a worker is taken to hang: it beats once a second."""
REMEMBERED_IDS: Final = 64 * MAX_BATCH
"""Ids that control remembers to know a repeated record: one batch of each of 64 workers,
since a worker resends no more than the batch that was under way."""

MAX_BEATS: Final = 1_000
"""Workers whose last beat is remembered, so that it counts once if it comes twice."""


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

    async def served(self) -> None:
        """Wait until some worker serves, whatever generation."""
        while not any(peer.generation for peer in self.peers):
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
            await closed(writer)

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
                case Records() as records:
                    self.accept(records)
                    if records.inherited:
                        self.rebalance()
                    if records.lost:
                        self._lost[peer.pid] = records.lost
                    kept = records.first_sequence + len(records.completions)
                    writer.write(frame(RecordsKept(kept)))
                case Live() as live:
                    self._pass_on(peer, live)
                case Beat() as beat:
                    self._hear(peer, beat)
                    writer.write(frame(BeatKept(beat.number)))
                case Hello():
                    raise msgspec.DecodeError("a second Hello")

    def accept(self, records: Records) -> None:
        """Hand on those records that have not come before."""
        if records.contents:
            self.on_contents(records.contents)
        self._on_records(self.unseen(records.completions))

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
