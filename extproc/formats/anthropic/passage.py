"""Anthropic's message stream, to clients who speak it themselves: its bytes pass.

Whole frames pass as they are, so that whatever the gateway may have to add stands between
frames. Only frames that can tell usage, the model, an error or the end are read.
"""

from __future__ import annotations

import msgspec

from extproc.errors import GatewayError, ProtocolViolation, TruncatedStream
from extproc.formats.anthropic import wire
from extproc.formats.anthropic.answer import fold, usage_of
from extproc.formats.anthropic.errors import error_of
from extproc.framing.sse import MAX_FRAME, parse_frames, split_frames
from extproc.usage import Usage

LAST_EVENT = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class MessagePassage:
    """See `Passage`; usage is always in the stream, whoever asked."""

    def __init__(self, *, include_usage: bool = True) -> None:
        del include_usage
        self.usage: Usage | None = None
        self.model: str | None = None
        self.error: GatewayError | None = None
        self._counts = wire.WireUsage()
        self._held: list[bytes] = []  # the incomplete frame at the end
        self._held_bytes = 0
        self._stopped = False
        """The model has said why it stopped."""
        self._ended = False

    def feed(self, data: bytes) -> bytes:
        """See `Passage.feed`.

        Raises:
            ProtocolViolation: a frame grew over `MAX_FRAME`.
        """
        whole = self._cut(data)
        if self._held_bytes > MAX_FRAME:
            raise ProtocolViolation(f"a stream event is over {MAX_FRAME} bytes")
        # Deltas are most of a stream, and tell nothing that we need.
        if whole.find(b"message_") >= 0 or whole.find(b"error") >= 0:
            self._read(whole)
        return whole

    def close(self) -> bytes:
        """See `Passage.close`.

        Where the model has said why it stopped nothing is missing but the last event: it
        is added.

        Raises:
            TruncatedStream: what is held then is a part of a frame, which no client
                reads; it is dropped, so that an error event can follow.
        """
        tail = b"".join(self._held)
        self._held = []
        if tail:
            self._read(tail + b"\n\n")
        if self._ended:
            return tail
        if self._stopped:
            return LAST_EVENT
        raise TruncatedStream("the provider's stream ended before its last event")

    def _cut(self, data: bytes) -> bytes:
        """Return the frames that `data` completes, and hold the rest."""
        if not self._held:
            whole, tail = split_frames(data)
            if tail:
                self._held, self._held_bytes = [tail], len(tail)
            return whole
        # Of what is held only the line end before `data` can belong to an empty line:
        # a long frame is not searched again with each of its reads.
        edge = self._held[-1][-1:]
        whole, tail = split_frames(edge + data)
        if not whole:
            if data:
                self._held.append(data)
                self._held_bytes += len(data)
            return b""
        self._held.append(data[: len(whole) - len(edge)])
        whole = b"".join(self._held)
        self._held = [tail] if tail else []
        self._held_bytes = len(tail)
        return whole

    def _read(self, whole: bytes) -> None:
        for frame in parse_frames(whole):
            try:
                event = wire.read_event(frame.data)
            except msgspec.MsgspecError:
                continue  # The client's own SDK judges what it is sent.
            match event:
                case wire.MessageStart(message):
                    self.model = message.model
                    self._count(message.usage)
                case wire.MessageDelta(_, counts_or_none):
                    self._stopped = True
                    self._count(counts_or_none or wire.WireUsage())
                case wire.UsageUpdate(counts):
                    self._count(counts)
                case wire.Error(detail):
                    self.error = error_of(detail)
                    self._ended = True
                case wire.MessageStop():
                    self._ended = True
                case _:
                    pass

    def _count(self, counts: wire.WireUsage) -> None:
        self._counts = fold(self._counts, counts)
        self.usage = usage_of(self._counts)


def passage(include_usage: bool) -> MessagePassage:
    """See `ProviderFormat.passage`."""
    return MessagePassage(include_usage=include_usage)
