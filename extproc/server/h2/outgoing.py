"""The sending half: what the peer's windows let go now, and what waits for them.

Flow control is https://www.rfc-editor.org/rfc/rfc9113#section-5.2: DATA needs room in the
stream's window and in the connection's, and nothing else needs any.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from extproc.server.h2.errors import ConnectionFault, ErrorCode, StreamFault
from extproc.server.h2.frames import (
    DEFAULT_MAX_FRAME,
    DEFAULT_WINDOW,
    HEAD,
    MAX_WINDOW,
    FrameType,
    rst_stream,
)
from extproc.server.h2.messages import MESSAGE_HEAD, PREFIX, PREFIX_SIZE
from extproc.server.h2.streams import Stream, StreamState

_DATA = FrameType.DATA.value


class Outgoing:
    """Bytes on their way to the peer."""

    __slots__ = (
        "_chunks",
        "_waiting",
        "initial_window",
        "max_frame",
        "queued",
        "window",
    )

    def __init__(self) -> None:
        self._chunks: list[bytes | memoryview] = []
        self._waiting: dict[int, Stream] = {}
        """Streams with pending bytes, the one that has waited longest first."""
        self.window = DEFAULT_WINDOW
        """Bytes of all streams that we may send."""
        self.initial_window = DEFAULT_WINDOW
        self.max_frame = DEFAULT_MAX_FRAME
        self.queued = 0
        """Bytes that wait for a window."""

    def take(self) -> bytes:
        """Return all that can be sent now, and forget it."""
        if not self._chunks:
            return b""
        chunks, self._chunks = self._chunks, []
        return b"".join(chunks)

    def write(self, frame: bytes) -> None:
        """Send a frame that no window holds back."""
        self._chunks.append(frame)

    def send_now(self, stream: Stream, message: bytes) -> bool:
        """Send a message in one frame, unless a window or its size is against it."""
        size = PREFIX_SIZE + len(message)
        # Where bytes are pending a window is empty, so that none are overtaken.
        if size > self.window or size > stream.window or size > self.max_frame:
            return False
        self.window -= size
        stream.window -= size
        head = MESSAGE_HEAD.pack(size << 8 | _DATA, 0, stream.id, 0, size - PREFIX_SIZE)
        self._chunks += head, message
        return True

    def send(self, stream: Stream, messages: Sequence[bytes], limit: int) -> bool:
        """Send messages, or queue them; nothing is done if over `limit` bytes would wait."""
        size = PREFIX_SIZE * len(messages) + sum(map(len, messages))
        if self.queued + size > limit:
            return False
        # Where bytes are pending a window is empty, so that none are overtaken.
        if size <= self.max_frame and size <= self.window and size <= stream.window:
            self.window -= size
            stream.window -= size
            head = HEAD.pack(size << 8 | _DATA, 0, stream.id)
            for message in messages:
                self._chunks += head + PREFIX.pack(0, len(message)), message
                head = b""
            return True
        if stream.pending is None:
            stream.pending = deque()
        for message in messages:
            stream.pending.extend(self._pieces(message))
        self.queued += size
        self._waiting[stream.id] = stream
        self._drain(stream)
        return True

    def end(self, stream: Stream, frame: bytes) -> bool:
        """Send the frame that ends the stream, and return whether it went at once."""
        stream.end = frame
        return not stream.pending and self._end(stream)

    def forget(self, stream: Stream) -> None:
        """Drop what waits for a stream that is reset."""
        if stream.pending:
            self.queued -= sum(map(len, stream.pending))
            stream.pending = None
        self._waiting.pop(stream.id, None)

    def grant(self, increment: int) -> list[Stream]:
        """Widen the connection's window; return the streams that this brings to an end.

        Raises:
            ConnectionFault: no window may be that wide.
        """
        if self.window + increment > MAX_WINDOW:
            raise ConnectionFault(
                ErrorCode.FLOW_CONTROL_ERROR, "connection window too wide"
            )
        self.window += increment
        return self._drain_all()

    def grant_stream(self, stream: Stream, increment: int) -> bool:
        """Widen a stream's window; return whether this brings the stream to its end.

        Raises:
            StreamFault: no window may be that wide.
        """
        if stream.window + increment > MAX_WINDOW:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "stream window too wide")
        stream.window += increment
        return bool(stream.pending) and self._drain(stream)

    def resize(self, initial_window: int, streams: Iterable[Stream]) -> list[Stream]:
        """Move all streams to a new INITIAL_WINDOW_SIZE; return those that now end.

        Raises:
            ConnectionFault: a stream's window would be wider than any may be.
        """
        change = initial_window - self.initial_window
        self.initial_window = initial_window
        for stream in streams:
            stream.window += change
            if stream.window > MAX_WINDOW:
                raise ConnectionFault(
                    ErrorCode.FLOW_CONTROL_ERROR, "stream window too wide"
                )
        return self._drain_all()

    def _pieces(self, message: bytes) -> Iterator[memoryview]:
        """Put the prefix into the first frame's worth, and leave the rest uncopied."""
        first = self.max_frame - PREFIX.size
        yield memoryview(PREFIX.pack(0, len(message)) + message[:first])
        if len(message) > first:
            yield memoryview(message)[first:]

    def _drain_all(self) -> list[Stream]:
        """Send a frame of each waiting stream in turn, for as long as one can go."""
        ended = []
        progress = bool(self._waiting)
        while progress and self.window > 0:
            progress = False
            for stream in tuple(self._waiting.values()):
                if self._step(stream):
                    progress = True
                    # To the back of the line, so that no stream starves another.
                    del self._waiting[stream.id]
                    if stream.pending:
                        self._waiting[stream.id] = stream
                    elif self._end(stream):
                        ended.append(stream)
        return ended

    def _drain(self, stream: Stream) -> bool:
        """Send what one stream can; return whether its end went too."""
        while self._step(stream):
            pass
        if stream.pending:
            return False
        self._waiting.pop(stream.id, None)
        return self._end(stream)

    def _step(self, stream: Stream) -> bool:
        """Send one DATA frame of a waiting stream, if the windows have room."""
        room = min(self.window, stream.window, self.max_frame)
        if not stream.pending or room <= 0:
            return False
        piece = stream.pending[0]
        if len(piece) > room:
            stream.pending[0] = piece[room:]
            piece = piece[:room]
        else:
            stream.pending.popleft()
        size = len(piece)
        self.window -= size
        stream.window -= size
        self.queued -= size
        self._chunks.append(HEAD.pack(size << 8 | _DATA, 0, stream.id))
        self._chunks.append(piece)
        return True

    def _end(self, stream: Stream) -> bool:
        """Write the frame that ends the stream, once there is one."""
        if stream.end is None:
            return False
        last = stream.end
        if stream.state is StreamState.OPEN:
            # The answer is complete, so the rest of the request is not wanted (8.1).
            last += rst_stream(stream.id, ErrorCode.NO_ERROR)
        self._chunks.append(last)
        return True
