"""What every framing offers: a decoder, and the content-type that announces it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

from extproc.framing.sse import Frame, SSEDecoder


class Decoder(Protocol):
    """Cut a byte stream into frames."""

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data`, of any split, completes.

        Raises:
            ProtocolViolation: the bytes are not of this framing, or a frame is too large.
        """

    def close(self) -> list[Frame]:
        """Return what an end without ceremony leaves.

        Raises:
            TruncatedStream: the stream ended inside a frame, where that shows.
        """


@dataclasses.dataclass(frozen=True, slots=True)
class Framing:
    """One way to cut a stream."""

    content_type: str
    """A streamed answer's ``content-type`` begins with it."""
    decoder: Callable[[], Decoder]


SSE = Framing("text/event-stream", SSEDecoder)
