"""Scripts on one Redis connection, sent as they come and answered in that order.

What is asked in one turn of the loop leaves in one write, and a reply goes to whoever
waits for it in the turn in which it is read: a worker that has much to do hears what the
store says after six or seven turns, where a client's pool, streams and timers take 9 to 18.
A burst of 200 requests is one write on one socket, and not 200 sockets.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from importlib import resources
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.asyncio.connection import SSLConnection, UnixDomainSocketConnection
from redis.exceptions import (
    ConnectionError as NotConnected,
    InvalidResponse,
    RedisError,
    ResponseError,
    TimeoutError as TooLate,
)

from extproc.state.resp import Replies, Reply, argument, command

LATE_SHARE: Final = 0.1
"""Of the time that the server has: a look at the clock that is later than that shows that
the worker is late, and perhaps not the server."""


class Script:
    """One verb's script, sent whole only to a server that does not have it yet."""

    def __init__(self, name: str) -> None:
        file = resources.files("extproc.state") / "lua" / f"{name}.lua"
        text = file.read_bytes()
        sha = hashlib.sha1(text).hexdigest().encode()  # noqa: S324  EVALSHA's
        self.known = argument(b"EVALSHA") + argument(sha)
        self.whole = argument(b"EVAL") + argument(text)


class _Call:
    """Something that is asked for."""

    __slots__ = ("data", "future", "sent", "whole")

    def __init__(
        self, data: bytes, whole: bytes, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.data = data
        self.whole = whole
        """The same for a server that does not know the script; empty: there is none."""
        self.future: asyncio.Future[Any] = loop.create_future()
        self.sent = 0.0


class _Line(asyncio.Protocol):
    """A connection."""

    def __init__(self, answer: Callable[[_Call, Reply], None]) -> None:
        self.asked: deque[_Call] = deque()
        self.lost: RedisError | None = None
        self._answer = answer
        self._replies = Replies()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note where to write."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def ask(self, calls: Iterable[_Call], now: float) -> None:
        """Send what is asked for."""
        data = bytearray()
        for call in calls:
            if not call.future.done():  # else nobody waits for it any more
                call.sent = now
                data += call.data
                self.asked.append(call)
        if self._transport is not None:
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Hand out the replies."""
        try:
            replies = self._replies.feed(data)
        except InvalidResponse as error:
            self.end(error)
            return
        for reply in replies:
            if self.asked:  # else nobody has: Redis does not speak first
                self._answer(self.asked.popleft(), reply)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell those who wait."""
        self.end(NotConnected(str(error or "closed")))

    def end(self, error: RedisError) -> None:
        """Close, and let everybody who waits have `error`."""
        if self.lost is None:
            self.lost = error
            if self._transport is not None:
                self._transport.abort()
            _fail(self.asked, error)
            self.asked.clear()


class Pipeline:
    """Runs scripts; see the module's docstring."""

    def __init__(self, client: Redis, tag: str) -> None:
        """Connect as `client` would, when something is asked."""
        self._pool = client.connection_pool
        self._seconds = float(self._pool.connection_kwargs["socket_timeout"])
        self._keys = argument(b"1") + argument(tag.encode())
        self._waiting: list[_Call] = []
        self._line: _Line | None = None
        self._opening: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None

    async def run(self, script: Script, *arguments: bytes | float) -> Any:  # noqa: ANN401
        """Return the script's reply.

        Raises:
            RedisError: the server cannot be asked, or says that the script is wrong.
        """
        head = b"*%d\r\n" % (4 + len(arguments))
        parts = (x if isinstance(x, bytes) else repr(x).encode() for x in arguments)
        rest = self._keys + b"".join(map(argument, parts))
        loop = asyncio.get_running_loop()
        call = _Call(head + script.known + rest, head + script.whole + rest, loop)
        self._wait(call, loop)
        return await call.future

    async def close(self) -> None:
        """Close the connection; whoever waits is told that it is."""
        closed = NotConnected("closed")
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
            await asyncio.wait([opening])
        if self._line is not None:
            self._line.end(closed)
        _fail(self._waiting, closed)
        self._waiting = []
        if self._watch is not None:
            self._watch.cancel()

    def _wait(self, call: _Call, loop: asyncio.AbstractEventLoop) -> None:
        self._waiting.append(call)
        if len(self._waiting) == 1:
            loop.call_soon(self._send, loop)

    def _send(self, loop: asyncio.AbstractEventLoop) -> None:
        line = self._line
        if line is None or line.lost is not None:
            if self._opening is None:
                self._opening = loop.create_task(self._open(loop))
            return
        calls, self._waiting = self._waiting, []
        line.ask(calls, loop.time())
        if self._watch is None and line.asked:
            self._look_at(loop, loop.time() + self._seconds)

    def _answer(self, call: _Call, reply: Reply) -> None:
        if call.future.done():
            return
        if not isinstance(reply, ResponseError):
            call.future.set_result(reply)
        elif call.whole and str(reply).startswith("NOSCRIPT"):
            call.data, call.whole = call.whole, b""
            self._wait(call, call.future.get_loop())
        else:
            call.future.set_exception(reply)

    def _look_at(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._watch = loop.call_at(due, self._look, loop, due)

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        """Give a server up that does not reply."""
        self._watch = None
        line, now = self._line, loop.time()
        if line is None or not line.asked:
            return
        over = line.asked[0].sent + self._seconds
        slack = LATE_SHARE * self._seconds
        if over > due:
            self._look_at(loop, over)
        elif now - due > slack:
            # It was us who were busy: what it has said may not be read yet.
            self._look_at(loop, now + slack)
        else:
            line.end(TooLate("no reply"))

    async def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        line = _Line(self._answer)
        lost: Exception = NotConnected("closed")
        try:
            async with asyncio.timeout(self._seconds):
                await self._connect(loop, line)
            self._line = line
        except RedisError as error:
            lost = error
        except OSError as error:
            lost = NotConnected(str(error))
        finally:
            self._opening = None
            if self._line is line:
                self._send(loop)
            else:
                line.end(NotConnected("closed"))
                _fail(self._waiting, lost)
                self._waiting = []

    async def _connect(self, loop: asyncio.AbstractEventLoop, line: _Line) -> None:
        # What the URL says; it never connects itself.
        told: Any = self._pool.make_connection()  # type: ignore[no-untyped-call]
        if isinstance(told, UnixDomainSocketConnection):
            await loop.create_unix_connection(lambda: line, told.path)
        else:
            context: ssl.SSLContext | None = None
            if isinstance(told, SSLConnection):
                context = told.ssl_context.get()
            await loop.create_connection(
                lambda: line, told.host, told.port, ssl=context
            )
        greeting = []
        if told.password:
            who = [told.username] if told.username else []
            greeting.append(["AUTH", *who, told.password])
        if told.client_name:
            greeting.append(["CLIENT", "SETNAME", told.client_name])
        if told.db:
            greeting.append(["SELECT", str(told.db)])
        calls = [
            _Call(command(*(part.encode() for part in parts)), b"", loop)
            for parts in greeting
        ]
        if calls:
            line.ask(calls, loop.time())
            await asyncio.gather(*(call.future for call in calls))


def _fail(calls: Iterable[_Call], error: Exception) -> None:
    for call in calls:
        if not call.future.done():
            call.future.set_exception(error)
