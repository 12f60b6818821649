"""One client's connection: read a request, write an answer, misbehave when told to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

import h11

from extproc.local.mock import encoding
from extproc.local.mock.books import Books, Entry
from extproc.local.mock.directives import Conduct
from extproc.local.mock.encoding import ENCODERS, Encoder
from extproc.local.mock.reply import Reply, Request, SseEvent, Stream

READ: Final = 65_536
MOST_BODY: Final = 128 << 20
"""Bytes; four times what the providers take, so that they can be the ones to refuse."""
MOST_HEAD: Final = 65_536
"""Bytes of request line and headers (h11's own limit is 16 KiB; Envoy's 60 KiB)."""
LINGER: Final = 0.5
"""Seconds for a refused client to read the refusal and close."""
SETTLE: Final = 0.02
"""Seconds that bytes get to arrive before a reset would throw them away."""

HTML: Final = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n"
    b"<center><h1>502 Bad Gateway</h1></center>\r\n</body>\r\n</html>\r\n"
)

Responder = Callable[[Request], Reply | Stream]


class Connection:
    """An HTTP/1.1 conversation with one client."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        pace: float,
        books: Books | None = None,
    ) -> None:
        self._books = books
        self._reader = reader
        self._writer = writer
        self._pace = pace
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEAD)
        self.answering = False
        """A request is in, and its answer is not out: who leaves now leaves early."""

    async def run(self, respond: Responder) -> None:
        """Answer one request after another until either side has had enough.

        Raises:
            ConnectionError: the client went away in the middle of something.
        """
        while True:
            try:
                request = await self._read()
            except h11.RemoteProtocolError as exc:
                await self._refuse(exc)
                return
            if request is None:
                break
            self.answering = True
            if not await self._serve(request, respond(request)):
                return
            self.answering = False
            if self._http.our_state is not h11.DONE:
                break
            self._http.start_next_cycle()
        await self._finish()

    async def _read(self) -> Request | None:
        """Return the next whole request; None when the client is done."""
        head: h11.Request | None = None
        body: list[bytes] = []
        size = 0
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=100, headers=[])
                    self._writer.write(self._http.send(go_on) or b"")
                self._http.receive_data(await self._reader.read(READ))
                continue
            match event:
                case h11.Request():
                    head = event
                case h11.Data():
                    body.append(bytes(event.data))
                    size += len(event.data)
                    if size > MOST_BODY:
                        raise h11.RemoteProtocolError("body too large", 413)
                case h11.EndOfMessage() if head is not None:
                    return Request(
                        method=head.method.decode(),
                        path=head.target.decode("latin-1"),
                        headers=tuple(
                            (name.decode("latin-1"), value.decode("latin-1"))
                            for name, value in head.headers
                        ),
                        body=b"".join(body),
                    )
                case _:
                    return None

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        """Answer bytes that are not HTTP, and hang up."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            text = f"{error}\n".encode()
            reply = Reply(error.error_status_hint, text, content_type="text/plain")
            head = self._head(
                reply.status, [*_fixed(reply, text), ("connection", "close")]
            )
            self._writer.write(head + self._data(text) + self._end())
            await self._linger()
        await self._finish()

    async def _linger(self) -> None:
        """Read what still comes: closing on unread bytes is a reset, not an answer."""
        if self._writer.can_write_eof():
            self._writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                while await self._reader.read(READ):
                    pass

    async def _serve(self, request: Request, answer: Reply | Stream) -> bool:
        """Write the answer, and a line in the books; tell whether to go on."""
        if self._books is None:
            return await self._answer(request, answer)
        entry = Entry(request, answer)
        whole = False
        try:
            whole = await self._answer(request, entry.watched(answer))
            return whole
        finally:
            self._books.write(entry, whole=whole)

    async def _answer(self, request: Request, answer: Reply | Stream) -> bool:
        """Write the answer; tell whether the connection is still of use."""
        conduct = answer.conduct
        if conduct.silence is not None:
            await self.hold(conduct.silence)
            await self._finish()
            return False
        if conduct.reset:
            await self._reset()
            return False
        coding = encoding.chosen(request.header("accept-encoding"))
        if conduct.not_json is not None:
            page = Reply(conduct.not_json, HTML, answer.headers, "text/html")
            return await self._write_reply(page, coding)
        if isinstance(answer, Stream):
            return await self._write_stream(answer, coding)
        return await self._write_reply(answer, coding)

    async def _write_reply(self, reply: Reply, coding: str | None) -> bool:
        conduct, body = reply.conduct, reply.body
        if conduct.delay:
            await self.hold(conduct.delay)
        if conduct.malformed_json:
            body = body[: len(body) // 2]
        if conduct.empty_body:
            body = b""
        headers = [*_fixed(reply, body), *conduct.headers.items()]
        if coding is not None and body:
            encoder = ENCODERS[coding]()
            body = encoder.event(body) + encoder.end()
            headers = [*_fixed(reply, body), *conduct.headers.items()]
            headers += [("content-encoding", coding), ("vary", "accept-encoding")]
        head = self._head(reply.status, headers)
        if conduct.reset_after is not None or conduct.cut_after is not None:
            self._writer.write(head + self._data(body[: len(body) // 2]))
            return await self._break_off(conduct)
        if conduct.cut_every is not None:
            self._writer.write(head)
            await self._write_pieces(body, conduct.cut_every)
            self._writer.write(self._end())
        else:
            self._writer.write(head + self._data(body) + self._end())
        await self._writer.drain()
        return True

    async def _write_stream(self, stream: Stream, coding: str | None) -> bool:
        conduct = stream.conduct
        encoder = None if coding is None else ENCODERS[coding]()
        headers = [
            ("content-type", stream.content_type),
            ("cache-control", "no-cache"),
            *stream.headers,
            *conduct.headers.items(),
        ]
        if coding is not None:
            headers += [("content-encoding", coding), ("vary", "accept-encoding")]
        self._writer.write(self._head(stream.status, headers))
        await self._writer.drain()
        if conduct.delay:
            await self.hold(conduct.delay)
        if not await self._write_events(stream.events, conduct, encoder):
            return False
        self._writer.write(self._data(encoder.end() if encoder else b"") + self._end())
        await self._writer.drain()
        return True

    async def _write_events(
        self, events: Iterable[SseEvent], conduct: Conduct, encoder: Encoder | None
    ) -> bool:
        for sent, event in enumerate(_damaged(events, conduct)):
            chunk = event_bytes(event, conduct.line_end)
            chunk = encoder.event(chunk) if encoder else chunk
            if sent == conduct.reset_after:
                return await self._break_off(conduct)
            if sent == conduct.cut_after:
                framed = self._data(chunk)
                self._writer.write(framed[: len(framed) // 2])
                return await self._break_off(conduct)
            if sent == conduct.stall_after:
                await self.hold(conduct.stall_seconds)
            await self._write_pieces(chunk, conduct.cut_every)
            if self._pace:
                await asyncio.sleep(self._pace)
        if conduct.reset_after is not None or conduct.cut_after is not None:
            return await self._break_off(conduct)
        return True

    async def _write_pieces(self, chunk: bytes, size: int | None) -> None:
        """Write a body's bytes, each piece by itself if a size is given."""
        if size is None:
            self._writer.write(self._data(chunk))
            await self._writer.drain()
            return
        for at in range(0, len(chunk), size):
            self._writer.write(self._data(chunk[at : at + size]))
            await self._writer.drain()
            await asyncio.sleep(0)

    async def hold(self, seconds: float) -> None:
        """Say nothing for so long.

        Raises:
            ConnectionError: the client did not wait.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while data := await self._reader.read(READ):
                    self._http.receive_data(data)
                raise ConnectionResetError("the client hung up")

    async def _break_off(self, conduct: Conduct) -> bool:
        await self._writer.drain()
        if conduct.reset_after is None:
            await self._finish()
        else:
            await asyncio.sleep(SETTLE)
            await self._reset()
        return False

    async def _reset(self) -> None:
        """Close with RST instead of FIN."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        await asyncio.sleep(0)

    async def _finish(self) -> None:
        """Close with FIN, once everything is written."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    def _head(self, status: int, headers: list[tuple[str, str]]) -> bytes:
        response = h11.Response(
            status_code=status, headers=[*headers, ("server", "extproc-mock")]
        )
        return self._http.send(response) or b""

    def _data(self, chunk: bytes) -> bytes:
        return (self._http.send(h11.Data(data=chunk)) or b"") if chunk else b""

    def _end(self) -> bytes:
        return self._http.send(h11.EndOfMessage()) or b""


def _fixed(reply: Reply, body: bytes) -> list[tuple[str, str]]:
    return [
        ("content-type", reply.content_type),
        ("content-length", str(len(body))),
        *reply.headers,
    ]


def _damaged(events: Iterable[SseEvent], conduct: Conduct) -> Iterator[SseEvent]:
    """Yield the events as the conduct wants them: none, some, or one of them broken."""
    if conduct.empty_body:
        return
    for sent, event in enumerate(events):
        if sent == conduct.truncate_after:
            return
        if conduct.malformed_json and sent == 2:
            yield replace(event, payload=event.payload[: len(event.payload) // 2])
        else:
            yield event


def event_bytes(event: SseEvent, line_end: str = "\n") -> bytes:
    """Write one event as its lines and the empty line after them."""
    if event.framed:
        return event.payload
    end = line_end.encode()
    name = b"" if event.name is None else b"event: " + event.name.encode() + end
    return name + b"data: " + event.payload + end + end
