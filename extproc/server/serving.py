"""The configuration that is served: read, brought out, and remembered for the next start.

gateway.yaml, the environment, the database ─▶ Envoy's files (`Rollout`) ─▶ snapshot
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import certifi
import msgspec

from extproc.admin.entries import Readings, with_entries
from extproc.config.build import build
from extproc.config.compile import Layout, compile_envoy
from extproc.config.load import (
    NEEDS_STORE,
    ConfigError,
    Problem,
    autoconfig,
    load,
    needs_store,
)
from extproc.config.schema import Config
from extproc.config.subjects import Granted
from extproc.runtime import Runtime, Snapshot
from extproc.server import compiled
from extproc.server.identities import Identities
from extproc.server.keys import KEYS_FILE, read_grants, write_private
from extproc.server.options import Options
from extproc.server.registry import Registry
from extproc.server.rollout import Rollout, RolloutFailed
from extproc.server.summary import overridden, summarize

ENVOYS_PART: Final = "the change of listen, limits, timeouts or traces"
"""What is in Envoy's bootstrap; another Envoy can take it over while the gateway serves."""


class Serving:
    """What serves now, and how the next configuration comes to serve.

    Attributes:
        problems: why the last change is not in use; empty when it is.
        restart_needed: what takes effect only when the gateway is started again.
        config: the one that serves; None before the first that this process read.
        snapshot: the workers' part of it.
        runtime: the same, indexed.
        running: what is known of it without reading it; None where nothing serves yet.
    """

    def __init__(
        self,
        options: Options,
        *,
        rollout: Rollout,
        registry: Registry,
        identities: Identities,
        environ: Mapping[str, str],
        wall_clock: Callable[[], float],
        lock: asyncio.Lock,
    ) -> None:
        """Serve what is on disk; `lock` is held by whoever writes Envoy's files."""
        self.problems: tuple[str, ...] = ()
        self.restart_needed: tuple[str, ...] = ()
        self.config: Config | None = None
        self.running = compiled.read_compiled(options.state)
        self.snapshot = _read_snapshot(options.state / compiled.SNAPSHOT_FILE)
        self.runtime = Runtime.of(self.snapshot) if self.snapshot else None
        self._saved = self.snapshot
        self._readings = Readings()
        self._granted = Granted()
        self._options = options
        self._rollout = rollout
        self._registry = registry
        self._identities = identities
        self._environ = environ
        self._wall_clock = wall_clock
        self._lock = lock

    async def reload(self) -> None:
        """Serve the configuration as it is now; `problems` says if not."""
        try:
            async with self._lock:
                await self._apply(*self._load())
        except ConfigError as error:
            self.problems = tuple(map(str, error.problems))
        except (RolloutFailed, OSError) as error:
            self.problems = (str(error),)
        else:
            self.problems = ()

    async def take_entries(self) -> None:
        """Serve what the database has now: Envoy has no part in it."""
        async with self._lock:
            if self.config is not None:
                self.snapshot = self._next(self.config, again=True)
                self.runtime = Runtime.of(self.snapshot)

    async def save(self) -> None:
        """Remember what serves, for the next start."""
        async with self._lock:
            if self.snapshot is not None and self.snapshot is not self._saved:
                await asyncio.to_thread(self._save, self.snapshot)

    def _save(self, snapshot: Snapshot) -> None:
        content = msgspec.msgpack.encode(snapshot)
        write_private(self._options.state / compiled.SNAPSHOT_FILE, content)
        self._saved = snapshot

    def fingerprint(self) -> object:
        """Return what differs when a file was changed."""
        paths = [self._options.state / KEYS_FILE]
        if self._options.config is not None:
            paths.append(self._options.config)
        if self.config is not None:
            issuers = self.config.jwt.values()
            paths += [one.jwks_file for one in issuers if one.jwks_file is not None]
        return [_stamp(path) for path in paths]

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
        options, old = self._options, self.running
        # The number of workers is the number of sockets in the bootstrap.
        workers = old.workers if options.resume and old else config.workers
        layout = Layout.under(
            options.state,
            run=options.run,
            ca_bundle=options.ca_bundle or Path(certifi.where()),
            workers=workers,
            concurrency=options.concurrency,
        )
        tokens = await self._identities.tokens(config)
        try:
            await self._rollout.advance(compile_envoy(config, layout, tokens))
        except BaseException:
            await self._identities.settle(config, served=False)
            raise
        await self._identities.settle(config, served=True)
        snapshot = self._next(config)
        self.config = config
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
            self.running = new

    def _next(self, config: Config, *, again: bool = False) -> Snapshot:
        """Build the snapshot; the one that serves, when nothing in it changed.

        `again` says that only entries can have changed.
        """
        old, grants = self.snapshot, read_grants(self._options.state, self._environ)
        config = with_entries(
            config,
            self._registry.entries,
            now=self._wall_clock(),
            readings=self._readings,
        )
        if old is not None:
            same = build(
                config,
                grants=grants,
                generation=old.generation,
                created=old.created,
                granted=self._granted,
            )
            if same == old:
                return old
            if again:
                return msgspec.structs.replace(same, generation=old.generation + 1)
        return build(
            config,
            grants=grants,
            generation=1 if old is None else old.generation + 1,
            created=int(self._wall_clock()),
            granted=self._granted,
        )

    def _take(self, snapshot: Snapshot) -> None:
        """Serve `snapshot` from now on, also after a restart."""
        if snapshot != self.snapshot:
            self._save(snapshot)
            self.snapshot, self.runtime = snapshot, Runtime.of(snapshot)

    def _waiting_for_restart(self, config: Config) -> tuple[str, ...]:
        out = []
        if self._rollout.restart_needed:
            out.append(ENVOYS_PART)
        old = self.running
        if self._options.resume and old is not None:
            if old.control != config.control.address:
                out.append("the change of control.address")
            if old.workers != config.workers:
                out.append("the change of workers")
        return tuple(out)


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
