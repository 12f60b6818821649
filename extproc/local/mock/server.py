"""The mock's HTTP/1.1 server: one asyncio process, every provider, by path.

HTTP is h11's; the connection is ours, because it must be able to misbehave: reset,
half-close inside a chunk, fall silent, cut its bytes anywhere.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final, Self
from urllib.parse import unquote

import msgspec

from extproc.local.mock.anthropic.api import Anthropic
from extproc.local.mock.anthropic.stored import StoredAtAnthropic
from extproc.local.mock.azure.api import Azure
from extproc.local.mock.bedrock.api import Bedrock
from extproc.local.mock.bedrock.invoke import Invoke
from extproc.local.mock.books import Books
from extproc.local.mock.cohere.api import Cohere
from extproc.local.mock.connection import Connection
from extproc.local.mock.gemini.api import Gemini
from extproc.local.mock.gemini.embeddings import Counts
from extproc.local.mock.identity.api import LIFE, Identity
from extproc.local.mock.mistral.api import Mistral
from extproc.local.mock.openai.api import OpenAI
from extproc.local.mock.openai.embeddings import Embeddings
from extproc.local.mock.openai.labs import Labs
from extproc.local.mock.openai.library import Library
from extproc.local.mock.openai.media import Media
from extproc.local.mock.openai.responses_kept import KeptResponses
from extproc.local.mock.openai.responses_memory import Shelf
from extproc.local.mock.openai.stored import Stored
from extproc.local.mock.reply import Provider, Reply, Request, Stream
from extproc.local.mock.services import Services
from extproc.local.mock.state import Memory
from extproc.local.mock.vertex.api import Vertex

DEFAULT_PACE: Final = 0.002
DEFAULT_KEYS: Final = ("sk-mock*",)
REMEMBERED: Final = 1000
"""How many requests are kept for `/_mock/requests`."""
PROVIDERS: Final = (
    "openai",
    "anthropic",
    "gemini",
    "bedrock",
    "azure",
    "vertex",
    "cohere",
    "mistral",
)
RECORDS_PATH: Final = "/_mock/requests"
ACCOUNTS_PATH: Final = "/_mock/service-accounts/"


_log = logging.getLogger(__name__)


class MockServer:
    """A running mock; `await server.close()` or use it as an async context."""

    def __init__(
        self,
        providers: Sequence[Provider],
        *,
        parts: Sequence[Provider] = (),
        pace: float,
        memory: Memory,
        books: Books | None = None,
    ) -> None:
        self._providers = providers
        self._parts = parts
        """Providers of a few paths; asked before the others."""
        self._pace = pace
        self._books = books
        self._listener: asyncio.Server | None = None
        self._scheme = "http"
        self._host = ""
        self._closing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.memory = memory
        self.port = 0
        self.requests: deque[Request] = deque(maxlen=REMEMBERED)
        """What reached the mock, oldest first."""
        self.hangups = 0
        """How many clients left before their answer was out."""

    @property
    def url(self) -> str:
        """Where it listens, without a path."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{self._scheme}://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def listen(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Bind, learn the port, and start to answer."""
        self._listener = await asyncio.start_server(
            self._converse, host, port, ssl=tls, backlog=1024, limit=1 << 20
        )
        self._host, self.port = self._listener.sockets[0].getsockname()[:2]
        self._scheme = "http" if tls is None else "https"

    async def close(self) -> None:
        """Stop listening and drop every connection, whatever it is doing."""
        if self._listener is None:
            return
        self._closing = True
        self._listener.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._listener.wait_closed()
        self._listener = None

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio runs this as a task
        self._tasks.add(task)
        connection = Connection(reader, writer, pace=self._pace, books=self._books)
        try:
            await connection.run(self._respond)
        except (ConnectionError, ssl.SSLError):
            self.hangups += connection.answering
        except asyncio.CancelledError:
            # Only `close` cancels; Python 3.11's streams log a canceled callback.
            if not self._closing:
                raise
        finally:
            self._tasks.discard(task)
            # Does nothing to a connection that was closed in order.
            writer.transport.abort()

    def _respond(self, request: Request) -> Reply | Stream:
        if request.route.startswith("/_mock/"):
            return self._own(request)
        self.requests.append(request)
        every = (*self._parts, *self._providers)
        owners = [one for one in every if one.owns(request)]
        try:
            return (owners or self._providers)[0].respond(request)
        except Exception as exc:  # noqa: BLE001 - a test must learn of our bug
            _log.exception("mock failed on %s %s", request.method, request.path)
            return _json(500, {"error": {"message": f"mock_bug: {exc!r}"}})

    def _own(self, request: Request) -> Reply:
        """Answer about the mock itself: the recorded requests."""
        if request.route == "/_mock/health":
            return _json(200, {"status": "ok", "hangups": self.hangups})
        if request.route == RECORDS_PATH and request.method == "GET":
            return _json(200, [_record(one) for one in self.requests])
        if request.route == RECORDS_PATH and request.method == "DELETE":
            self.requests.clear()
            return _json(200, {"deleted": True})
        if request.route == RECORDS_PATH + "/last" and self.requests:
            return _json(200, _record(self.requests[-1]))
        if request.route.startswith(ACCOUNTS_PATH) and request.method == "PUT":
            account = unquote(request.route.removeprefix(ACCOUNTS_PATH))
            self.memory.service_accounts[account] = request.body
            return _json(200, {"account": account})
        return _json(404, {"error": "there is nothing here"})


