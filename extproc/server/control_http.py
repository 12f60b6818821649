"""What operators ask control over HTTP: metrics and health.

GET /metrics        Prometheus' text format
GET /health/live    200 while the process answers; also /healthz, /livez
GET /health/ready   also /readyz: 200 when a request would be served, else 503; why, as JSON
/admin/v1, /admin/docs   see `extproc.admin.api`
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from extproc.config.endpoint import split_address

Ready = Callable[[], Awaitable[tuple[bool, dict[str, object]]]]


def make_app(
    render_metrics: Callable[[], bytes], ready: Ready, admin: ASGIApp
) -> Starlette:
    """Return the application."""

    async def metrics(request: Request) -> Response:  # noqa: ARG001
        return Response(
            render_metrics(), media_type="text/plain; version=0.0.4; charset=utf-8"
        )

    async def live(request: Request) -> Response:  # noqa: ARG001
        return _json(200, {"live": True})

    async def is_ready(request: Request) -> Response:  # noqa: ARG001
        yes, detail = await ready()
        return _json(200 if yes else 503, detail)

    return Starlette(
        routes=[
            Route("/metrics", metrics),
            Route("/health/live", live),
            Route("/health/ready", is_ready),
            # Kubernetes' habit.
            Route("/healthz", live),
            Route("/livez", live),
            Route("/readyz", is_ready),
            Mount("/", admin),
        ]
    )


def listening(address: str) -> socket.socket:
    """Return a listening socket.

    Raises:
        OSError: the address is taken or is not this machine's.
    """
    host, port = split_address(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen()
    except BaseException:
        sock.close()
        raise
    return sock


class HttpServer:
    """uvicorn, on a socket that is bound already and without its signal handlers."""

    def __init__(self, app: Starlette) -> None:
        self._server = _Server(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )

    async def run(self, sock: socket.socket) -> None:
        """Serve until `stop`."""
        await self._server.serve(sockets=[sock])

    def stop(self) -> None:
        """Answer what is being asked, and end."""
        self._server.should_exit = True


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # Signals are the process', which has more to end than this server.
        yield


def _json(status: int, content: dict[str, object]) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
