"""One stream, the states it goes through, and what each frame does in each of them.

https://www.rfc-editor.org/rfc/rfc9113#section-5.1, without the reserved states (we never
push) and without half-closed (local): once our answer is complete a stream that the peer
has not ended is reset with NO_ERROR (section 8.1), so that it costs nothing more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from enum import Enum, IntEnum

from extproc.server.h2.frames import FrameType
from extproc.server.h2.messages import MessageCutter


class StreamState(IntEnum):
    """Where the stream that a frame names stands."""

    CONNECTION = 0
    """Not a stream: the number 0."""
    UNPROMISED = 1
    """An even number: ours to open, which we never do."""
    IDLE = 2
    """A number above all that were opened."""
    OPEN = 3
    HALF_CLOSED = 4
    """The peer has ended its half."""
    ENDED = 5
    """Both halves have ended."""
    RESET_BY_US = 6
    """The peer may not know yet, so what still comes is no fault of its own."""
    RESET_BY_PEER = 7
    FORGOTTEN = 8
    """Closed so long ago that nobody remembers how, or never opened and skipped."""


class Reaction(Enum):
    """What a frame does in a state."""

    ACCEPT = "it has its effect"
    IGNORE = "it has none"
    RESET = "stream error STREAM_CLOSED"
    CLOSED = "connection error STREAM_CLOSED"
    VIOLATION = "connection error PROTOCOL_ERROR"


_A, _I, _R, _C, _V = Reaction
_COLUMNS = tuple(StreamState)

# The columns, in order: CONNECTION UNPROMISED IDLE OPEN HALF_CLOSED ENDED
#                        RESET_BY_US RESET_BY_PEER FORGOTTEN
_ROWS: Mapping[FrameType, tuple[Reaction, ...]] = {
    FrameType.DATA: (_V, _V, _V, _A, _R, _C, _I, _R, _C),
    FrameType.HEADERS: (_V, _V, _A, _A, _R, _C, _I, _R, _V),
    FrameType.PRIORITY: (_V, _I, _I, _I, _I, _I, _I, _I, _I),
    FrameType.RST_STREAM: (_V, _V, _V, _A, _A, _I, _I, _I, _I),
    FrameType.SETTINGS: (_A, _V, _V, _V, _V, _V, _V, _V, _V),
    FrameType.PUSH_PROMISE: (_V, _V, _V, _V, _V, _V, _V, _V, _V),
    FrameType.PING: (_A, _V, _V, _V, _V, _V, _V, _V, _V),
    FrameType.GOAWAY: (_A, _V, _V, _V, _V, _V, _V, _V, _V),
    FrameType.WINDOW_UPDATE: (_A, _V, _V, _A, _A, _I, _I, _I, _I),
    # One that continues a header block never gets as far as this table.
    FrameType.CONTINUATION: (_V, _V, _V, _V, _V, _V, _V, _V, _V),
}

REACTIONS: Mapping[tuple[FrameType, StreamState], Reaction] = {
    (kind, state): reaction
    for kind, row in _ROWS.items()
    for state, reaction in zip(_COLUMNS, row, strict=True)
}
"""Every frame in every state. Frames of unknown types are ignored in all of them."""


_OPEN = StreamState.OPEN  # an Enum's members are slow to ask for

NOTHING_CUT = MessageCutter()
"""Of all streams that had no message in pieces: most never have. Nothing is fed to it."""


class Stream:
    """An open stream, which is one gRPC call."""

    __slots__ = (
        "answered",
        "credit",
        "cutter",
        "end",
        "expected",
        "id",
        "pending",
        "plain",
        "stalled",
        "state",
        "window",
    )

    def __init__(
        self, stream_id: int, window: int, credit: int, expected: int = -1
    ) -> None:
        self.id = stream_id
        self.state = _OPEN
        self.window = window
        """Bytes that we may send; negative after the peer made its windows smaller."""
        self.credit = credit
        """Bytes that the peer may send."""
        self.expected = expected
        """Bytes of body still due by `content-length`; negative where there was none."""
        self.cutter = NOTHING_CUT
        """Holds the message that is not whole; its own from the first such on."""
        self.plain = expected < 0
        """Whether a frame that is one message is only that: nobody has ended a half, no
        `content-length` is to be kept, and no message is in pieces."""
        self.answered = False
        """Whether our response headers are written."""
        self.pending: deque[memoryview] | None = None
        """Bytes that wait for the peer's window; a frame never spans two of them."""
        self.stalled = False
        """Whether the peer gets no more credit."""
        self.end: bytes | None = None
        """The frame that ends our half, while it waits behind `pending`."""
