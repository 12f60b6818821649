"""The edge on gRPC's own server: TCP, TLS, mTLS and unix sockets.

For meshes that call a shared ext_proc service over the network, and as the reference
that the lean edge is held against. Messages stay bytes on both sides: the codec reads
them, whichever edge carries them.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
from grpc import aio

from extproc.server.call import Call
from extproc.server.lean import HEALTH_CHECK, NOT_SERVING, SERVING, SWEEP
from extproc.server.lean_connection import PROCESS
from extproc.server.upkeep import kept

_UNLIMITED = -1
"""gRPC's default of 4 MiB is below the bodies that we take; the exchange has limits."""

_OPTIONS = [
    ("grpc.max_receive_message_length", _UNLIMITED),
    ("grpc.max_send_message_length", _UNLIMITED),
    # Envoy pings every half second, also while no stream is open.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 100),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.so_reuseport", 0),
]


PARTING_SECONDS = 0.05
"""That one which expires may take to say so, before the next is looked at."""


@dataclasses.dataclass(frozen=True, slots=True)
class Tls:
    """PEM files; with `client_ca` a client must show a certificate that it signed."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def credentials(self) -> grpc.ServerCredentials:
        """Read the files.

        Raises:
            OSError: one of them cannot be read.
        """
        authority = self.client_ca.read_bytes() if self.client_ca else None
        return grpc.ssl_server_credentials(
            [(self.key.read_bytes(), self.certificate.read_bytes())],
            root_certificates=authority,
            require_client_auth=authority is not None,
        )


class GrpcServer:
    """Serves ext_proc and unary methods over grpc.aio."""

    def __init__(
        self,
        new_call: Callable[[], Call],
        *,
        health: Callable[[], bool] = lambda: True,
    ) -> None:
        """Build; `health` says whether a health check is told SERVING."""
        self._new_call = new_call
        self._health = health
        self._reading: dict[Call, asyncio.Timeout] = {}
        """The calls that wait for more to come."""
        self._parted = asyncio.Event()
        """One that had expired has said so."""
        self._sweeper: asyncio.Task[None] | None = None
        self._server = aio.server(options=_OPTIONS)
        methods = {
            PROCESS: grpc.stream_stream_rpc_method_handler(self._process),
            HEALTH_CHECK: grpc.unary_unary_rpc_method_handler(self._check_health),
        }
        self._server.add_generic_rpc_handlers((_Methods(methods),))

    async def start(self, address: str, tls: Tls | None = None) -> int:
        """Listen on ``unix:/path`` or ``host:port``; return the port, 0 for a socket.

        Raises:
            OSError: the address is taken, or a certificate cannot be read.
        """
        try:
            if tls is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, tls.credentials())
        except RuntimeError as exc:
            raise OSError(f"cannot listen on {address}: {exc}") from exc
        await self._server.start()
        self._sweeper = asyncio.get_running_loop().create_task(
            kept("sweep", self._sweep)
        )
        return 0 if address.startswith("unix:") else port

    async def drain(self, grace: float) -> None:
        """Refuse new calls, finish those open, and stop after `grace` seconds at most."""
        await self._server.stop(grace)
        if self._sweeper is not None:
            self._sweeper.cancel()

    async def _sweep(self) -> None:
        """End the wait of the calls whose deadline has passed, one after the other.

        As the lean edge does: a call's deadline changes while it waits, when others come
        who need the room that it has, and again when one that expires leaves its own.
        """
        while True:
            await asyncio.sleep(SWEEP)
            now, waits = time.monotonic(), True
            for call, reading in list(self._reading.items()):
                there = self._reading.get(call) is reading and not reading.expired()
                if not there or call.deadline > now:
                    continue
                self._parted.clear()
                reading.reschedule(asyncio.get_running_loop().time())
                if waits:
                    # An Envoy that takes nothing keeps the others' calls for one wait.
                    waits = await self._has_parted()

    async def _has_parted(self) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PARTING_SECONDS):
                return await self._parted.wait()
        return False

    async def _check_health(self, _: bytes, __: object) -> bytes:
        return SERVING if self._health() else NOT_SERVING

    async def _process(self, _: object, context: aio.ServicerContext[Any, Any]) -> None:
        call = self._new_call()
        now = time.monotonic  # uvloop counts milliseconds only
        clean = False
        try:
            while not call.finished:
                expired = False
                try:
                    message = await self._next(call, context)
                except TimeoutError:
                    expired = True
                    answers = call.expire(now())
                else:
                    if not isinstance(message, bytes):
                        clean = True
                        break
                    answers = call.receive(message, now())
                while call.work is not None:
                    worked = await call.begin(asyncio.get_running_loop())
                    answers = [*answers, *call.resume(worked, now())]
                for answer in answers:
                    await context.write(answer)
                if call.parting:
                    call.part()
                if expired:
                    self._parted.set()
            else:
                clean = True
        finally:
            call.close(now(), clean=clean)
            call.part()

    async def _next(self, call: Call, context: aio.ServicerContext[Any, Any]) -> object:
        """Return the next message, bytes, or `aio.EOF`.

        Raises:
            TimeoutError: the call's deadline has passed.
        """
        async with asyncio.timeout(None) as wait:
            self._reading[call] = wait
            try:
                if (turn := call.turn) is not None:
                    await turn
                return await context.read()
            finally:
                del self._reading[call]


class _Methods(grpc.GenericRpcHandler):  # type: ignore[misc,unused-ignore]
    """The methods by their names; without serializers, so that messages stay bytes."""

    def __init__(self, table: Mapping[str, grpc.RpcMethodHandler]) -> None:
        self._table = table

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler | None:
        return self._table.get(handler_call_details.method)
