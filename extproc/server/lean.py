"""The lean edge: ext_proc on a unix socket, in one `asyncio.Protocol` a connection.

Each feeds `h2.connection.ServerConnection` and does what its events ask for
(`lean_connection`). One timer a server looks after every deadline.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from extproc.server import socket_file
from extproc.server.h2.limits import Limits
from extproc.server.lean_connection import LeanConnection
from extproc.server.turns import Turns

if TYPE_CHECKING:
    from extproc.server.call import Call

HEALTH_CHECK = "/grpc.health.v1.Health/Check"
"""``Health/Watch`` is not served: a client that gets UNIMPLEMENTED asks `Check` instead
(https://github.com/grpc/grpc/blob/master/doc/health-checking.md)."""

SERVING = b"\x08\x01"
NOT_SERVING = b"\x08\x02"
"""``HealthCheckResponse{status}``, serialized."""

SWEEP = 0.5
"""Seconds between two looks at all deadlines: fine enough for timeouts of seconds, and
the period of the rates in `Limits`."""

LINGER = 1.0
"""Seconds that a peer has at the end to read what we still had to say."""

BACKLOG = 1024
"""Connections that wait for `accept`; Envoy opens one for each of its threads."""

log = logging.getLogger(__name__)


class LeanServer:
    """Serve ext_proc calls, and unary methods by a table, on one unix socket."""

    def __init__(
        self,
        *,
        health: Callable[[], bool] = lambda: True,
        unary: Mapping[str, Callable[[bytes], bytes]] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._health = health
        self.unary: Mapping[str, Callable[[bytes], bytes]] = {
            HEALTH_CHECK: self._check_health,
            **(unary or {}),
        }
        """Serialized request in, serialized response out, by path."""
        self.limits = limits or Limits()
        self.connections: dict[int, LeanConnection] = {}
        """The open ones, by number."""
        self.turns = Turns()
        self._accepted = 0
        self._frames = 0  # of connections that are gone
        self._draining = False
        self._server: asyncio.Server | None = None
        self._bound: socket_file.Bound | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def frames(self) -> int:
        """How many frames came on all connections."""
        return self._frames + sum(
            connection.frames for connection in self.connections.values()
        )

    async def start(
        self, path: str, new_call: Callable[[], Call] | None = None
    ) -> None:
        """Listen on the socket file `path`, which only our own user may use.

        Without `new_call` there are only the unary methods.

        Raises:
            OSError: the path cannot be bound, or is a file that is no socket.
        """
        loop = asyncio.get_running_loop()

        def accept() -> LeanConnection:
            self._accepted += 1
            return LeanConnection(self, self._accepted, loop, new_call)

        listener, self._bound = socket_file.bind(Path(path))
        # Not yet serving: that takes a turn of the loop, in which a cancellation would
        # lose the socket.
        self._server = await loop.create_unix_server(
            accept, sock=listener, backlog=BACKLOG, start_serving=False
        )
        await self._server.start_serving()
        self._sweeper = loop.call_later(SWEEP, self._sweep)

    async def drain(self, grace: float) -> None:
        """Accept nothing new; let open calls end, for `grace` seconds at most."""
        self._draining = True
        self._stop_listening()
        for connection in tuple(self.connections.values()):
            connection.shutdown()
        try:
            await asyncio.wait_for(self._empty.wait(), grace)
        except TimeoutError:
            log.warning(
                "%d connections were still open after the grace", len(self.connections)
            )

    async def stop(self) -> None:
        """Close everything that is still open."""
        self._draining = True
        self._stop_listening()
        for connection in tuple(self.connections.values()):
            connection.abandon()
        try:
            await asyncio.wait_for(self._empty.wait(), LINGER)
        except TimeoutError:
            for connection in tuple(self.connections.values()):
                connection.abort()
            await self._empty.wait()
        if self._sweeper is not None:
            self._sweeper.cancel()

    def joined(self, number: int, connection: LeanConnection) -> None:
        """Note a connection that has opened."""
        self.connections[number] = connection
        self._empty.clear()
        if self._draining:
            # It was in the backlog when we stopped listening.
            connection.shutdown()

    def left(self, number: int) -> None:
        """Note a connection that is closed."""
        gone = self.connections.pop(number, None)
        self._frames += 0 if gone is None else gone.frames
        if not self.connections:
            self._empty.set()

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._bound is not None:
            socket_file.unbind(self._bound)
            self._bound = None

    def _sweep(self) -> None:
        now = time.monotonic()  # as the connections read it
        for connection in tuple(self.connections.values()):
            connection.sweep(now)
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP, self._sweep)

    def _check_health(self, _request: bytes) -> bytes:
        return SERVING if self._health() and not self._draining else NOT_SERVING
