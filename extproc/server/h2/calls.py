"""The calls of one connection: how streams open, take messages, are answered and end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from extproc.server.h2 import frames, headers
from extproc.server.h2.errors import ConnectionFault, ErrorCode, Status, StreamFault
from extproc.server.h2.events import (
    TOGETHER,
    CallCanceled,
    CallHalfClosed,
    CallRefused,
    CallStarted,
    Event,
    MessagesReceived,
)
from extproc.server.h2.floods import Allowance
from extproc.server.h2.frames import END_HEADERS, END_STREAM, FrameType
from extproc.server.h2.limits import Limits
from extproc.server.h2.messages import MessageCutter, Unacceptable
from extproc.server.h2.outgoing import Outgoing
from extproc.server.h2.streams import NOTHING_CUT, Stream, StreamState

# An Enum's members are slow to ask for.
_OPEN = StreamState.OPEN
_RESET_BY_US = StreamState.RESET_BY_US

REMEMBERED_STREAMS = 4096
"""How many closed streams we can tell apart at least; frames for older ones can no longer
be on their way."""


class Calls:
    """Every stream that the peer has opened, and how the closed ones were closed."""

    __slots__ = (
        "_allowance",
        "_closed",
        "_first_block",
        "_limits",
        "_out",
        "_partial",
        "events",
        "highest",
        "last_accepted",
        "streams",
    )

    def __init__(self, limits: Limits, out: Outgoing, allowance: Allowance) -> None:
        self._limits = limits
        self._out = out
        self._allowance = allowance
        self._closed: dict[int, StreamState] = {}
        self._partial = 0
        """Bytes of messages that are not whole yet, in all streams."""
        self._first_block = headers.NO_TABLE
        """What to put before the next header block: nothing, after the first."""
        self.streams: dict[int, Stream] = {}
        """The open ones. One whose last bytes wait for a window is open."""
        self.highest = 0
        """The highest stream that the peer has opened."""
        self.last_accepted = frames.MAX_STREAM_ID
        """Streams above are not served: lower once a GOAWAY has said so."""
        self.events: list[Event] = []
        """What has happened since the edge last asked."""

    def state_of(self, stream_id: int) -> StreamState:
        """Return where a stream stands, whatever its number."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            return stream.state
        if not stream_id:
            return StreamState.CONNECTION
        if not stream_id & 1:
            return StreamState.UNPROMISED
        if stream_id > self.highest:
            return StreamState.IDLE
        return self._closed.get(stream_id, StreamState.FORGOTTEN)

    def closed(self, stream_id: int) -> StreamState | None:
        """Return how a stream was closed; None: it is not, or nobody remembers."""
        return self._closed.get(stream_id)

    # The peer's half.

    def open(self, stream_id: int, fields: headers.Fields, *, ended: bool) -> None:
        """Start a call, or refuse it.

        Raises:
            StreamFault: it is malformed, or one too many.
        """
        self.highest = stream_id
        if stream_id > self.last_accepted:
            # The peer has our GOAWAY and will try elsewhere (section 6.8).
            self._remember(stream_id, StreamState.RESET_BY_US)
            return
        if fields.request_fault:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, fields.request_fault)
        if len(self.streams) >= self._limits.concurrent_streams:
            # Not PROTOCOL_ERROR: a peer may retry what it knows to be unprocessed.
            raise StreamFault(ErrorCode.REFUSED_STREAM, "too many streams")
        stream = self.streams[stream_id] = Stream(
            stream_id,
            self._out.initial_window,
            self._limits.stream_window,
            fields.body_size,
        )
        if fields.refusal:
            if ended:
                stream.state = StreamState.HALF_CLOSED
            stream.answered = True
            self.end(stream, headers.bare_status(fields.refusal))
            return
        self.events.append(CallStarted(stream_id, fields.path, fields.headers))
        if ended:
            self.half_close(stream)

    def take_body(self, stream: Stream, buffer: bytes, start: int, stop: int) -> None:
        """Turn body bytes into messages.

        Raises:
            StreamFault: there are more than `content-length` says.
        """
        if stream.expected >= 0:
            stream.expected -= stop - start
            if stream.expected < 0:
                raise StreamFault(ErrorCode.PROTOCOL_ERROR, "body over content-length")
        if stream.end is not None:
            return
        cutter = stream.cutter
        if cutter is NOTHING_CUT:
            cutter = stream.cutter = MessageCutter()
        held = cutter.size
        refused = None
        try:
            messages = cutter.feed(buffer, start, stop, self._limits.message)
        except Unacceptable as exc:
            messages, refused = exc.before, exc
        self._partial += cutter.size - held
        stream.plain = not cutter.size and stream.expected < 0 and stream.state is _OPEN
        for at in range(0, len(messages), TOGETHER):
            some = messages[at : at + TOGETHER]
            self.events.append(MessagesReceived(stream.id, some))
        if refused is not None:
            self._refuse(stream, refused.status, refused.reason)
        elif cutter.size and self._partial > self._limits.partial_messages:
            self._refuse(stream, Status.RESOURCE_EXHAUSTED, "too many large messages")

    def half_close(self, stream: Stream) -> None:
        """Note that the peer has ended its half.

        Raises:
            StreamFault: there was less body than `content-length` says.
        """
        stream.state, stream.plain = StreamState.HALF_CLOSED, False
        if stream.end is not None:
            return
        if stream.expected > 0:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "body under content-length")
        if stream.cutter.size:
            self._refuse(stream, Status.INTERNAL, "the last message is cut short")
        else:
            self.events.append(CallHalfClosed(stream.id))

    def cancel(self, stream_id: int, code: int) -> None:
        """End a stream that the peer has reset."""
        self._close(self.streams[stream_id], StreamState.RESET_BY_PEER)
        self.events.append(CallCanceled(stream_id, code))
        self._allowance.reset()

    # Our half.

    def send(self, stream: Stream, messages: Sequence[bytes]) -> bool:
        """Send or queue messages; return whether there was room for them."""
        if not stream.answered:
            stream.answered = True
            if self._first_block:
                block = self._block(END_HEADERS, stream.id, headers.RESPONSE)
            else:
                block = headers.answer(stream.id)
            self._out.write(block)
        return self._out.send(stream, messages, self._limits.outgoing)

    def end(self, stream: Stream, block: bytes) -> None:
        """Send the last header block, or let it wait behind the messages that wait."""
        stream.plain = False
        if (
            block is headers.TRAILERS_OK
            and stream.state is _OPEN
            and stream.answered
            and not stream.pending
        ):
            # As most end: with all the answer there is, before Envoy has ended its half.
            self._out.write(headers.farewell(stream.id))
            stream.end = b""
            self._close(stream, _RESET_BY_US)
            return
        if not stream.answered:
            stream.answered = True
            block = headers.RESPONSE + block
        if stream.cutter.size:
            # What else comes is not read.
            self._partial -= stream.cutter.size
            stream.cutter.clear()
        frame = self._block(END_HEADERS | END_STREAM, stream.id, block)
        if self._out.end(stream, frame):
            self._ended(stream)

    def ended(self, streams: Iterable[Stream]) -> None:
        """Forget streams whose last frame is written."""
        for stream in streams:
            self._ended(stream)

    def _ended(self, stream: Stream) -> None:
        half_closed = stream.state is StreamState.HALF_CLOSED
        self._close(
            stream, StreamState.ENDED if half_closed else StreamState.RESET_BY_US
        )

    def reset(self, stream: Stream, code: ErrorCode) -> None:
        """Break a stream off."""
        self._out.write(frames.rst_stream(stream.id, code))
        self._close(stream, StreamState.RESET_BY_US)

    def reset_for(self, stream_id: int, fault: StreamFault) -> None:
        """Reset the stream that a frame was at fault on.

        Raises:
            ConnectionFault: there is no stream yet, or there were too many such frames.
        """
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.reset(stream, fault.code)
            self.events.append(CallCanceled(stream_id, fault.code))
        elif self.state_of(stream_id) in (StreamState.IDLE, StreamState.UNPROMISED):
            # RST_STREAM for what was never opened would be a fault of ours (6.4).
            raise ConnectionFault(fault.code, fault.reason) from fault
        else:
            self._out.write(frames.rst_stream(stream_id, fault.code))
            self._remember(stream_id, StreamState.RESET_BY_US)
        self._allowance.reset()

    def _refuse(self, stream: Stream, status: Status, reason: str) -> None:
        self.events.append(CallRefused(stream.id, status, reason))
        self.end(stream, headers.trailers(status, reason))

    def _block(self, flags: int, stream_id: int, block: bytes) -> bytes:
        first, self._first_block = self._first_block, b""
        return frames.frame(FrameType.HEADERS, flags, stream_id, first + block)

    def _close(self, stream: Stream, state: StreamState) -> None:
        del self.streams[stream.id]
        if stream.cutter is not NOTHING_CUT:
            self._partial -= stream.cutter.size
        if stream.pending is not None:
            self._out.forget(stream)
        self._remember(stream.id, state)

    def _remember(self, stream_id: int, state: StreamState) -> None:
        self._closed[stream_id] = state
        if len(self._closed) > 2 * REMEMBERED_STREAMS:
            recent = islice(self._closed.items(), REMEMBERED_STREAMS, None)
            self._closed = dict(recent)
