"""The control process: watches the configuration, and brings what it says to everybody.

    gateway.yaml or the environment ─▶ Envoy's files (`Rollout`) ─▶ snapshot ─▶ workers
    workers ─▶ completion records ─▶ metrics

No request needs it. What it must not forget is on disk (`extproc.server.compiled`), so it
may be killed at any time, and the next one goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import certifi
import msgspec
from starlette.types import ASGIApp

from extproc.admin.api import make_app as make_admin
from extproc.admin.entries import with_entries
from extproc.config.build import build
from extproc.config.compile import Layout, compile_envoy
from extproc.config.endpoint import split_address
from extproc.config.load import (
    NEEDS_STORE,
    ConfigError,
    Problem,
    autoconfig,
    load,
    needs_store,
)
from extproc.config.schema import Config
from extproc.exchange.completion import Completion
from extproc.runtime import Runtime, Snapshot
from extproc.server import compiled
from extproc.server.alerts import Alerts
from extproc.server.compiled import Compiled, Overrides
from extproc.server.control_http import HttpServer, listening, make_app
from extproc.server.identities import Identities
from extproc.server.keys import KEYS_FILE, read_grants, write_private
from extproc.server.ledger import LEDGER_FILE, Ledger
from extproc.server.link import ControlLink
from extproc.server.registry import Registry, open_database
from extproc.server.rollout import Envoy, Rollout, RolloutFailed
from extproc.server.routing_view import routing_router
from extproc.telemetry.deployments import Deployment, DeploymentCollector, configured
from extproc.telemetry.metrics import Metrics
from extproc.telemetry.token_metrics import TokenMetrics

log = logging.getLogger(__name__)

WATCH_SECONDS: Final = 0.2
"""Between looks at the files: a saved file is served within a second, keys included."""
APPLIED_SECONDS: Final = 10.0
"""How long clusters that are gone wait for workers that do not answer."""
NO_OVERRIDES: Final = Overrides()


class CannotStart(Exception):
    """There is no configuration to serve; `problems` has every reason."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where things are, and what the command line says."""

    state: Path
    """The folder of what outlives the process."""
    run: Path
    """The folder of the sockets, whose path is short."""
    config: Path | None = None
    """``gateway.yaml``; None configures what the environment has keys for."""
    overrides: Overrides = NO_OVERRIDES
    mock_url: str | None = None
    """Where the mock providers are; they serve when the environment has no key."""
    concurrency: int = 2
    """Envoy's worker threads."""
    ca_bundle: Path | None = None
    """The public certificate authorities, where Envoy finds them; None: certifi's."""
    resume: bool = False
    """Whether what is on disk serves already, so that a bad file changes nothing."""


