"""Converse's stream, to clients who speak it themselves: its bytes pass.

They are decoded on the way, which checks them, and read for usage, errors and the end.
"""

from __future__ import annotations

from extproc import canonical
from extproc.errors import GatewayError
from extproc.formats.converse.stream import ConverseStream
from extproc.framing.eventstream import EventStreamDecoder
from extproc.usage import Usage


class ConversePassage:
    """See `Passage`; usage is always in the stream, whoever asked."""

    model: str | None = None
    """Converse names none."""

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.error: GatewayError | None = None
        self._frames = EventStreamDecoder()
        self._reader = ConverseStream()

    def feed(self, data: bytes) -> bytes:
        """See `Passage.feed`.

        Raises:
            ProtocolViolation: the stream breaks its framing or its format.
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
        self._frames.close()
        self._reader.close()
        return b""


def passage(include_usage: bool) -> ConversePassage:
    """See `ProviderFormat.passage`."""
    del include_usage
    return ConversePassage()
