"""The worker process: wiring of an edge, the exchanges, and the link to control.

    python -m extproc.server.worker --socket w0.sock --control control.sock

It begins to listen when it has a snapshot: from a file that an earlier control wrote, so
that serving does not wait, else from the link. SIGTERM drains: GOAWAY, open calls end,
their records reach control, exit. Exit codes: 0 drained, 2 cannot start.
"""

from __future__ import annotations

import gc

if __name__ == "__main__":
    # What is imported stays: looking for garbage in it took a fifth of a start.
    gc.disable()

import argparse
import asyncio
import contextlib
import functools
import itertools
import logging
import os
import random  # noqa: TID251  the edge owns chance
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import uvloop

from extproc.identity import GrantBook, grant_book
from extproc.routing.state import RoutingState
from extproc.routing.trials import Asking
from extproc.runtime import Runtime, Snapshot
from extproc.server.call import Call, Office
from extproc.server.fleet import Fleet, Rights, make_fleet
from extproc.server.grants import GrantsPart, take
from extproc.server.journals import Journals
from extproc.server.lean import LeanServer
from extproc.server.ledger import LEDGER_FILE, read_balances
from extproc.server.link import WorkerLink
from extproc.server.link_frames import Live, Others
from extproc.server.pulse import Pulse, watch_lag
from extproc.server.till import Till, make_till
from extproc.server.worker_options import parse
from extproc.state.base import Balance
from extproc.telemetry import logs

if TYPE_CHECKING:
    from extproc.server.grpcio import GrpcServer, Tls

log = logging.getLogger(__name__)

GRACE_SECONDS = 30.0
"""How long open calls may take to end after SIGTERM; a supervisor allows a little more."""
RESTART_SECONDS = 0.5
"""Before what has failed beside the streams is tried again."""
BILL_SECONDS = 10.0
"""For the store to take the bills of workers that have died, before control hears of them."""
FLUSH_SECONDS = 2.0
"""How long the last records may take to reach control."""


def make_id_factory(prefix: str) -> Callable[[], str]:
    """Return a maker of ids that no other worker makes, for `prefix` is its own."""
    numbers = itertools.count(1)
    return lambda: f"gw-{prefix}-{next(numbers):x}"


