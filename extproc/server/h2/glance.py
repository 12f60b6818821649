"""What most frames are, taken at one look.

Envoy opens each call with the same header block, says one message a frame, and answers our
RST_STREAM with its own. What the general way would do with those is little: note the
credit, and pass the message on. Whatever asks for more is left to it: a flag, a message in
pieces, a window that is to be made whole again, a frame in a state that is not its own.
"""

from __future__ import annotations

from extproc.server.h2 import frames
from extproc.server.h2.calls import Calls
from extproc.server.h2.errors import StreamFault
from extproc.server.h2.events import TOGETHER, MessagesReceived
from extproc.server.h2.floods import Allowance
from extproc.server.h2.frames import END_HEADERS, HEAD_SIZE, NUMBER, FrameType
from extproc.server.h2.headers import HeaderReader
from extproc.server.h2.limits import Limits
from extproc.server.h2.messages import MESSAGE_HEAD, MESSAGE_HEAD_SIZE, PREFIX_SIZE
from extproc.server.h2.streams import StreamState

# An Enum's members are slow to ask for.
_RESET_BY_US = StreamState.RESET_BY_US
_HEADERS = FrameType.HEADERS.value

_unpack_head = MESSAGE_HEAD.unpack_from
_unpack_reset = NUMBER.unpack_from
_RESET_SIZE = NUMBER.size
_RESET_WORD = _unpack_reset(frames.rst_stream(0, 0))[0]


class Glance:
    """Of one connection."""

    __slots__ = (
        "_allowance", "_blocks", "_calls", "_least", "credit", "frames", "half_of_all",
    )  # fmt: skip

    def __init__(
        self,
        limits: Limits,
        calls: Calls,
        blocks: HeaderReader,
        allowance: Allowance,
        window: int,
    ) -> None:
        self._calls = calls
        self._blocks = blocks
        self._allowance = allowance
        longest = PREFIX_SIZE + min(limits.message, limits.frame - PREFIX_SIZE)
        self._least = max(limits.stream_window // 2, limits.stream_window - longest - 1)
        """The credit of a stream that is made whole again, or that a message has left which
        is too long to come in one frame."""
        self.credit = window
        """Bytes of all streams that the peer may send;"""
        self.half_of_all = window // 2
        """how many there are when it is made whole again."""
        self.frames = 0
        """Those that were taken here."""

    def take(self, buffer: bytes, position: int) -> int:
        """Take the frames from `position` on; return where the first begins that is left.

        Raises:
            ConnectionFault: a call may not be opened, or there were too many resets.
        """
        calls, end = self._calls, len(buffer)
        streams, note, least = calls.streams, calls.events.append, self._least
        room, taken = self.credit - self.half_of_all, 0
        of = 0  # the call that spoke last,
        messages: list[bytes] = []  # and what it said
        while end - position >= MESSAGE_HEAD_SIZE:
            word, flags, stream_id, compressed, size = _unpack_head(buffer, position)
            stream = streams.get(stream_id)
            if stream is None:
                stop = self._open(buffer, position, word, flags, stream_id)
                if not stop:
                    break
                position = stop
                continue
            framed = size + PREFIX_SIZE
            stop = position + HEAD_SIZE + framed
            credit, left = stream.credit - framed, room - framed
            if (
                word != framed << 8  # not DATA, or not all of the frame
                or flags
                or compressed
                or stop > end
                or credit <= least
                or left <= 0
                or not stream.plain
            ):
                break
            stream.credit, room, taken = credit, left, taken + 1
            message = buffer[position + MESSAGE_HEAD_SIZE : stop]
            if stream_id == of and len(messages) < TOGETHER:
                messages.append(message)
            else:
                of, messages = stream_id, [message]
                note(MessagesReceived(stream_id, messages))
            position = stop
        self.credit = room + self.half_of_all
        self.frames += taken
        if end - position == _RESET_SIZE and self._is_echo(buffer, position):
            position = end
        return position

    def _open(
        self, buffer: bytes, position: int, word: int, flags: int, stream_id: int
    ) -> int:
        """Start the call that a frame opens, if it says what one before did.

        Returns:
            Where the frame ends; 0: it is nothing of that kind.
        """
        calls, stop = self._calls, position + HEAD_SIZE + (word >> 8)
        if (
            word & 0xFF != _HEADERS
            or flags != END_HEADERS
            or not calls.highest < stream_id <= calls.last_accepted
            or not stream_id & 1
            or stop > len(buffer)
        ):
            return 0
        fields = self._blocks.known(buffer[position + HEAD_SIZE : stop])
        if fields is None:
            return 0
        self.frames += 1
        try:
            calls.open(stream_id, fields, ended=False)
        except StreamFault as fault:
            calls.reset_for(stream_id, fault)
        return stop

    def _is_echo(self, buffer: bytes, position: int) -> bool:
        """Say whether this is RST_STREAM for a stream that we have reset, and count it."""
        word, _, stream_id, _ = _unpack_reset(buffer, position)
        if word != _RESET_WORD or self._calls.closed(stream_id) is not _RESET_BY_US:
            return False
        self.frames += 1
        self._allowance.hollow()
        return True
