"""One connection of the lean edge: what a read brings is answered in one write.

A call is no task: its messages are answered inside `data_received`, and all answers to one
read leave together, unless there is more to do than the loop may wait for (`turns`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, assert_never, cast

from extproc.server.h2.connection import ServerConnection
from extproc.server.h2.errors import Status
from extproc.server.h2.events import (
    CallCanceled,
    CallHalfClosed,
    CallRefused,
    CallStarted,
    ConnectionFailed,
    Event,
    MessagesReceived,
)
from extproc.server.h2.limits import MIB
from extproc.server.turns import FEW, SLICE_SECONDS

if TYPE_CHECKING:  # The edge only ever sees what `new_call` makes.
    from extproc.server.call import Call, Worked
    from extproc.server.lean import LeanServer

PROCESS = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"

WRITE_LIMIT = 8 * MIB
"""Unsent bytes of one connection beyond which we stop reading from it. Not asyncio's
64 KiB: one body is up to 32 MiB, and a pause stops every stream of the connection."""

AHEAD_LIMIT = 16 * MIB
"""Bytes that a connection may have read while it has work left, beyond which it reads no
more: as many as Envoy may send ahead."""

_clock = time.monotonic
"""Not the loop's: uvloop's counts whole milliseconds, which is most of what a request takes
here, and durations are told from it."""

log = logging.getLogger(__name__)


class LeanConnection(asyncio.Protocol):
    """One connection: reads in, events to calls, one write out."""

    def __init__(
        self,
        server: LeanServer,
        number: int,
        loop: asyncio.AbstractEventLoop,
        new_call: Callable[[], Call] | None,
    ) -> None:
        self._server = server
        self._number = number
        self._loop = loop
        self._new_call = new_call
        self._h2 = ServerConnection(server.limits)
        self._calls: dict[int, Call] = {}
        self._unary: dict[int, Callable[[bytes], bytes]] = {}
        self._working: dict[int, bool] = {}
        """The calls that a thread works for, and whether they half-closed meanwhile."""
        self._stalled: set[int] = set()
        """The calls that may not send more of a body yet."""
        self._parting: dict[int, Call] = {}
        """The calls that hold much until what they said is on its way."""
        self._left: deque[Event] = deque()
        """Events that have not had their turn."""
        self._ahead = 0
        """Bytes that came since there are any."""
        self._refused = False
        """Whether the peer takes no more of our answers."""
        self._transport: asyncio.Transport | None = None
        self._leaving = False
        """Whether no more calls are wanted."""
        self._over = False
        """Whether to close as soon as what there is to send is on its way."""

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the peer."""
        # A cast, as uvloop's transports have the methods but not the base class.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_LIMIT)
        self._server.joined(self._number, self)
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Take what the peer sent, and answer it in one write."""
        events = self._h2.receive_data(data)
        if self._left:
            self._left.extend(events)
            self._ahead += len(data)
            if self._ahead > AHEAD_LIMIT:
                self._read_on()
        elif len(events) > FEW:
            self._left.extend(events)
            if self._work():
                self._server.turns.join(self._work)
            return
        elif events:
            now = _clock()
            for event in events:
                if type(event) is MessagesReceived:  # most of them
                    self._deliver(event.stream_id, event.messages, now)
                elif type(event) is CallStarted:
                    self._start(event.stream_id, event.path)
                else:
                    self._take(event, now)
        self._flush()

    def _work(self) -> bool:
        """Handle events for a slice of time; return whether there are more."""
        left, now = self._left, _clock()
        until = now + SLICE_SECONDS
        try:
            while left:
                event = left.popleft()
                if type(event) is MessagesReceived:
                    self._deliver(event.stream_id, event.messages, now)
                else:
                    self._take(event, now)
                now = _clock()
                if now > until:
                    break
        except BaseException:
            # As of what `data_received` raises: nobody would come back for the rest.
            self.abort()
            raise
        if not left:
            self._ahead = 0
            self._read_on()
        self._flush()
        return bool(left)

    def pause_writing(self) -> None:
        """Stop reading: who does not take answers may not ask for more."""
        self._refused = True
        self._read_on()

    def resume_writing(self) -> None:
        """Read again."""
        self._refused = False
        self._read_on()

    def _read_on(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            if self._refused or self._ahead > AHEAD_LIMIT:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's
        """Close every call that was open."""
        self._transport = None
        self._left.clear()
        self._drop_all()
        self._server.left(self._number)

    # The server's side.

    def shutdown(self) -> None:
        """Let the open calls end, and accept no others."""
        self._leaving = True
        self._h2.shutdown()
        self._flush()

    def abandon(self) -> None:
        """Close now, whatever is open."""
        self._h2.abandon()
        self._over = True
        self._flush()

    @property
    def frames(self) -> int:
        """How many frames came."""
        return self._h2.frames

    def abort(self) -> None:
        """Close without waiting for the peer to read."""
        if self._transport is not None:
            self._transport.abort()

    def sweep(self, now: float) -> None:
        """Expire the calls whose deadline has passed."""
        self._h2.replenish()
        due = [item for item in self._calls.items() if item[1].deadline <= now]
        for stream_id, call in due:
            # It may be another by now: one that expires leaves its room to the next.
            if call.deadline <= now:
                self._drive(stream_id, call, call.expire, now)
                self._flush()

    # Events.

    def _take(self, event: Event, now: float) -> None:
        match event:
            case MessagesReceived(stream_id, messages):
                self._deliver(stream_id, messages, now)
            case CallStarted(stream_id, path):
                self._start(stream_id, path)
            case CallHalfClosed(stream_id):
                if self._unary.pop(stream_id, None) is not None:
                    self._h2.finish(
                        stream_id, status=Status.INTERNAL, message="no message came"
                    )
                self._half_close(stream_id)
            case CallCanceled(stream_id) | CallRefused(stream_id):
                self._drop(stream_id, clean=False)
            case ConnectionFailed(code, reason):
                log.warning("connection %d: %s: %s", self._number, code.name, reason)
                self._over = True
            case _:
                assert_never(event)

    def _deliver(self, stream_id: int, messages: list[bytes], now: float) -> None:
        call = self._calls.get(stream_id)
        if call is None:
            self._answer(stream_id, messages[0])
            return
        replies: list[bytes] = []
        try:
            if len(messages) == 1:  # most of a stream
                replies = call.receive(messages[0], now)
            else:
                call.hear(messages, now, replies)
        except Exception as exc:  # noqa: BLE001  one call's bug must not end the others
            self._h2.send_messages(stream_id, replies)
            self._fail(stream_id, exc)
        else:
            if replies or call.finished or call.parting or call.work is not None:
                self._reply(stream_id, call, replies)
            if not replies and (turn := call.turn) is not None:
                self._stall(stream_id, turn)

    def _stall(self, stream_id: int, turn: asyncio.Future[None]) -> None:
        """Let no more of a body come before its turn."""
        if stream_id not in self._stalled:
            self._stalled.add(stream_id)
            self._h2.stall(stream_id)
            turn.add_done_callback(partial(self._let_on, stream_id))

    def _let_on(self, stream_id: int, _: asyncio.Future[None]) -> None:
        self._stalled.discard(stream_id)
        self._h2.let_on(stream_id)
        self._flush()

    def _start(self, stream_id: int, path: str) -> None:
        if path == PROCESS and self._new_call is not None:
            self._calls[stream_id] = self._new_call()
        elif path in self._server.unary:
            self._unary[stream_id] = self._server.unary[path]
        else:
            self._h2.finish(
                stream_id, status=Status.UNIMPLEMENTED, message="unknown method"
            )

    def _drive(
        self,
        stream_id: int,
        call: Call,
        ask: Callable[[float], list[bytes]],
        now: float,
    ) -> None:
        """Send what a call has to say."""
        try:
            replies = ask(now)
        except Exception as exc:  # noqa: BLE001  one call's bug must not end the others
            self._fail(stream_id, exc)
            call.part()
        else:
            self._reply(stream_id, call, replies)

    def _reply(self, stream_id: int, call: Call, replies: list[bytes]) -> None:
        finished = call.finished
        if replies or finished:
            if len(replies) == 1 and not finished:
                alive = self._h2.send_message(stream_id, replies[0])
            else:
                alive = self._h2.send_messages(stream_id, replies, end=finished)
            if finished or not alive:
                self._drop(stream_id, clean=alive)
        if call.parting:
            self._parting[stream_id] = call
        if call.work is not None and stream_id not in self._working:
            # No task a call: the end of a thread, or of the wait for the store, comes back
            # as a callback of the loop.
            self._working[stream_id] = False
            done = call.begin(self._loop)
            done.add_done_callback(partial(self._resume, stream_id, call))

    def _resume(self, stream_id: int, call: Call, done: asyncio.Future[Worked]) -> None:
        """Go on with a call whose work is done; it may be gone by now."""
        half_closed = self._working.pop(stream_id)
        # Also where the work failed and `resume` never comes to it: what follows, the
        # call's end, must not wait for it.
        call.work = None
        self._drive(
            stream_id,
            call,
            lambda now: call.resume(done.result(), now),
            _clock(),
        )
        if half_closed:
            self._half_close(stream_id)
        self._flush()

    def _half_close(self, stream_id: int) -> None:
        """End a call with OK, as soon as no thread has answers for it."""
        if stream_id in self._working:
            self._working[stream_id] = True
            return
        self._drop(stream_id, clean=True)
        self._h2.finish(stream_id)

    def _answer(self, stream_id: int, message: bytes) -> None:
        """Serve a unary method; only its first message counts."""
        method = self._unary.pop(stream_id, None)
        if method is None:
            return
        try:
            self._h2.send_messages(stream_id, (method(message),), end=True)
        except Exception as exc:  # noqa: BLE001  one call's bug must not end the others
            self._fail(stream_id, exc)

    def _fail(self, stream_id: int, exc: Exception) -> None:
        # The text of an exception can quote the message, which is the client's own.
        log.error(
            "call %d/%d failed: %s",
            self._number,
            stream_id,
            type(exc).__name__,
            extra=_known_as(self._calls.get(stream_id)),
        )
        self._h2.finish(stream_id, status=Status.INTERNAL, message="internal error")
        self._drop(stream_id, clean=False)

    def _drop(self, stream_id: int, *, clean: bool) -> None:
        call = self._calls.pop(stream_id, None)
        if call is None:
            return
        if self._stalled:
            self._stalled.discard(stream_id)
        try:
            call.close(_clock(), clean=clean)
        except Exception as exc:  # noqa: BLE001  the others must be closed too
            log.error(  # noqa: TRY400  no traceback: its values are the client's own
                "call %d/%d failed to close: %s",
                self._number,
                stream_id,
                type(exc).__name__,
                extra=_known_as(call),
            )
        if call.parting:
            self._parting[stream_id] = call

    def _drop_all(self) -> None:
        for stream_id in tuple(self._calls):
            self._drop(stream_id, clean=False)
        for call in self._parting.values():
            call.part()
        self._parting.clear()
        self._stalled.clear()
        self._unary.clear()

    def _flush(self) -> None:
        """Write all there is to send, in one go."""
        if self._transport is None:
            return
        data = self._h2.data_to_send()
        if data:
            self._transport.write(data)
        if self._parting:
            self._part()
        if self._over or (self._leaving and self._h2.drained):
            self._transport.close()

    def _part(self) -> None:
        """Let go of the bodies that are on their way."""
        for stream_id in tuple(self._parting):
            if not self._h2.queued(stream_id):
                self._parting.pop(stream_id).part()


def _known_as(call: Call | None) -> dict[str, str | None]:
    return {} if call is None else call.known_as