class Control:
    """One control process.

    Attributes:
        problems: why the last change is not in use; empty when it is.
        restart_needed: what takes effect only when the gateway is started again.
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
        self.problems: tuple[str, ...] = ()
        self.restart_needed: tuple[str, ...] = ()
        self._options = options
        self._envoy = envoy
        self._environ = environ
        self._wall_clock = wall_clock
        self._running = compiled.read_compiled(options.state)
        self._snapshot = _read_snapshot(options.state / compiled.SNAPSHOT_FILE)
        self.rollout = Rollout(
            options.state / compiled.XDS_FOLDER, envoy, clock=monotonic
        )
        self.metrics = Metrics(
            workers_connected=lambda: len(self.link.peers),
            records_lost=lambda: self.link.lost,
        )
        self.ledger = Ledger(options.state / LEDGER_FILE, clock=wall_clock)
        self.alerts = Alerts()
        self._webhook: str | None = None
        self.link = ControlLink(
            options.run / "control.sock",
            self._record,
            balances=lambda: self.ledger.balances,
        )
        self.metrics.registry.register(DeploymentCollector(self._deployments))
        self._config: Config | None = None
        self._runtime = Runtime.of(self._snapshot) if self._snapshot else None
        self._registry = Registry(open_database(options.state, environ), options.state)
        self._applying = asyncio.Lock()
        tokens = TokenMetrics(self.metrics.registry)
        self._identities = Identities(
            self.rollout,
            environ=environ,
            monotonic=monotonic,
            wall_clock=wall_clock,
            jitter=jitter,
            lock=self._applying,
            failed=tokens.failed,
        )
        tokens.watch(self._identities.keeper.seconds_left)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`.

        Raises:
            CannotStart: the first configuration is wrong, and nothing serves yet.
            OSError: an address or a folder cannot be used.
        """
        seen = self._fingerprint()
        await self._registry.open()
        await self.reload()
        running = self._running
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
                    tasks.create_task(self.alerts.run()),
                    tasks.create_task(self._watch(seen)),
                    tasks.create_task(self._registry.run(self._entries_changed)),
                    tasks.create_task(self._identities.keeper.run()),
                ]
                await stop.wait()
                http.stop()
                for task in serving:
                    task.cancel()
        await self._identities.close()
        self._registry.database.close()

    async def reload(self) -> None:
        """Bring the configuration as it is now to everybody; `problems` says if not."""
        try:
            async with self._applying:
                await self._apply(*self._load())
        except ConfigError as error:
            self.problems = tuple(map(str, error.problems))
        except (RolloutFailed, OSError) as error:
            self.problems = (str(error),)
        else:
            self.problems = ()
        self.metrics.reload_successful.set(not self.problems)
        self._publish()

    async def _entries_changed(self) -> None:
        """Serve what the database has now: Envoy has no part in it."""
        async with self._applying:
            if self._config is not None:
                self._take(self._next(self._config))
        self._publish()

    def _record(self, completions: Sequence[Completion]) -> None:
        """Keep the workers' records: in the metrics, the ledger and the books."""
        self.metrics.record(completions)
        self._registry.books.note(completions)
        try:
            self.ledger.charge(completions)
        except OSError as error:
            log.error("the ledger cannot be written: %s", error.strerror)  # noqa: TRY400
        charged = {meter for one in completions for meter, _ in one.budgets}
        self.alerts.look(charged, self.ledger.balances)

    def _publish(self) -> None:
        if self._snapshot is not None:
            self.metrics.configure(self._snapshot)
            self.alerts.configure(self._snapshot, self._webhook, self.ledger.balances)
            self.link.publish(self._snapshot)

    def _take(self, snapshot: Snapshot) -> None:
        """Serve `snapshot` from now on, also after a restart."""
        if snapshot != self._snapshot:
            content = msgspec.msgpack.encode(snapshot)
            write_private(self._options.state / compiled.SNAPSHOT_FILE, content)
            self._snapshot, self._runtime = snapshot, Runtime.of(snapshot)

    def _admin(self) -> ASGIApp:
        admin = self._registry.admin(
            config=lambda: self._config,
            runtime=lambda: self._runtime,
            clock=self._wall_clock,
        )
        live = routing_router(admin, lambda: self._snapshot, lambda: self.link.peers)
        return make_admin(admin, [live])

    def _deployments(self) -> list[Deployment]:
        if self._snapshot is None:
            return []
        live = [(peer.live.deployments, peer.live.benches) for peer in self.link.peers]
        return configured(self._snapshot, live)

    async def ready(self) -> tuple[bool, dict[str, object]]:
        """Return whether a request would be served, and what there is to know."""
        envoy = await self._envoy_ready()
        generation = self._snapshot.generation if self._snapshot else None
        peers = self.link.peers
        serving = any(peer.generation == generation for peer in peers)
        return envoy and serving, {
            "ready": envoy and serving,
            "envoy": {"ready": envoy, "clusters": sorted(self.rollout.clusters)},
            "workers": [
                {
                    "name": peer.name,
                    "pid": peer.pid,
                    "generation": peer.generation,
                    "refused": peer.refused,
                }
                for peer in peers
            ],
            "database": {
                "problem": self._registry.problem,
                "version": self._registry.entries.version,
                "waiting_bytes": self._registry.books.waiting,
                "lost_records": self._registry.books.lost,
            },
            "tokens": self._identities.keeper.report(),
            "config": {
                "generation": generation,
                "last_reload_successful": not self.problems,
                "problems": list(self.problems),
                "restart_needed": list(self.restart_needed),
            },
        }

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
            now = self._fingerprint()
            if now != seen:
                # An editor may truncate first and write then: wait until it is done.
                while now != (seen := now):
                    await asyncio.sleep(WATCH_SECONDS / 4)
                    now = self._fingerprint()
                seen = now
                await self.reload()
                self._report()
            await self._prune()

    async def _prune(self) -> None:
        if not self.rollout.has_retired or self._snapshot is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(APPLIED_SECONDS):
                await self.link.applied(self._snapshot.generation)
        if gone := self.rollout.prune():
            log.info("removed %s", ", ".join(gone))

    def _report(self) -> None:
        if self.problems:
            for problem in self.problems:
                log.warning("%s", problem)
            log.warning("nothing changed: the configuration before it serves on")
        elif self._snapshot is not None:
            log.info("serving generation %d", self._snapshot.generation)
        for what in self.restart_needed:
            log.warning("%s takes effect when the gateway is started again", what)

    def _load(self) -> tuple[str, Config]:
        options = self._options
        try:
            digest = compiled.digest(
                state=options.state,
                run=options.run,
                config=options.config,
                overrides=options.overrides,
                mock_url=options.mock_url,
                concurrency=options.concurrency,
                environ=self._environ,
            )
        except OSError:
            digest = ""  # `load` says it better
        if options.config is None:
            config = autoconfig(self._environ, mock_url=options.mock_url)
        else:
            config = load(options.config, self._environ)
        config = overridden(config, options.overrides)
        if needs_store(config):
            raise ConfigError([Problem("command line", None, "--workers", NEEDS_STORE)])
        return digest, config

    async def _apply(self, digest: str, config: Config) -> None:
        options, old = self._options, self._running
        # The number of workers is the number of sockets in the bootstrap.
        workers = old.workers if options.resume and old else config.workers
        layout = Layout(
            xds=options.state / compiled.XDS_FOLDER,
            admin=options.run / "admin.sock",
            workers=tuple(options.run / f"w{i}.sock" for i in range(workers)),
            ca_bundle=options.ca_bundle or Path(certifi.where()),
            concurrency=options.concurrency,
        )
        tokens = await self._identities.tokens(config)
        try:
            await self.rollout.advance(compile_envoy(config, layout, tokens))
        except BaseException:
            await self._identities.settle(config, served=False)
            raise
        await self._identities.settle(config, served=True)
        webhook = config.accounting.webhook
        self._webhook = webhook.get_secret_value() if webhook is not None else None
        snapshot = self._next(config)
        self._config = config
        self._take(snapshot)
        self.restart_needed = self._waiting_for_restart(config)
        summary = summarize(config, options.mock_url)
        new = msgspec.structs.replace(
            summary,
            digest="" if self.restart_needed else digest,
            generation=snapshot.generation,
            workers=workers,
        )
        if self.restart_needed and old is not None:
            new = msgspec.structs.replace(new, listen=old.listen, control=old.control)
        if new != old:
            compiled.write_compiled(options.state, new)
            self._running = new

    def _next(self, config: Config) -> Snapshot:
        """Build the snapshot; the one that serves, when nothing in it changed."""
        old, grants = self._snapshot, read_grants(self._options.state, self._environ)
        config = with_entries(config, self._registry.entries, now=self._wall_clock())
        if old is not None:
            same = build(
                config, grants=grants, generation=old.generation, created=old.created
            )
            if same == old:
                return old
        return build(
            config,
            grants=grants,
            generation=1 if old is None else old.generation + 1,
            created=int(self._wall_clock()),
        )

    def _waiting_for_restart(self, config: Config) -> tuple[str, ...]:
        out = []
        if self.rollout.restart_needed:
            out.append("the change of listen, limits or timeouts")
        old = self._running
        if self._options.resume and old is not None:
            if old.control != config.control.address:
                out.append("the change of control.address")
            if old.workers != config.workers:
                out.append("the change of workers")
        return tuple(out)

    def _fingerprint(self) -> object:
        paths = [self._options.state / KEYS_FILE]
        if self._options.config is not None:
            paths.append(self._options.config)
        return [_stamp(path) for path in paths]