class Worker:
    """One worker process."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._office: Office | None = None
        self._ready = asyncio.Event()
        self._draining = False
        self._id = os.urandom(8).hex()
        self._new_id = make_id_factory(self._id)
        self._fleet: Fleet | None = None
        self._edge: LeanServer | GrpcServer | None = None
        self._frames = 0
        self._grants: GrantBook = {}
        self._pulse = Pulse(self._levels, self._counts)
        self._journals = Journals(options.journals, self._id, now=time.time())  # noqa: TID251
        self._inherited = 0
        self._link = WorkerLink(
            options.control,
            self._apply,
            name=Path(options.socket or "tcp").stem,
            id=self._id,
            live=self._live,
            on_others=self._learn_near,
            on_grants=self._take_grants,
            on_balances=self._seed,
            on_broke=self._note_broken,
            pulse=self._pulse,
            notes=self._journals.notes,
        )
        self._link.inherit(self._journals.records, self._note_inherited)
        self._balances = (
            read_balances(options.snapshot.with_name(LEDGER_FILE))
            if options.snapshot is not None
            else {}
        )

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT.

        Raises:
            OSError: the address cannot be listened on.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        snapshot = read_snapshot(self._options.snapshot)
        if snapshot is not None:
            self._apply(snapshot)
        async with asyncio.TaskGroup() as tasks:
            link = tasks.create_task(_kept("link", self._link.run))
            stopped = tasks.create_task(stop.wait())
            ready = tasks.create_task(self._ready.wait())
            await asyncio.wait({stopped, ready}, return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            if not stop.is_set():
                await self._serve(stop)
            link.cancel()
        self._journals.close()

    async def _serve(self, stop: asyncio.Event) -> None:
        edge = self._edge = self._make_edge()
        if isinstance(edge, LeanServer):
            await edge.start(self._options.socket, self._new_call)
        else:
            address = self._options.listen or f"unix:{self._options.socket}"
            await edge.start(address, self._tls())
        # What is loaded now lives as long as the process: no collection looks at it.
        gc.collect()
        gc.freeze()
        gc.enable()
        till = self._till()
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(_kept("till", till.run)),
                tasks.create_task(_kept("pulse", lambda: watch_lag(self._pulse))),
                tasks.create_task(self._release(till)),
            ]
            if self._fleet is not None:
                running.append(tasks.create_task(_kept("fleet", self._fleet.run)))
            await stop.wait()
            self._draining = True
            await edge.drain(GRACE_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await till.flushed()
                    await self._link.flushed()
            for task in running:
                task.cancel()

    def _till(self) -> Till:
        assert self._office is not None, "serving began without a snapshot"  # noqa: S101  for mypy
        return self._office.till

    def _make_edge(self) -> LeanServer | GrpcServer:
        if self._options.edge == "lean":
            return LeanServer(health=lambda: not self._draining)
        from extproc.server.grpcio import GrpcServer  # noqa: PLC0415  30 MB that lean saves

        return GrpcServer(self._new_call, health=lambda: not self._draining)

    def _tls(self) -> Tls | None:
        if not self._options.tls_certificate:
            return None
        from extproc.server.grpcio import Tls  # noqa: PLC0415

        return Tls(
            self._options.tls_certificate,
            self._options.tls_key,
            self._options.tls_client_ca,
        )

    def _new_call(self) -> Call:
        assert self._office is not None, "listening began without a snapshot"  # noqa: S101  for mypy
        return Call(self._office)

    def _apply(self, snapshot: Snapshot) -> None:
        """Serve new exchanges by `snapshot`; those under way keep what they began with.

        Raises:
            KeyError: it names a provider type that this version does not have.
        """
        if snapshot.grants:
            self._grants = grant_book(snapshot.grants)
        # A copy: what comes next changes nothing of what serves.
        runtime = Runtime.of(snapshot, dict(self._grants))
        logs.apply(snapshot.logs)
        if self._office is None:
            self._office = Office(
                runtime=runtime,
                new_id=self._new_id,
                wall_clock=time.time,  # noqa: TID251  the edge owns the clock
                record=self._link.record,
                keep=self._link.keep,
                routing=RoutingState(
                    random.Random(),  # noqa: S311  spreads load
                    runtime.routing,
                    on_change=self._tell,
                    on_bench=_log_bench,
                ),
                till=make_till(
                    runtime.accounting,
                    clock=time.time,  # noqa: TID251
                    pulse=self._pulse,
                    notes=self._journals.notes,
                ),
                notes=self._journals.notes,
            )
            self._seed(self._balances)
            self._office.till.inherit(self._journals.settlements)
            self._note_inherited()
            self._fleet = make_fleet(
                runtime.accounting.store,
                id=self._id,
                live=self._live,
                learn=self._learn,
                linked=lambda: self._link.connected,
                trials=Rights(
                    self._office.routing.trials,
                    functools.partial(_asking, self._office.routing),
                ),
            )
        else:
            if runtime.accounting.store != self._office.runtime.accounting.store:
                log.warning("the change of accounting.store waits for a restart")
            self._office.runtime = runtime
            self._office.till.accounting = runtime.accounting
            self._office.routing.numbers = runtime.routing
        self._office.bodies.limit = runtime.limits.max_held_bytes
        self._ready.set()

    async def _release(self, till: Till) -> None:
        """Let records go to control when the store has what others have left it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BILL_SECONDS):
                await till.flushed()
        self._link.release()

    def _note_inherited(self) -> None:
        """Note that control, or the till, has what other workers have left."""
        self._inherited += 1
        if self._inherited == 2:
            self._journals.forget_left()

    def _take_grants(self, part: GrantsPart) -> None:
        """Take in what has changed of the grants; the snapshot behind it serves them."""
        take(self._grants, part)

    def _live(self) -> Live:
        """Return what the other workers and operators are told of ours."""
        if self._office is None:
            return Live()
        routing = self._office.routing
        deployments, benches = routing.live(time.monotonic())
        return Live(
            tuple(deployments),
            tuple(benches),
            len(routing.open),
            routing.retries.left,
            self._office.till.held(),
        )

    def _counts(self) -> Iterator[tuple[tuple[str, ...], float]]:
        """Yield what was counted elsewhere since the last time."""
        if isinstance(self._edge, LeanServer):
            frames, before = self._edge.frames, self._frames
            self._frames = frames
            yield ("extproc_edge_frames",), frames - before
        contents = self._link.contents
        lost, contents.lost = contents.lost, 0
        yield ("extproc_content_lost",), lost
        if self._office is not None:
            routing = self._office.routing
            cooldowns, routing.cooldowns = routing.cooldowns, Counter()
            for (cluster, reason), number in cooldowns.items():
                yield ("extproc_cooldowns", cluster, reason), number

    def _levels(self) -> dict[str, float]:
        """Return how things stand."""
        levels: dict[str, float] = {
            "extproc_worker_unacknowledged_records": self._link.unacknowledged,
            "extproc_worker_unwritten_records": self._journals.notes.unwritten,
            "extproc_worker_tasks": len(asyncio.all_tasks()),
        }
        if self._office is not None:
            routing = self._office.routing
            levels["extproc_worker_open_exchanges"] = len(routing.open)
            levels |= self._office.till.levels()
        if isinstance(self._edge, LeanServer):
            levels["extproc_worker_connections"] = len(self._edge.connections)
        return levels

    def _seed(self, balances: Mapping[str, Balance]) -> None:
        """Let no restart make a budget whole again."""
        if self._office is None:
            self._balances.update(balances)
        else:
            self._office.till.seed(balances)

    def _tell(self) -> None:
        """Let all other workers know at once what has changed."""
        self._link.tell()
        if self._fleet is not None:
            self._fleet.tell()

    def _note_broken(self, deployments: Sequence[str]) -> None:
        """Take in whose answers broke off, which here looked as if clients had left."""
        if self._office is not None:
            now = time.monotonic()
            for one in deployments:
                self._office.routing.broke(one, now)

    def _learn_near(self, others: Others) -> None:
        """Take in what a worker of this node says."""
        if self._fleet is not None:
            self._fleet.near.add(others.peer)
        self._learn(others.peer, others.live)

    def _learn(self, peer: str, live: Live) -> None:
        if self._office is not None:
            now = time.monotonic()
            self._office.routing.learn(peer, live.deployments, live.benches, now)