def _record(request: Request) -> dict[str, object]:
    return {
        "method": request.method,
        "path": request.path,
        "headers": [list(pair) for pair in request.headers],
        "body": base64.b64encode(request.body).decode(),
    }


def _json(status: int, body: object) -> Reply:
    return Reply(status, msgspec.json.encode(body))


async def serve(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    pace: float = DEFAULT_PACE,
    providers: Sequence[str] = PROVIDERS,
    keys: Collection[str] = DEFAULT_KEYS,
    tls: ssl.SSLContext | None = None,
    clock: Callable[[], float] = time.time,  # noqa: TID251 - the edge
    token_seconds: float = LIFE,
    books: Path | None = None,
) -> MockServer:
    """Start the mock and return it, listening.

    Args:
        host: Loopback by default: recorded requests are open to whoever can connect.
        port: 0 takes a free one; `server.port` tells which.
        pace: Seconds between the events of a stream; 0 is as fast as possible.
        providers: Which APIs to serve; the first answers for unknown paths.
        keys: Accepted credentials, exact or `prefix*`, the same for all providers.
        tls: Serve HTTPS with this context.
        clock: Seconds since 1970, for `created`.
        token_seconds: How long access tokens are good for.
        books: Where to write what was served (`extproc.local.mock.books`).
    """
    memory, shelf = Memory(clock), Shelf()
    files = Stored(memory, keys)
    makers: dict[str, Callable[[], Provider]] = {
        "openai": lambda: OpenAI(memory, keys, shelf),
        "anthropic": lambda: Anthropic(memory, keys),
        "gemini": lambda: Gemini(memory, keys),
        "bedrock": lambda: Bedrock(memory, keys),
        "azure": lambda: Azure(memory, keys),
        "vertex": lambda: Vertex(memory, keys),
        "cohere": lambda: Cohere(memory, keys),
        "mistral": lambda: Mistral(memory, keys),
    }
    # The narrower claims first. They answer only what they own.
    parts: dict[str, tuple[Provider, ...]] = {
        "openai": (
            Embeddings(memory, keys), Media(memory, keys), files,
            Library(memory, keys, files), Labs(memory, keys, files),
            KeptResponses(memory, keys, shelf),
        ),
        "anthropic": (StoredAtAnthropic(memory, keys),),
        "gemini": (Counts(memory, keys),),
        "bedrock": (Invoke(memory, keys),),
    }  # fmt: skip
    server = MockServer(
        [makers[name]() for name in providers],
        parts=[
            *(part for name in providers for part in parts.get(name, ())),
            Services(memory, keys),
            Identity(memory, token_seconds),
        ],
        pace=pace,
        memory=memory,
        books=None if books is None else Books(books),
    )
    await server.listen(host, port, tls)
    return server
