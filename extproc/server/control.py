"""The control process: watches the configuration, and brings what it says to everybody.

    gateway.yaml or the environment ─▶ Envoy's files (`Rollout`) ─▶ snapshot ─▶ workers
    workers ─▶ completion records ─▶ metrics

No request needs it. What it must not forget is on disk (`extproc.server.compiled`), so it
may be killed at any time, and the next one goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Final

from starlette.types import ASGIApp

from extproc.admin.api import make_app as make_admin
from extproc.config.file_names import XDS_FOLDER
from extproc.config.known_secrets import secrets_in
from extproc.server import compiled, conditions, health
from extproc.server.conditions import Condition
from extproc.server.control_http import HttpServer, listening, make_app
from extproc.server.control_metrics import age_of, destination_of, watch_control
from extproc.server.health_view import health_router
from extproc.server.identities import Identities
from extproc.server.intake import Intake
from extproc.server.keys import write_private
from extproc.server.options import CannotStart, Options
from extproc.server.purses import budgets_router
from extproc.server.registry import Registry, open_database
from extproc.server.retention import Retention
from extproc.server.rollout import Envoy, Rollout
from extproc.server.routing_view import routing_router
from extproc.server.serving import ENVOYS_PART, Serving
from extproc.server.watchman import Watchman
from extproc.telemetry import logs
from extproc.telemetry.deployments import (
    Deployment,
    DeploymentCollector,
    configured,
    models,
)
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.push import Push
from extproc.telemetry.token_metrics import TokenMetrics

log = logging.getLogger(__name__)

WATCH_SECONDS: Final = 0.2
"""Between looks at the files: a saved file is served within a second, keys included."""
APPLIED_SECONDS: Final = 10.0
"""How long clusters that are gone wait for workers that do not answer."""


class Control:
    """One control process.

    Attributes:
        serving: the configuration.
        rollout: what Envoy reads.
        intake: where the workers' records go.
        link: the workers.
        metrics: what Prometheus is told.
    """

    def __init__(
        self,
        options: Options,
        *,
        envoy: Envoy,
        environ: Mapping[str, str],
        monotonic: Callable[[], float],
        wall_clock: Callable[[], float],
        jitter: Callable[[], float] = lambda: 0.5,
    ) -> None:
        self._options = options
        self._envoy = envoy
        self._wall_clock = wall_clock
        self._monotonic = monotonic
        self._published = monotonic()
        self._secrets = tuple(logs.secrets_of(environ))
        self.rollout = Rollout(options.state / XDS_FOLDER, envoy, clock=monotonic)
        self.metrics = Metrics()
        prometheus = self.metrics.registry.prometheus
        prometheus.register(DeploymentCollector(self._deployments))
        self._registry = Registry(open_database(options.state, environ), options.state)
        self.intake = Intake(
            state=options.state,
            run=options.run,
            metrics=self.metrics,
            books=self._registry.books,
            wall_clock=wall_clock,
            monotonic=monotonic,
            stats=envoy.stats,
        )
        self.link = self.intake.link
        writing = asyncio.Lock()
        tokens = TokenMetrics(prometheus)
        self._identities = Identities(
            self.rollout,
            environ=environ,
            monotonic=monotonic,
            wall_clock=wall_clock,
            jitter=jitter,
            lock=writing,
            failed=tokens.failed,
        )
        tokens.watch(self._identities.keeper.seconds_left)
        self.serving = Serving(
            options,
            rollout=self.rollout,
            registry=self._registry,
            identities=self._identities,
            environ=environ,
            wall_clock=wall_clock,
            lock=writing,
        )
        self._watchman = Watchman(
            self.intake.webhooks.tell, clock=wall_clock, book=self.intake.book
        )
        self._push = Push(self.metrics.registry, wall_clock=wall_clock)
        watch_control(
            self.metrics.registry,
            intake=self.intake,
            database=self._registry,
            snapshot=lambda: self.serving.snapshot,
            wall_clock=wall_clock,
        )

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the last change is not in use; empty when it is."""
        return self.serving.problems

    @property
    def restart_needed(self) -> tuple[str, ...]:
        """What takes effect only when the gateway is started again."""
        return self.serving.restart_needed

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`.

        Raises:
            CannotStart: the first configuration is wrong, and nothing serves yet.
            OSError: an address or a folder cannot be used.
        """
        try:
            await self._run(stop)
        finally:
            await self._identities.close()
            self._registry.database.close()

    async def _run(self, stop: asyncio.Event) -> None:
        seen = self.serving.fingerprint()
        await self._registry.open()
        await self.reload()
        running = self.serving.running
        if running is None or (self.problems and not self._options.resume):
            raise CannotStart(self.problems)
        self._report()
        with self._listening(running.control) as sock:
            async with asyncio.TaskGroup() as tasks:
                http = HttpServer(
                    make_app(
                        self.metrics.render,
                        self.ready,
                        self._admin(),
                    )
                )
                tasks.create_task(http.run(sock))
                serving = [
                    tasks.create_task(self.link.run()),
                    tasks.create_task(self.intake.envoy_log.run()),
                    tasks.create_task(self.intake.webhooks.run()),
                    tasks.create_task(self.intake.book.run()),
                    tasks.create_task(self._watchman.run(self._wrong)),
                    tasks.create_task(self.intake.traces.run()),
                    tasks.create_task(self._push.run()),
                    tasks.create_task(self._watch(seen)),
                    tasks.create_task(self._warn()),
                    tasks.create_task(
                        self._registry.run(self._entries_changed, self._retention())
                    ),
                    tasks.create_task(self._identities.keeper.run()),
                ]
                await stop.wait()
                http.stop()
                for task in serving:
                    task.cancel()

    async def reload(self) -> None:
        """Bring the configuration as it is now to everybody; `problems` says if not."""
        await self.serving.reload()
        self.metrics.reload_successful.set(not self.problems)
        self._publish()

    async def _entries_changed(self) -> None:
        await self.serving.take_entries()
        self._publish()
        # Not before: who is revoked does not wait for a disk.
        await self.serving.save()

    def _publish(self) -> None:
        snapshot = self.serving.snapshot
        if snapshot is not None:
            serving = self.serving
            self.intake.configure(snapshot, serving.runtime, serving.config)
            if serving.config is not None:
                known = [*secrets_in(serving.config), *self._secrets]
                logs.apply(snapshot.logs, secrets=known)
                self._push.configure(destination_of(serving.config.telemetry.otlp))
            if self.link.publish(snapshot):
                self._published = self._monotonic()

    def _admin(self) -> ASGIApp:
        admin = self._registry.admin(
            config=lambda: self.serving.config,
            runtime=lambda: self.serving.runtime,
            clock=self._wall_clock,
        )
        live = routing_router(
            admin, lambda: self.serving.snapshot, lambda: self.link.peers
        )
        purses = budgets_router(
            admin,
            lambda: self.serving.snapshot,
            lambda: self.intake.ledger.balances,
            lambda: self.link.peers,
        )
        return make_admin(admin, [live, purses, health_router(admin, self.health)])

    def _retention(self) -> Retention:
        def days() -> float | None:
            config = self.serving.config
            return None if config is None else config.accounting.usage_days

        return Retention(self._registry.database, days=days, clock=self._wall_clock)

    def _deployments(self) -> list[Deployment]:
        if self.serving.snapshot is None:
            return []
        live = [(peer.live.deployments, peer.live.benches) for peer in self.link.peers]
        return configured(self.serving.snapshot, live)

    async def health(self) -> dict[str, object]:
        """Return what the gateway stands on, and how that does."""
        ready, known = await self.ready()
        return {
            "live": True,
            **known,
            "ready": ready,
            "store": health.stores(self.link.peers),
            "sinks": {**self.intake.traces.state(), **self._push.state()},
            "providers": {"unwell": health.unwell(self._deployments())},
            "key_snapshot_age_seconds": age_of(self._registry.looked_at),
        }

    async def _wrong(self) -> list[Condition]:
        """Return what people should know; nothing before there is a configuration."""
        config, snapshot = self.serving.config, self.serving.snapshot
        if config is None or snapshot is None:
            return []
        alerts = config.telemetry.alerts
        self._watchman.repeat = alerts.repeat
        errors = self.intake.errors.conditions(alerts.error_rate, alerts.least_requests)
        return [
            *conditions.of_health(await self.health(), workers=config.workers),
            *conditions.of_deployments(self._deployments(), models(snapshot)),
            *errors,
        ]

    async def ready(self) -> tuple[bool, dict[str, object]]:
        """Return whether a request would be served, and what there is to know."""
        envoy = await self._envoy_ready()
        generation = self.serving.snapshot.generation if self.serving.snapshot else None
        peers, now = self.link.peers, asyncio.get_running_loop().time()
        age = self._monotonic() - self._published
        serving = health.serves(peers, now=now, generation=generation, age=age)
        # What others say of their problems may name their secrets, and anybody may ask.
        return envoy and serving, logs.redactor().fields(
            {
                "ready": envoy and serving,
                "envoy": {"ready": envoy, "clusters": sorted(self.rollout.clusters)},
                "workers": health.workers(peers, now),
                "database": {
                    "problem": self._registry.problem,
                    "version": self._registry.entries.version,
                    "waiting_bytes": self._registry.books.waiting,
                    "lost_records": self._registry.books.lost,
                },
                "tokens": self._identities.keeper.report(),
                "config": {
                    "generation": generation,
                    "age_seconds": round(age, 1),
                    "last_reload_successful": not self.problems,
                    "problems": list(self.problems),
                    "restart_needed": list(self.restart_needed),
                },
            }
        )

    def _listening(self, address: str) -> socket.socket:
        """Return the operators' socket, and leave its address for `extproc run`.

        Port 0 means a free one at the first start, and the same one after a restart.
        """
        file = self._options.state / compiled.ADDRESS_FILE
        if address.endswith(":0") and self._options.resume:
            with contextlib.suppress(OSError, ValueError):
                return listening(file.read_text())
        sock = listening(address)
        host = address.rpartition(":")[0]
        write_private(file, f"{host}:{sock.getsockname()[1]}".encode())
        return sock

    async def _envoy_ready(self) -> bool:
        try:
            return (
                await self._envoy.ready()
                and self.rollout.clusters <= await self._envoy.clusters()
            )
        except OSError:
            return False

    async def _watch(self, seen: object) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now = self.serving.fingerprint()
            if now != seen:
                # An editor may truncate first and write then: wait until it is done.
                while now != (seen := now):
                    await asyncio.sleep(WATCH_SECONDS / 4)
                    now = self.serving.fingerprint()
                seen = now
                await self.reload()
                self._report()
            elif self.rollout.taken():
                await self.reload()
                self._report()
            await self._prune()

    async def _prune(self) -> None:
        if not self.rollout.has_retired or self.serving.snapshot is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(APPLIED_SECONDS):
                await self.link.applied(self.serving.snapshot.generation)
        if gone := self.rollout.prune():
            log.info("removed %s", ", ".join(gone))

    async def _warn(self) -> None:
        """Say, once a worker serves, what this machine is too small for."""
        files, config = self._options.files, self.serving.config
        if files is None or config is None or self.serving.snapshot is None:
            return
        shortage = config.limits.shortage(files)
        if shortage is not None:
            await self.link.served()
            log.warning("%s", shortage)

    def _report(self) -> None:
        if self.problems:
            for problem in self.problems:
                log.warning("%s", problem)
            log.warning("nothing changed: the configuration before it serves on")
        elif self.serving.snapshot is not None:
            log.info("serving generation %d", self.serving.snapshot.generation)
        for what in self.restart_needed:
            again = "Envoy (SIGUSR2)" if what == ENVOYS_PART else "the gateway"
            log.warning("%s takes effect when %s is started again", what, again)