def _log_bench(cluster: str, seconds: float) -> None:
    log.warning(
        "the provider refused the key of %s; left alone for %.0f s", cluster, seconds
    )


def _asking(routing: RoutingState) -> Asking:
    return routing.ask_trials(time.monotonic())


async def _kept(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """Run what serves no request, and again if it fails: no stream is lost for its bug."""
    while True:
        try:
            await run()
        except Exception as error:  # noqa: BLE001  whatever it is
            # No traceback: its values may be a client's.
            log.error("the %s failed: %s", name, _cause(error))  # noqa: TRY400
            await asyncio.sleep(RESTART_SECONDS)
        else:
            return


def _cause(error: BaseException) -> str:
    """Return what failed and where, without any value."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    trace = traceback.extract_tb(error.__traceback__)
    where = f" in {trace[-1].name}, line {trace[-1].lineno}" if trace else ""
    return type(error).__name__ + where


def read_snapshot(path: Path | None) -> Snapshot | None:
    """Return the snapshot that control left at `path`, or None when there is no use in it.

    A file of another version is as good as none: control sends a new one.
    """
    if path is None:
        return None
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Snapshot)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as exc:
        log.warning("ignoring the snapshot file: %s", type(exc).__name__)
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one worker; return the exit code."""
    logs.configure("worker")
    options = parse(sys.argv[1:] if arguments is None else arguments)
    code = 0
    try:
        uvloop.run(Worker(options).run())
    except* OSError as group:
        code = 2
        for error in group.exceptions:
            log.error("%s", error)  # noqa: TRY400  a sentence, not a trace
    return code


if __name__ == "__main__":
    sys.exit(main())
