"""What becomes of a provider's stream: translated, or passed on and read on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Final, Protocol

from extproc import canonical
from extproc.errors import GatewayError, ProtocolViolation, TruncatedStream
from extproc.exchange.render import Leg
from extproc.formats import unsaid
from extproc.formats.answer_tool import Unwrapping
from extproc.formats.base import (
    AnyClientFormat,
    LastWords,
    Passage,
    StreamReader,
    StreamWriter,
    WriterContext,
)
from extproc.framing.base import Decoder
from extproc.policy.estimate import produced_tokens
from extproc.routing.pick import MOST_NAME
from extproc.usage import Usage, believed


class Stream(Protocol):
    """A stream's bytes in, the client's bytes out."""

    @property
    def usage(self) -> Usage | None:
        """What the provider has said so far."""

    @property
    def model(self) -> str | None:
        """The response model, once it has been said."""

    @property
    def error(self) -> GatewayError | None:
        """What the provider said went wrong; the client has been told."""

    @property
    def failure(self) -> GatewayError | None:
        """What broke the reading; the client has yet to be told."""

    @property
    def over(self) -> bool:
        """Nothing more is to be read."""

    @property
    def produced(self) -> int:
        """Output tokens so far, estimated from what has come."""

    @property
    def unsaid(self) -> tuple[str, ...]:
        """What of the answer the client could not be told, each once."""

    def feed(self, data: bytes) -> bytes:
        """Return the client's bytes for `data`, of any split."""

    def close(self) -> bytes:
        """Return what is due at the end.

        Raises:
            TruncatedStream: the provider ended too early.
        """

    def fail(self, error: GatewayError) -> bytes:
        """Return what ends the client's stream so that it sees the error."""


class Nothing:
    """No stream has begun."""

    produced = 0
    unsaid: tuple[str, ...] = ()
    usage: Usage | None = None
    model: str | None = None
    error: GatewayError | None = None
    failure: GatewayError | None = None
    over = True

    def feed(self, data: bytes) -> bytes:
        """Pass."""
        return data

    def close(self) -> bytes:
        """End."""
        return b""

    def fail(self, error: GatewayError) -> bytes:  # noqa: ARG002
        """End."""
        return b""


NOTHING: Final = Nothing()


