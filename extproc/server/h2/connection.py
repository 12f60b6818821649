"""One HTTP/2 connection of a gRPC server: the peer's bytes in, events out, bytes back.

Everything in this package revolves around this class. The main path is
`ServerConnection.receive_data` → `reader.FrameReader` → `glance.Glance`, or a method for
each frame type → `calls.Calls` → events; answers go through `send_messages` and `finish` into
`outgoing.Outgoing`, and `data_to_send` takes them out. No clock is read, nothing logged.

https://www.rfc-editor.org/rfc/rfc9113
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from extproc.server.h2 import frames, headers
from extproc.server.h2.calls import Calls
from extproc.server.h2.errors import ConnectionFault, ErrorCode, StreamFault
from extproc.server.h2.events import ConnectionFailed, Event
from extproc.server.h2.floods import Allowance
from extproc.server.h2.frames import ACK, END_STREAM, FrameType, Setting
from extproc.server.h2.glance import Glance
from extproc.server.h2.limits import Limits
from extproc.server.h2.outgoing import Outgoing
from extproc.server.h2.reader import FrameReader
from extproc.server.h2.streams import REACTIONS, Reaction, Stream, StreamState

DRAIN_PING = b"drained?"
"""Eight bytes that tell the answer to our own PING from any other."""

_REACTION = tuple(
    tuple(REACTIONS[kind, state] for state in StreamState) for kind in FrameType
)
"""`REACTIONS` by number, because each frame looks into it."""

FrameMethod = Callable[[int, int, bytes], None]
"""Called with flags, stream and payload."""


class ServerConnection:
    """The server's end of one connection. No method raises for what the peer did."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits = limits or Limits()
        self._window = max(limits.connection_window, frames.DEFAULT_WINDOW)
        """Never under the default: no frame can make this window smaller."""
        self._shutting = self._failed = False
        self._allowance = Allowance(limits)
        self._out = Outgoing()
        self.data_to_send: Callable[[], bytes] = self._out.take
        """Return what can be sent now, and forget it; empty when there is nothing."""
        self._calls = Calls(limits, self._out, self._allowance)
        self._blocks = headers.HeaderReader(
            list_limit=limits.header_list, hard_limit=limits.header_block
        )
        self._glance = Glance(
            limits, self._calls, self._blocks, self._allowance, self._window
        )
        self._reader = FrameReader(
            limits, self._glance.take, self._on_data, self._on_frame
        )
        self._methods: dict[int, FrameMethod] = {
            FrameType.HEADERS: self._on_headers,
            FrameType.PRIORITY: self._on_priority,
            FrameType.RST_STREAM: self._on_rst_stream,
            FrameType.SETTINGS: self._on_settings,
            FrameType.PUSH_PROMISE: self._on_push_promise,
            FrameType.PING: self._on_ping,
            FrameType.GOAWAY: self._on_goaway,
            FrameType.WINDOW_UPDATE: self._on_window_update,
            FrameType.CONTINUATION: self._on_continuation,
        }
        self._greet()

    def _greet(self) -> None:
        limits = self._limits
        values = {
            Setting.HEADER_TABLE_SIZE: 0,
            Setting.MAX_CONCURRENT_STREAMS: limits.concurrent_streams,
            Setting.INITIAL_WINDOW_SIZE: limits.stream_window,
            Setting.MAX_FRAME_SIZE: limits.frame,
            Setting.MAX_HEADER_LIST_SIZE: limits.header_list,
        }
        self._out.write(frames.settings(values))
        if self._window > frames.DEFAULT_WINDOW:
            more = self._window - frames.DEFAULT_WINDOW
            self._out.write(frames.window_update(0, more))

    # What the edge asks for.

    @property
    def open_streams(self) -> int:
        """How many calls are not at their end: their last bytes may still wait."""
        return len(self._calls.streams)

    @property
    def drained(self) -> bool:
        """Whether `shutdown` has run its course: no call is open and none may come."""
        calls = self._calls
        return calls.last_accepted < frames.MAX_STREAM_ID and not calls.streams

    def receive_data(self, data: bytes) -> list[Event]:
        """Take the peer's next bytes, of any split; return what they amount to."""
        if self._failed:
            return []
        try:
            self._reader.feed(data)
        except ConnectionFault as fault:
            self._stop(fault.code, fault.reason)
            self._calls.events.append(ConnectionFailed(fault.code, fault.reason))
        events, self._calls.events = self._calls.events, []
        return events

    @property
    def frames(self) -> int:
        """How many the peer has sent."""
        return self._glance.frames + self._reader.frames

    def replenish(self) -> None:
        """Begin a new period of the rates in `Limits`."""
        self._allowance.replenish()

    def send_messages(
        self, stream_id: int, messages: Sequence[bytes], *, end: bool = False
    ) -> bool:
        """Send gRPC messages, and with `end` the trailers of a call that went well.

        Returns:
            Whether the call still was one: not if the peer canceled it, nor if it takes
            so little of its answers that `Limits.outgoing` is full (it is reset then).
        """
        stream = self._calls.streams.get(stream_id)
        if stream is None or stream.end is not None:
            return False
        if messages and not self._calls.send(stream, messages):
            self._calls.reset(stream, ErrorCode.ENHANCE_YOUR_CALM)
            return False
        if end:
            self._calls.end(stream, headers.TRAILERS_OK)
        return True

    def send_message(self, stream_id: int, message: bytes) -> bool:
        """Send one gRPC message, as `send_messages` does."""
        stream = self._calls.streams.get(stream_id)
        if (
            stream is not None
            and stream.answered
            and stream.end is None
            and self._out.send_now(stream, message)
        ):
            return True
        return self.send_messages(stream_id, (message,))

    def finish(self, stream_id: int, *, status: int = 0, message: str = "") -> None:
        """End a call with a gRPC status; nothing happens if it has ended."""
        stream = self._calls.streams.get(stream_id)
        if stream is not None and stream.end is None:
            self._calls.end(stream, headers.trailers(status, message))

    def queued(self, stream_id: int) -> bool:
        """Say whether something of a call waits for the peer's window."""
        stream = self._calls.streams.get(stream_id)
        return stream is not None and bool(stream.pending)

    def stall(self, stream_id: int) -> None:
        """Let the peer send no more of a call than it may already."""
        stream = self._calls.streams.get(stream_id)
        if stream is not None:
            stream.stalled = True

    def let_on(self, stream_id: int) -> None:
        """Let the peer go on with a call that was stalled."""
        stream = self._calls.streams.get(stream_id)
        if stream is not None and stream.stalled:
            stream.stalled = False
            if stream.state is StreamState.OPEN and stream.end is None:
                self._renew(stream)

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        """Break a call off; nothing happens if it has ended."""
        stream = self._calls.streams.get(stream_id)
        if stream is not None:
            self._calls.reset(stream, code)

    def shutdown(self) -> None:
        """Ask the peer to open no more streams; those on their way are still served.

        The first GOAWAY names no stream; the answer to the PING behind it shows that the
        peer has read it, and a second one then names the last stream (section 6.8).
        """
        if not (self._shutting or self._failed):
            self._shutting = True
            self._out.write(frames.goaway(frames.MAX_STREAM_ID, ErrorCode.NO_ERROR))
            self._out.write(frames.frame(FrameType.PING, 0, 0, DRAIN_PING))

    def abandon(self) -> None:
        """Say goodbye at once, whatever is open; nothing is received afterwards."""
        if not self._failed:
            self._stop(ErrorCode.NO_ERROR, "")

    def _stop(self, code: ErrorCode, reason: str) -> None:
        self._failed = True
        self._calls.streams.clear()
        self._out.write(frames.goaway(self._calls.highest, code, reason))

    # Frames.

    def _on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        method = self._methods.get(kind)
        if method is None:
            self._allowance.hollow()
            return
        try:
            method(flags, stream_id, payload)
        except StreamFault as fault:
            self._calls.reset_for(stream_id, fault)

    def _on_data(
        self, flags: int, stream_id: int, buffer: bytes, start: int, stop: int
    ) -> None:
        # Every byte counts: padding, and what is ignored (section 6.9.1).
        self._take_credit(stop - start)
        try:
            if self._accepts(FrameType.DATA, stream_id):
                self._on_body(flags, stream_id, buffer, start, stop)
        except StreamFault as fault:
            self._calls.reset_for(stream_id, fault)

    def _accepts(self, kind: FrameType, stream_id: int) -> bool:
        """Look up what a frame does; return whether it has its effect.

        Raises:
            StreamFault, ConnectionFault: the frame may not come here.
        """
        state = self._calls.state_of(stream_id)
        reaction = _REACTION[kind][state]
        if reaction is Reaction.ACCEPT:
            return True
        if reaction is Reaction.IGNORE:
            self._allowance.hollow()
            return False
        reason = f"{kind.name} in state {state.name}"
        if reaction is Reaction.RESET:
            raise StreamFault(ErrorCode.STREAM_CLOSED, reason)
        if reaction is Reaction.CLOSED:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, reason)
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, reason)

    def _take_credit(self, size: int) -> None:
        glance = self._glance
        glance.credit -= size
        if glance.credit < 0:
            raise ConnectionFault(
                ErrorCode.FLOW_CONTROL_ERROR, "connection window overrun"
            )
        if glance.credit <= glance.half_of_all:
            self._out.write(frames.window_update(0, self._window - glance.credit))
            glance.credit = self._window

    def _on_body(
        self, flags: int, stream_id: int, buffer: bytes, start: int, stop: int
    ) -> None:
        stream, window = self._calls.streams[stream_id], self._limits.stream_window
        stream.credit -= stop - start
        if stream.credit < 0:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "stream window overrun")
        if flags & frames.PADDED:
            start, stop = frames.unpad(buffer, start, stop)
        ended = flags & END_STREAM
        if ended:
            # Before the body, which may be answered by an end of the stream.
            stream.state = StreamState.HALF_CLOSED
        if start < stop:
            self._calls.take_body(stream, buffer, start, stop)
        elif not ended:
            self._allowance.hollow()
        if ended:
            self._calls.half_close(stream)
        elif stream.credit <= window // 2 and stream.end is None:
            self._renew(stream)

    def _renew(self, stream: Stream) -> None:
        """Make the credit of a stream whole again, unless it is stalled."""
        if not stream.stalled:
            more = self._limits.stream_window - stream.credit
            self._out.write(frames.window_update(stream.id, more))
            stream.credit += more

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        # Read whatever the stream: later blocks may depend on this one.
        fields = self._blocks.read(payload)
        if not self._accepts(FrameType.HEADERS, stream_id):
            return
        stream = self._calls.streams.get(stream_id)
        if stream is None:
            self._calls.open(stream_id, fields, ended=bool(flags & END_STREAM))
            return
        if fields.trailers_fault or not flags & END_STREAM:
            reason = fields.trailers_fault or "second header block, and no trailers"
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, reason)
        self._calls.half_close(stream)

    def _on_priority(self, _flags: int, stream_id: int, payload: bytes) -> None:
        self._accepts(FrameType.PRIORITY, stream_id)
        if len(payload) != 5:
            raise StreamFault(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY is not five bytes")

    def _on_rst_stream(self, _flags: int, stream_id: int, payload: bytes) -> None:
        code = frames.uint32(payload)
        if self._accepts(FrameType.RST_STREAM, stream_id):
            self._calls.cancel(stream_id, code)

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._accepts(FrameType.SETTINGS, stream_id)
        self._allowance.control()
        if flags & ACK:
            if payload:
                raise ConnectionFault(
                    ErrorCode.FRAME_SIZE_ERROR, "acknowledgement with a payload"
                )
            self._blocks.forbid_table()
            return
        changes = tuple(frames.read_settings(payload))
        # Before what a wider window lets go: to the peer it is wider from here on (6.5.3).
        self._out.write(frames.frame(FrameType.SETTINGS, ACK, 0))
        # HEADER_TABLE_SIZE asks nothing of an encoder that has no table. The others limit
        # pushes, which we never make, and header lists, of which ours are tiny.
        for name, value in changes:
            if name == Setting.INITIAL_WINDOW_SIZE:
                streams = self._calls.streams.values()
                self._calls.ended(self._out.resize(value, streams))
            elif name == Setting.MAX_FRAME_SIZE:
                self._out.max_frame = value

    def _on_push_promise(self, _flags: int, stream_id: int, _payload: bytes) -> None:
        self._accepts(FrameType.PUSH_PROMISE, stream_id)

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._accepts(FrameType.PING, stream_id)
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PING is not eight bytes")
        self._allowance.control()
        if not flags & ACK:
            self._out.write(frames.frame(FrameType.PING, ACK, 0, payload))
        elif self._shutting and payload == DRAIN_PING:
            calls = self._calls
            calls.last_accepted = min(calls.last_accepted, calls.highest)
            self._out.write(frames.goaway(calls.last_accepted, ErrorCode.NO_ERROR))

    def _on_goaway(self, _flags: int, stream_id: int, payload: bytes) -> None:
        # It speaks of streams that we would open; the peer ends its own, and closes.
        self._accepts(FrameType.GOAWAY, stream_id)
        if len(payload) < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY is cut short")

    def _on_window_update(self, _flags: int, stream_id: int, payload: bytes) -> None:
        increment = frames.uint32(payload) & frames.MAX_WINDOW
        if not self._accepts(FrameType.WINDOW_UPDATE, stream_id):
            return
        if not increment:
            fault = StreamFault if stream_id else ConnectionFault
            raise fault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of nothing")
        if not stream_id:
            self._calls.ended(self._out.grant(increment))
            return
        stream = self._calls.streams[stream_id]
        if self._out.grant_stream(stream, increment):
            self._calls.ended((stream,))

    def _on_continuation(self, _flags: int, stream_id: int, _payload: bytes) -> None:
        self._accepts(FrameType.CONTINUATION, stream_id)
