"""Cohere's stream, to clients who speak it themselves: its bytes pass."""

from __future__ import annotations

from extproc import canonical
from extproc.errors import GatewayError
from extproc.formats.cohere.stream import EventStream
from extproc.framing.sse import SSEDecoder
from extproc.usage import Usage


class EventPassage:
    """See `Passage`; usage is always in the stream, whoever asked."""

    def __init__(self, include_usage: bool) -> None:
        del include_usage
        self.usage: Usage | None = None
        self.model: str | None = None
        self.error: GatewayError | None = None
        self._frames = SSEDecoder()
        self._reader = EventStream()

    def feed(self, data: bytes) -> bytes:
        """See `Passage.feed`.

        Raises:
            ProtocolViolation: the stream breaks its format.
        """
        for frame in self._frames.feed(data):
            for event in self._reader.feed(frame):
                if isinstance(event, canonical.Reported):
                    self.usage = event.usage
                elif isinstance(event, canonical.Failed):
                    self.error = event.error
        return data

    def close(self) -> bytes:
        """See `Passage.close`.

        Raises:
            TruncatedStream: the stream ended too early.
        """
        for frame in self._frames.close():
            self._reader.feed(frame)
        self._reader.close()
        return b""
