"""A stream of a server with manners of its own, set right before anybody reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from extproc import canonical
from extproc.errors import GatewayError, ProtocolViolation
from extproc.formats.base import Taken
from extproc.formats.openai_chat.chunk_reader import ChunkReader
from extproc.formats.openai_chat.quirks.chunks import ChunkKind
from extproc.formats.openai_passage import ChunkPassage
from extproc.framing.sse import (
    MAX_FRAME,
    Frame,
    cut_frames,
    encode_frame,
    parse_frames,
    split_frames,
)
from extproc.usage import Usage

Makers = Sequence[Callable[[], ChunkKind]]


class _Kinds:
    """The kinds of one stream, one after the other."""

    __slots__ = ("_kinds", "_marks")

    def __init__(self, makers: Makers) -> None:
        self._kinds = [make() for make in makers]
        self._marks = tuple({mark for kind in self._kinds for mark in kind.marks})

    @property
    def usage(self) -> Usage | None:
        """What one of them has seen and not yet passed on."""
        for kind in self._kinds:
            if kind.usage is not None:
                return kind.usage
        return None

    def concern(self, data: bytes) -> bool:
        """Say whether any of them has to look at `data`."""
        for mark in self._marks:  # noqa: SIM110  a generator costs more than all else
            if mark in data:
                return True
        return False

    def change(self, payload: bytes, start: int = 0) -> list[bytes]:
        """Return what takes the place of `payload`."""
        payloads = [payload]
        for kind in self._kinds[start:]:
            payloads = [
                out
                for one in payloads
                for out in (
                    kind.change(one) if any(m in one for m in kind.marks) else (one,)
                )
            ]
        return payloads

    def close(self) -> Iterator[bytes]:
        """Yield the payloads due at the end."""
        for i, kind in enumerate(self._kinds):
            for payload in kind.close():
                yield from self.change(payload, i + 1)


class QuirkyPassage:
    """A `ChunkPassage` of what the kinds make of the provider's bytes.

    Whole events wait for nothing; an incomplete one waits for its rest.
    """

    __slots__ = ("_inner", "_kinds", "_tail")

    def __init__(self, show_usage: bool, makers: Makers) -> None:
        self._inner = ChunkPassage(show_usage)
        self._kinds = _Kinds(makers)
        self._tail = b""

    @property
    def usage(self) -> Usage | None:
        """See `Passage.usage`."""
        return self._inner.usage or self._kinds.usage

    @property
    def model(self) -> str | None:
        """See `Passage.model`."""
        return self._inner.model

    @property
    def error(self) -> GatewayError | None:
        """See `Passage.error`."""
        return self._inner.error

    def feed(self, data: bytes) -> bytes:
        """See `Passage.feed`."""
        whole, self._tail = split_frames(self._tail + data if self._tail else data)
        if len(self._tail) > MAX_FRAME:
            raise ProtocolViolation(f"a stream event is over {MAX_FRAME} bytes")
        return self._inner.feed(self._changed(whole)) if whole else b""

    def close(self) -> bytes:
        """See `Passage.close`."""
        tail, self._tail = self._tail, b""
        out = b""
        if tail.strip():
            out = self._inner.feed(self._changed(tail + b"\n\n"))
        due = b"".join(map(encode_frame, self._kinds.close()))
        return out + (self._inner.feed(due) if due else b"") + self._inner.close()

    def _changed(self, whole: bytes) -> bytes:
        if not self._kinds.concern(whole):
            return whole
        return b"".join(map(self._change, cut_frames(whole)))

    def _change(self, cut: bytes) -> bytes:
        if not self._kinds.concern(cut):
            return cut
        out = []
        for frame in parse_frames(cut):
            payloads = self._kinds.change(frame.data)
            if payloads == [frame.data]:
                return cut
            out += [encode_frame(payload, frame.name) for payload in payloads]
        return b"".join(out)


class QuirkyReader:
    """A `ChunkReader` of what the kinds make of the provider's frames."""

    def __init__(self, makers: Makers) -> None:
        self._inner = ChunkReader()
        self._kinds = _Kinds(makers)

    def take(self, frame: Frame) -> Taken:
        """See `StreamReader.take`."""
        if self._kinds.concern(frame.data):
            return self.feed(frame)
        return self._inner.take(frame)

    def feed(self, frame: Frame) -> list[canonical.Event]:
        """See `StreamReader.feed`."""
        if not self._kinds.concern(frame.data):
            return self._inner.feed(frame)
        return [
            event
            for payload in self._kinds.change(frame.data)
            for event in self._inner.feed(Frame(frame.name, payload))
        ]

    def close(self) -> list[canonical.Event]:
        """See `StreamReader.close`."""
        due = [
            event
            for payload in self._kinds.close()
            for event in self._inner.feed(Frame("", payload))
        ]
        return due + self._inner.close()