class Translation:
    """A stream of another format: frames to events to the client's frames."""

    __slots__ = (
        "_client",
        "_finished",
        "_frames",
        "_letters",
        "_open",
        "_pieces",
        "_reader",
        "_writer",
        "error",
        "failure",
        "model",
        "over",
        "unsaid",
        "usage",
    )

    def __init__(
        self,
        frames: Decoder,
        reader: StreamReader,
        writer: StreamWriter,
        client: AnyClientFormat,
    ) -> None:
        self.unsaid: tuple[str, ...] = ()
        self._client = client
        self.usage: Usage | None = None
        self.model: str | None = None
        self.error: GatewayError | None = None
        self.failure: GatewayError | None = None
        self.over = False
        self._letters = 0
        self._pieces = 0
        self._open: dict[tuple[int, int], None] = {}
        self._finished: set[int] = set()
        self._frames = frames
        self._reader = reader
        self._writer = writer

    @property
    def produced(self) -> int:
        """See `Stream.produced`."""
        return max(self._pieces, self._letters // 4)

    def feed(self, data: bytes) -> bytes:
        """See `Stream.feed`."""
        out = []
        try:
            for frame in self._frames.feed(data):
                seen = self._reader.take(frame)
                if type(seen) is canonical.Delta:
                    out.append(self._writer.say(seen))
                    self._pieces += 1
                    self._letters += len(seen.text)
                    continue
                out.append(self._writer.write(seen))
                self._note(seen)
                if self.over:
                    break
        except GatewayError as error:
            # What came before it in the same read is the client's all the same.
            self.failure = error
            self.over = True
        return b"".join(out)

    def close(self) -> bytes:
        """See `Stream.close`.

        A frame that was cut in the middle says nothing: whether anything is missing, what
        came before it tells.
        """
        out = b""
        with contextlib.suppress(ProtocolViolation, TruncatedStream):
            for frame in self._frames.close():
                seen = self._reader.feed(frame)
                self._note(seen)
                out += self._writer.write(seen)
        if not self.over:
            seen = self._reader.close()
            self._note(seen)
            out += self._writer.write(seen)
        return out

    def fail(self, error: GatewayError) -> bytes:
        """See `Stream.fail`; the writer knows what its client has to hear at the end."""
        return self._writer.write([canonical.Failed(error)])

    def cut(self, usage: Usage) -> bytes:
        """Return what ends the client's stream here, as if it had become too long."""
        self.over = True
        choices = dict.fromkeys(choice for choice, _ in self._open) or {0: None}
        return self._writer.write(
            [
                *(canonical.PartEnded(index, choice) for choice, index in self._open),
                *(
                    canonical.Finished("length", choice=choice)
                    for choice in choices
                    if choice not in self._finished
                ),
                canonical.Reported(usage),
                canonical.Ended(),
            ]
        )

    def _note(self, seen: Sequence[canonical.Event]) -> None:
        for event in seen:
            if type(event) is canonical.Delta:
                self._pieces += 1
                self._letters += len(event.text)
                continue
            if isinstance(event, canonical.PartStarted):
                self._open[event.choice, event.index] = None
                self._report(event)
            elif isinstance(event, canonical.PartEnded):
                self._open.pop((event.choice, event.index), None)
            elif isinstance(event, canonical.Finished):
                self._finished.add(event.choice)
            elif isinstance(event, canonical.Reported):
                self.usage = believed(event.usage)
            elif isinstance(event, canonical.Started):
                self.model = event.model[:MOST_NAME] or None
                self.usage = believed(event.usage) or self.usage
            elif isinstance(event, canonical.Failed):
                self.error = event.error
                self.over = True
            else:
                self._report(event)

    def _report(self, event: canonical.Event) -> None:
        """Note what the client cannot be told of."""
        word = unsaid.of_event(event, self._client)
        if word is not None and word not in self.unsaid:
            self.unsaid += (word,)


class Metering:
    """A stream of the client's own format: its bytes pass and are read on the way."""

    __slots__ = (
        "_client", "_context", "_edge", "_format", "_frames", "_passage", "_size",
    )  # fmt: skip

    def __init__(
        self,
        passage: Passage,
        format_name: str,
        client: AnyClientFormat,
        context: WriterContext,
    ) -> None:
        self._passage = passage
        self._format = format_name
        self._client = client
        self._context = context
        self._frames = 0
        self._size = 0
        self._edge = b""

    @property
    def produced(self) -> int:
        """See `Stream.produced`."""
        return produced_tokens(self._format, self._frames, self._size)

    @property
    def usage(self) -> Usage | None:
        """See `Stream.usage`."""
        return believed(self._passage.usage)

    @property
    def unsaid(self) -> tuple[str, ...]:
        """Say nothing: all of it passes."""
        return ()

    @property
    def model(self) -> str | None:
        """See `Stream.model`."""
        model = self._passage.model
        return model and model[:MOST_NAME]

    @property
    def error(self) -> GatewayError | None:
        """See `Stream.error`."""
        return self._passage.error

    @property
    def failure(self) -> GatewayError | None:
        """Say none: nothing is read that could break."""
        return None

    @property
    def over(self) -> bool:
        """Say no: the provider's own words pass, and whatever follows them."""
        return False

    def feed(self, data: bytes) -> bytes:
        """See `Stream.feed`."""
        self._frames += data.count(b"data:")
        # A mark may be cut in two by the end of a read, but not by that of a line.
        if self._edge:
            self._frames += (self._edge + data[:4]).count(b"data:")
        self._edge = b"" if data[-1:] == b"\n" else (self._edge + data[-4:])[-4:]
        self._size += len(data)
        return self._passage.feed(data)

    def close(self) -> bytes:
        """See `Stream.close`."""
        return self._passage.close()

    def fail(self, error: GatewayError) -> bytes:
        """See `Stream.fail`."""
        if isinstance(self._passage, LastWords):
            return self._passage.fail(error, self._context)
        return self._client.write_error_event(error)


def reader_of(leg: Leg) -> StreamReader:
    """Return what reads the stream that `leg` answers with."""
    reader = leg.format.stream_reader()
    return Unwrapping(reader, leg.answer_tool) if leg.answer_tool else reader


def begin(
    leg: Leg, client: AnyClientFormat, context: WriterContext, *, written: bool
) -> Stream:
    """Return what becomes of the stream that `leg` answers with.

    It is `written` anew, or passes.
    """
    form = leg.format
    if not written:
        return Metering(form.passage(leg.show_usage), form.name, client, context)
    return Translation(
        leg.target.provider.framing.decoder(),
        reader_of(leg),
        client.stream_writer(context),
        client,
    )
