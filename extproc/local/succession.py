"""One Envoy takes the place of another, and no request fails: Envoy's hot restart.

The successor is given the listening sockets of the one before it, which from then on
accepts nothing, tells its clients to go, and ends when `timeouts.drain` is over
(https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/operations/hot_restart).
So a new bootstrap is served, or a new binary, without a gap. Both are children of the
supervisor, and die with it.

So that a successor does not fail as it starts, Envoy is asked before whether it accepts the
bootstrap, and the addresses are tried. One that fails all the same may have taken the admin
interface away from the one before it, and leaves a mark in the memory that the two share,
which lets no other follow. Then one is started that follows nobody; it listens at the same
addresses (``SO_REUSEPORT``).

A successor says to the one before it that it may end, once it is time or another comes. It
tries for ten seconds, doing nothing else, and aborts where nobody is there to hear it. So
somebody always is: when one has ended, its socket is ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import httpx

from extproc.config.file_names import ADMIN_SOCKET, BOOTSTRAP_FILE, WAITING_FILE
from extproc.local import envoy
from extproc.local.child import Child, Kept, our_log
from extproc.local.clients import has_clients
from extproc.local.place import CannotRun, check_free

SHARED: Final = Path("/dev/shm")  # noqa: S108  where shm_open(3) has its names
SUCCESSOR_SECONDS: Final = 30.0
"""A successor serves after half a second; a machine that is busy takes longer."""
LEAVING_SECONDS: Final = 3.0
"""More than `timeouts.drain` until the one before is ended."""
END_SECONDS: Final = 2.0
"""For a process that is told to end."""
POLL_SECONDS: Final = 0.02
LOOK_SECONDS: Final = 0.1

STAYS: Final = "Envoy stays as it is: %s"

log = logging.getLogger(__name__)


class Succession:
    """The Envoy of one gateway, and those that come after it.

    Attributes:
        kept: the one that serves.
    """

    def __init__(
        self,
        binary: Path,
        *,
        state: Path,
        run: Path,
        xds: Path,
        concurrency: int,
        environ: Mapping[str, str],
        drain_seconds: float,
    ) -> None:
        self._binary = binary
        self._run = run
        self._xds = xds
        self._concurrency = concurrency
        self._environ = environ
        self._log = state / "envoy.log"
        self.drain_seconds = drain_seconds
        self._hot = _shared(run)
        self._shared: set[int] = set()
        """The base ids that were used."""
        self._leaving: tuple[Child, set[int]] | None = None
        """The one before, and at which ports it had its clients."""
        self._heard: socket.socket | None = None
        """Takes what is said to one that has ended."""
        self._replacing = asyncio.Lock()
        self._settled = False
        self.kept = Kept("Envoy", self._first, log=self._log)

    async def renew(self) -> None:
        """Let another Envoy take over, with the bootstrap that waits if there is one.

        Returns when the one before it has ended. If it cannot be, what is served stays
        as it is, and the log says why.
        """
        try:
            await self._renew()
        except (CannotRun, envoy.EnvoyMissing, envoy.EnvoyRefused, OSError) as error:
            log.warning(STAYS, error)

    async def drain(self) -> None:
        """Let clients go, and wait for what is open, also at one that has a successor.

        No other takes over any more.
        """
        self._settled = True
        async with self._replacing:
            pass  # who is half way has taken the admin interface, and perhaps the sockets
        try:
            async with envoy.Admin(self._run / ADMIN_SOCKET) as admin:
                await admin.drain()
                while not await admin.idle():  # noqa: ASYNC110
                    await asyncio.sleep(POLL_SECONDS)
        except httpx.HTTPError:
            # Who was to follow has taken the admin interface away, and died.
            await self._drain_unheard()
        if self._leaving is not None:
            # Its admin interface is its successor's.
            await _without_clients(*self._leaving)

    async def _drain_unheard(self) -> None:
        if self._hot is None or self.kept.child is None:
            return
        with contextlib.suppress(OSError):
            self._hot.drain()
            served = envoy.addresses(self._xds / BOOTSTRAP_FILE)
            await _without_clients(self.kept.child, _ports(served))

    def clear(self) -> None:
        """Remove what Envoy leaves behind; only when none runs."""
        for base_id in self._shared:
            (SHARED / f"envoy_shared_memory_{base_id}0").unlink(missing_ok=True)

    async def _renew(self) -> None:
        hot, old = self._hot, self.kept.child
        if hot is None:
            raise CannotRun(f"{SHARED} cannot be written to.")
        if old is None or old.code is not None:
            return  # it is being started
        async with self._replacing:
            replaced = await self._replace(old, hot)
        if replaced:
            await self._end(old)
            self._hear_for(hot)

    async def _replace(self, old: Child, hot: envoy.HotRestart) -> bool:
        """Return whether another serves now, as was asked or as before."""
        binary = envoy.find_envoy()
        waiting = self._xds / WAITING_FILE
        bootstrap = waiting if waiting.is_file() else self._xds / BOOTSTRAP_FILE
        await asyncio.to_thread(envoy.validate, self._xds, binary, bootstrap.name)
        had = envoy.addresses(self._xds / BOOTSTRAP_FILE)
        _try(envoy.addresses(bootstrap), had)
        if self._settled:
            raise CannotRun("the gateway is being stopped.")
        leaving = old, _ports(had)
        if await self._hand_over(binary, bootstrap, hot.next()):
            self._binary, self._leaving = binary, leaving
            if bootstrap == waiting:
                # Control sees by it that what waited serves.
                waiting.replace(self._xds / BOOTSTRAP_FILE)
            log.info("another Envoy serves; the one before it drains, and ends")
            return True
        if old.code is not None:
            raise CannotRun("it died before another could take its place.")
        log.warning(STAYS, f"its successor did not serve{self.kept.last_words()}")
        same = self._xds / BOOTSTRAP_FILE
        if not await self._hand_over(self._binary, same, hot.first()):
            return False
        with contextlib.suppress(OSError):
            hot.drain()  # nobody else would tell it
        self._leaving = leaving
        return True

    async def _hand_over(
        self, binary: Path, bootstrap: Path, hot: envoy.HotRestart
    ) -> bool:
        def start() -> Child:
            return self._start(binary, bootstrap, hot)

        done = await self.kept.hand_over(start, lambda: self._serves(hot))
        if done:
            self._hot = hot
        return done

    async def _end(self, old: Child) -> None:
        # Its successor ends it; but that may die before, or follow nobody.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(
                self.drain_seconds + LEAVING_SECONDS + END_SECONDS
            ):
                await old.wait()
        await old.stop(END_SECONDS)

    def _hear_for(self, gone: envoy.HotRestart) -> None:
        """Take what its successor says to one that has ended."""
        heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        new = gone.heard_at.with_suffix(".new")
        new.unlink(missing_ok=True)
        heard.bind(str(new))
        new.chmod(0o600)
        new.replace(gone.heard_at)  # there is one at any time
        if self._heard is not None:
            self._heard.close()
        self._heard = heard

    async def _serves(self, hot: envoy.HotRestart) -> bool:
        try:
            async with asyncio.timeout(SUCCESSOR_SECONDS):
                async with envoy.Admin(self._run / ADMIN_SOCKET) as admin:
                    wanted = (hot.base_id, hot.epoch)
                    while await self._there(admin) != wanted:  # noqa: ASYNC110
                        await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            return False
        return True

    async def _there(self, admin: envoy.Admin) -> tuple[int, int] | None:
        try:
            return await admin.serving()
        except httpx.HTTPError:
            return None  # one has let go of the socket, and the other not taken it yet

    def _first(self) -> Child:
        """Start one that follows nobody."""
        our_log(self._log, anew=True).close()
        if self._hot is not None:
            self._hot = self._hot.first()
        return self._start(self._binary, self._xds / BOOTSTRAP_FILE, self._hot)

    def _start(
        self, binary: Path, bootstrap: Path, hot: envoy.HotRestart | None
    ) -> Child:
        if hot is not None:
            self._shared.add(hot.base_id)
        command = envoy.arguments(
            binary,
            bootstrap,
            concurrency=self._concurrency,
            drain_seconds=self.drain_seconds,
            leaving_seconds=self.drain_seconds + LEAVING_SECONDS,
            hot=hot,
        )
        return Child(command, environ=self._environ, log=self._log)


def _shared(run: Path) -> envoy.HotRestart | None:
    """Return what two Envoys of this gateway have in common; None: they cannot."""
    if not os.access(SHARED, os.W_OK):
        return None
    # The name of a piece of memory, the same whenever this gateway starts: Envoy takes
    # what its own predecessor left there for its own.
    digest = hashlib.sha256(os.fsencode(run)).digest()
    base_id = int.from_bytes(digest[:4]) % envoy.BASE_IDS
    return envoy.HotRestart(base_id, run / "envoy.sock")


def _ports(addresses: set[str]) -> set[int]:
    return {int(one.rpartition(":")[2]) for one in addresses}


async def _without_clients(child: Child, ports: set[int]) -> None:
    """Wait until nobody has a connection to `child` at one of `ports`."""
    while child.code is None:
        if not await asyncio.to_thread(has_clients, child.pid, ports):
            break
        await asyncio.sleep(LOOK_SECONDS)


def _try(wanted: set[str], had: set[str]) -> None:
    for address in wanted - had:
        check_free(address, "listen.address")
    for address in wanted:
        if address.endswith(":0"):
            raise CannotRun("it listens on port 0, and another Envoy would on another.")