def overridden(config: Config, overrides: Overrides) -> Config:
    """Return `config` with what the command line says instead.

    Raises:
        ValueError: an address is none.
    """
    update: dict[str, object] = {}
    for name in ("listen", "control"):
        address = getattr(overrides, name)
        if address is not None:
            split_address(address)
            section = getattr(config, name)
            update[name] = section.model_copy(update={"address": address})
    if overrides.workers is not None:
        update["workers"] = overrides.workers
    return config.model_copy(update=update)


def summarize(config: Config, mock_url: str | None) -> Compiled:
    """Return what is worth knowing of `config` without reading it again."""
    mocked = mock_url is not None and any(
        (provider.base_url or "").startswith(mock_url)
        for provider in config.providers.values()
    )
    return Compiled(
        digest="",
        generation=0,
        listen=config.listen.address,
        control=config.control.address,
        workers=config.workers,
        drain_seconds=config.timeouts.drain,
        tls=config.listen.tls is not None,
        providers=tuple(config.providers),
        models=_example_models(config),
        mock_url=mock_url if mocked else None,
    )


def _example_models(config: Config) -> tuple[str, ...]:
    """Return names to try: those of each provider in turn, so that each is among them."""
    by_provider: dict[str, list[str]] = {}
    for name, model in config.models.items():
        names = model.listed or (() if "*" in name else (name,))
        by_provider.setdefault(model.targets[0].provider, []).extend(names)
    columns = list(by_provider.values())
    longest = max(map(len, columns), default=0)
    return tuple(
        names[i] for i in range(longest) for names in columns if i < len(names)
    )


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _read_snapshot(path: Path) -> Snapshot | None:
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Snapshot)
    except (OSError, msgspec.MsgspecError):
        return None
