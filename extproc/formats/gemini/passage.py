"""Gemini's stream, to clients who speak it themselves: its bytes pass, whole frames."""

from __future__ import annotations

import msgspec

from extproc.errors import GatewayError, ProtocolViolation, TruncatedStream
from extproc.formats.gemini import wire
from extproc.formats.gemini.answer import usage_of
from extproc.formats.gemini.errors import stream_error_of
from extproc.framing.sse import MAX_FRAME, parse_frames, split_frames
from extproc.usage import Usage


class ChunkPassage:
    """See `Passage`; usage is always in the stream, whoever asked."""

    def __init__(self, include_usage: bool) -> None:
        del include_usage
        self.usage: Usage | None = None
        self.model: str | None = None
        self.error: GatewayError | None = None
        self._held = b""  # the incomplete frame at the end
        self._ended = False

    def feed(self, data: bytes) -> bytes:
        """See `Passage.feed`.

        Raises:
            ProtocolViolation: a frame grew over `MAX_FRAME`.
        """
        whole, self._held = split_frames(self._held + data)
        if len(self._held) > MAX_FRAME:
            raise ProtocolViolation(f"a stream event is over {MAX_FRAME} bytes")
        self._read(whole)
        return whole

    def close(self) -> bytes:
        """See `Passage.close`."""
        tail, self._held = self._held, b""
        self._read(tail + b"\n\n")
        if not self._ended:
            raise TruncatedStream("the provider's stream ended before its last event")
        return tail

    def _read(self, whole: bytes) -> None:
        for frame in parse_frames(whole):
            try:
                said = wire.read_chunk(frame.data)
            except msgspec.MsgspecError:
                continue  # The client's own SDK judges what it is sent.
            match said:
                case wire.Failure(words):
                    self.error = stream_error_of(words)
                    self._ended = True
                case wire.LastChunk(chunk):
                    self._ended = True
                    self._note(chunk)
                case wire.Chunk():
                    self._note(said)

    def _note(self, chunk: wire.Chunk) -> None:
        self.model = chunk.model_version or self.model
        self.usage = usage_of(chunk.usage_metadata) or self.usage
