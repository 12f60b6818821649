"""What serves in a worker, from its first snapshot on: the edge, its office, its fleet.

The process around it, which waits for that snapshot, is `extproc.server.worker`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import gc
import itertools
import logging
import random  # noqa: TID251  the edge owns chance
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from extproc.routing.state import RoutingState
from extproc.routing.trials import Asking
from extproc.runtime import Runtime
from extproc.server.call import Call, Office
from extproc.server.fleet import Rights, make_fleet
from extproc.server.lean import LeanServer
from extproc.server.link import WorkerLink
from extproc.server.link_frames import Live, Others
from extproc.server.notes import Notes
from extproc.server.pulse import Pulse, watch_lag
from extproc.server.till import make_till
from extproc.server.upkeep import kept

if TYPE_CHECKING:
    from extproc.server.grpcio import GrpcServer

log = logging.getLogger(__name__)

GRACE_SECONDS: Final = 30.0
"""How long open calls may take to end after SIGTERM; a supervisor allows a little more."""
BILL_SECONDS: Final = 10.0
"""For the store to take the bills of workers that have died, before control hears of them."""
FLUSH_SECONDS: Final = 2.0
"""How long the last records may take to reach control."""


def make_id_factory(prefix: str) -> Callable[[], str]:
    """Return a maker of ids that no other worker makes, for `prefix` is its own."""
    numbers = itertools.count(1)
    return lambda: f"gw-{prefix}-{next(numbers):x}"


class Service:
    """Serves what its edge brings.

    Attributes:
        office: what all calls share.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        id: str,  # noqa: A002  of the worker
        link: WorkerLink,
        pulse: Pulse,
        notes: Notes,
    ) -> None:
        self._link, self._pulse = link, pulse
        self._edge: LeanServer | GrpcServer | None = None
        self._frames = 0
        self._draining = False
        self.office = Office(
            runtime=runtime,
            new_id=make_id_factory(id),
            wall_clock=time.time,  # noqa: TID251  the edge owns the clock
            record=link.record,
            keep=link.keep,
            routing=RoutingState(
                random.Random(),  # noqa: S311  spreads load
                runtime.routing,
                on_change=self._tell,
                on_bench=_log_bench,
            ),
            till=make_till(
                runtime.accounting,
                clock=time.time,  # noqa: TID251
                pulse=pulse,
                notes=notes,
            ),
            notes=notes,
        )
        self.office.bodies.limit = runtime.limits.max_held_bytes
        self._fleet = make_fleet(
            runtime.accounting.store,
            id=id,
            live=self.live,
            learn=self._learn,
            linked=lambda: link.connected,
            trials=Rights(
                self.office.routing.trials,
                functools.partial(_asking, self.office.routing),
            ),
        )

    def apply(self, runtime: Runtime) -> None:
        """Serve new exchanges by `runtime`; those under way keep what they began with."""
        office = self.office
        if runtime.accounting.store != office.runtime.accounting.store:
            log.warning("the change of accounting.store waits for a restart")
        office.runtime = runtime
        office.till.accounting = runtime.accounting
        office.routing.numbers = runtime.routing
        office.bodies.limit = runtime.limits.max_held_bytes

    async def run(self, options: argparse.Namespace, stop: asyncio.Event) -> None:
        """Serve until `stop`, then drain.

        Raises:
            OSError: the address cannot be listened on.
        """
        edge = self._edge = await self._started(options)
        # What is loaded now lives as long as the process: no collection looks at it.
        gc.collect()
        gc.freeze()
        gc.enable()
        till = self.office.till
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(kept("till", till.run)),
                tasks.create_task(kept("pulse", lambda: watch_lag(self._pulse))),
                tasks.create_task(self._release()),
            ]
            if self._fleet is not None:
                running.append(tasks.create_task(kept("fleet", self._fleet.run)))
            await stop.wait()
            self._draining = True
            await edge.drain(GRACE_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_SECONDS):
                    await till.flushed()
                    await self._link.flushed()
            for task in running:
                task.cancel()

    async def _started(self, options: argparse.Namespace) -> LeanServer | GrpcServer:
        if options.edge == "lean":
            lean = LeanServer(health=lambda: not self._draining)
            await lean.start(options.socket, self._new_call)
            return lean
        from extproc.server.grpcio import GrpcServer, Tls  # noqa: PLC0415  30 MB that lean saves

        edge = GrpcServer(self._new_call, health=lambda: not self._draining)
        tls = None
        if options.tls_certificate:
            tls = Tls(options.tls_certificate, options.tls_key, options.tls_client_ca)
        await edge.start(options.listen or f"unix:{options.socket}", tls)
        return edge

    def _new_call(self) -> Call:
        return Call(self.office)

    async def _release(self) -> None:
        """Let records go to control when the store has what others have left it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BILL_SECONDS):
                await self.office.till.flushed()
        self._link.release()

    def live(self) -> Live:
        """Return what the other workers and operators are told of ours."""
        routing = self.office.routing
        deployments, benches = routing.live(time.monotonic())
        return Live(
            tuple(deployments),
            tuple(benches),
            len(routing.open),
            routing.retries.left,
            self.office.till.held(),
        )

    def counts(self) -> Iterator[tuple[tuple[str, ...], float]]:
        """Yield what was counted since the last time."""
        if isinstance(self._edge, LeanServer):
            frames, before = self._edge.frames, self._frames
            self._frames = frames
            yield ("extproc_edge_frames",), frames - before
        routing = self.office.routing
        cooldowns, routing.cooldowns = routing.cooldowns, Counter()
        for (cluster, reason), number in cooldowns.items():
            yield ("extproc_cooldowns", cluster, reason), number

    def levels(self) -> dict[str, float]:
        """Return how things stand."""
        levels = self.office.till.levels()
        levels["extproc_worker_open_exchanges"] = len(self.office.routing.open)
        levels["extproc_worker_held_bytes"] = self.office.bodies.held
        levels["extproc_worker_waiting_bodies"] = self.office.bodies.waiting
        if isinstance(self._edge, LeanServer):
            levels["extproc_worker_connections"] = len(self._edge.connections)
        return levels

    def note_broken(self, deployments: Sequence[str]) -> None:
        """Take in whose answers broke off, which here looked as if clients had left."""
        now = time.monotonic()
        for one in deployments:
            self.office.routing.broke(one, now)

    def learn_near(self, others: Others) -> None:
        """Take in what a worker of this node says."""
        if self._fleet is not None:
            self._fleet.near.add(others.peer)
        self._learn(others.peer, others.live)

    def _learn(self, peer: str, live: Live) -> None:
        now = time.monotonic()
        self.office.routing.learn(peer, live.deployments, live.benches, now)

    def _tell(self) -> None:
        """Let all other workers know at once what has changed."""
        self._link.tell()
        if self._fleet is not None:
            self._fleet.tell()


def _log_bench(cluster: str, seconds: float) -> None:
    log.warning(
        "the provider refused the key of %s; left alone for %.0f s", cluster, seconds
    )


def _asking(routing: RoutingState) -> Asking:
    return routing.ask_trials(time.monotonic())
