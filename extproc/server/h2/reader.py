"""Cut the peer's bytes into frames, and put header blocks together again.

What this checks needs no stream: the preface, the size of frames, that SETTINGS comes
first, and that nothing comes between the frames of one header block.
"""

from __future__ import annotations

from collections.abc import Callable

from extproc.server.h2.errors import ConnectionFault, ErrorCode
from extproc.server.h2.frames import (
    ACK,
    END_HEADERS,
    HEAD,
    HEAD_SIZE,
    MAX_STREAM_ID,
    PADDED,
    PREFACE,
    PRIORITIZED,
    FrameType,
    unpad,
)
from extproc.server.h2.limits import Limits

OnMessages = Callable[[bytes, int], int]
"""Called with a buffer and where its next frame begins; takes what ordinary frames are
there, as many as it likes or none, and returns where the first one begins that it left."""

OnData = Callable[[int, int, bytes, int, int], None]
"""Called with flags, stream, and the buffer that holds the payload from ``start`` to
``stop``: the payload is not copied, for it is where almost all bytes are."""

OnFrame = Callable[[int, int, int, bytes], None]
"""Called with type, flags, stream and payload of any other frame. HEADERS come with their
whole block, bare of padding and priority."""

_unpack_head = HEAD.unpack_from
_DATA = FrameType.DATA.value
_HEADERS = FrameType.HEADERS.value


class FrameReader:
    """The peer's bytes in, of any split; calls of the three methods out."""

    __slots__ = (
        "_block",
        "_block_flags",
        "_block_stream",
        "_limits",
        "_needed",
        "_on_data",
        "_on_frame",
        "_on_messages",
        "_pieces",
        "_preface_left",
        "_settled",
        "_size",
        "frames",
    )

    def __init__(
        self,
        limits: Limits,
        on_messages: OnMessages,
        on_data: OnData,
        on_frame: OnFrame,
    ) -> None:
        self.frames = 0
        """Whole ones, so far, but for those that `on_messages` took."""
        self._limits = limits
        self._on_messages = on_messages
        self._on_data = on_data
        self._on_frame = on_frame
        self._preface_left = PREFACE
        self._settled = False
        """Whether the peer's first SETTINGS is here."""
        # A frame can take many reads: its pieces are joined once, when all are here.
        self._pieces: list[bytes] = []
        self._size = 0
        self._needed = HEAD_SIZE
        self._block: list[bytes] | None = None
        """The header block that goes on in CONTINUATION frames."""
        self._block_stream = 0
        self._block_flags = 0

    def feed(self, buffer: bytes) -> None:
        """Take the peer's next bytes.

        Raises:
            ConnectionFault: found here, or raised by what is called.
        """
        if self._preface_left:
            buffer = self._skip_preface(buffer)
        if self._pieces:
            self._pieces.append(buffer)
            self._size += len(buffer)
            if self._size < self._needed:
                return
            buffer = b"".join(self._pieces)
            self._pieces.clear()
        position, end = 0, len(buffer)
        if self._settled and self._block is None:
            position = self._on_messages(buffer, 0)
        if position < end:
            position = self._read(buffer, position, end)
            if position < end:
                self._pieces.append(buffer[position:])
                self._size = end - position

    def _read(self, buffer: bytes, position: int, end: int) -> int:
        """Act on the whole frames that are left of `buffer`; return where they end."""
        largest = self._limits.frame
        self._needed = HEAD_SIZE
        while end - position >= HEAD_SIZE:
            word, flags, stream_id = _unpack_head(buffer, position)
            size, kind = word >> 8, word & 0xFF
            # Section 4.2 would let us reset only the stream for some types; the rest of
            # such a frame is then up to 16 MiB to read and throw away.
            if size > largest:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "frame too large")
            stop = position + HEAD_SIZE + size
            if stop > end:
                self._needed = stop - position
                break
            self.frames += 1
            start, position = stop - size, stop
            stream_id &= MAX_STREAM_ID
            if not self._settled:
                self._check_first(kind, flags)
            if kind == _HEADERS or self._block is not None:
                self._headers(kind, flags, stream_id, buffer[start:stop])
                if self._block is None:
                    position = self._on_messages(buffer, stop)
            elif kind == _DATA:
                self._on_data(flags, stream_id, buffer, start, stop)
            else:
                self._on_frame(kind, flags, stream_id, buffer[start:stop])
        return position

    def _skip_preface(self, buffer: bytes) -> bytes:
        """Check as much of the preface as is here, and return what is behind (3.4)."""
        expected = self._preface_left[: len(buffer)]
        if not buffer.startswith(expected):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "no HTTP/2 preface")
        self._preface_left = self._preface_left[len(expected) :]
        return buffer[len(expected) :]

    def _check_first(self, kind: int, flags: int) -> None:
        if kind != FrameType.SETTINGS or flags & ACK:
            raise ConnectionFault(
                ErrorCode.PROTOCOL_ERROR, "first frame is not SETTINGS"
            )
        self._settled = True

    def _headers(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Collect a header block, and pass it on when it is whole."""
        block = self._block
        if block is None:
            start, stop = 0, len(payload)
            if flags & PADDED:
                start, stop = unpad(payload, start, stop)
            if flags & PRIORITIZED:
                start += 5
                if start > stop:
                    raise ConnectionFault(
                        ErrorCode.FRAME_SIZE_ERROR, "no room for the priority"
                    )
            whole = payload[start:stop]
            if not flags & END_HEADERS:
                self._block = [whole]
                self._block_stream, self._block_flags = stream_id, flags
        else:
            if kind != FrameType.CONTINUATION or stream_id != self._block_stream:
                raise ConnectionFault(
                    ErrorCode.PROTOCOL_ERROR, "header block interrupted"
                )
            block.append(payload)
            if len(block) > self._limits.continuations + 1:
                raise ConnectionFault(
                    ErrorCode.ENHANCE_YOUR_CALM, "header block in too many frames"
                )
            whole = b"".join(block)
        if len(whole) > self._limits.header_block:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header block too large")
        if flags & END_HEADERS:
            flags, self._block = (flags if block is None else self._block_flags), None
            self._on_frame(_HEADERS, flags, stream_id, whole)
