"""What is said in an exchange, kept where an operator has switched that on.

Off by default, and then there is none of it. It is no part of the `Completion`: money,
metrics and log lines are made of that, and nothing of this can get into them. Both ways
are bounded; a stream is read as it passes, and its bytes are not held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from extproc import canonical
from extproc.errors import GatewayError
from extproc.formats.answer_tool import unwrap
from extproc.formats.base import StreamReader
from extproc.framing.base import Decoder

if TYPE_CHECKING:
    from extproc.exchange.render import Leg

WIDTH: Final = 16
"""Bytes of a request's JSON that are held for each character of it that is to be shown:
beside words there are names, schemas, pictures and earlier turns. A longer body is not
read, only its head is kept."""


class Spoken(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One part of an answer."""

    kind: str
    """``text``, ``reasoning``, ``refusal``, ``tool_call``."""
    text: str
    """Of a tool call its arguments."""
    id: str = ""
    name: str = ""
    choice: int = 0


class Content(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What an exchange's client asked, and what it was answered."""

    id: str
    """``gw.id``."""
    format: str
    """Of the client's API."""
    asked: bytes
    """The request's body, or its head."""
    asked_bytes: int
    """How long the body is."""
    spoken: tuple[Spoken, ...] = ()
    finishes: tuple[tuple[int, str], ...] = ()
    """Why each choice stopped; none of one that was not heard to its end."""
    cut: bool = False
    """There was more in the answer."""

    @property
    def weight(self) -> int:
        """The bytes that it takes, about."""
        return len(self.asked) + sum(len(one.text) for one in self.spoken)


class _Part:
    __slots__ = ("id", "kind", "name", "texts")

    def __init__(self, kind: str, id: str, name: str) -> None:  # noqa: A002
        self.kind, self.id, self.name = kind, id, name
        self.texts: list[str] = []


class Capture:
    """Listens to one exchange."""

    __slots__ = (
        "_asked", "_asked_bytes", "_cut", "_finishes", "_format", "_frames", "_left",
        "_parts", "_reader",
    )  # fmt: skip

    def __init__(self, most: int, format: str, body: bytes) -> None:  # noqa: A002
        """`most` is how many characters of an answer are kept."""
        self._format = format
        self._asked = body if len(body) <= most * WIDTH else body[:most]
        self._asked_bytes = len(body)
        self._left = most
        self._cut = False
        self._parts: dict[tuple[int, int], _Part] = {}
        self._finishes: dict[int, str] = {}
        self._frames: Decoder | None = None
        self._reader: StreamReader | None = None

    def listen(self, frames: Decoder, reader: StreamReader) -> None:
        """Hear a stream of the provider's, by what it is read with."""
        self._frames, self._reader = frames, reader

    def feed(self, data: bytes) -> None:
        """Hear more of the stream; what cannot be read is somebody else's to tell."""
        frames, reader = self._frames, self._reader
        if frames is None or reader is None:
            return
        try:
            for frame in frames.feed(data):
                for event in reader.feed(frame):
                    self._note(event)
                    if self._cut:
                        return
        except GatewayError:
            self._deafen()

    def read(self, leg: Leg, body: bytes) -> None:
        """Hear the whole answer of `leg`; what cannot be read is not heard."""
        try:
            answer = leg.format.read_answer(body)
        except GatewayError:
            return
        self._hear(unwrap(answer, leg.answer_tool) if leg.answer_tool else answer)

    def _hear(self, answer: canonical.Answer) -> None:
        for number, choice in enumerate(answer.choices):
            self._finishes[number] = choice.finish
            for index, part in enumerate(choice.parts):
                key = (number, index)
                match part:
                    case canonical.Text(text):
                        self._add(key, "text", text)
                    case canonical.Refusal(text):
                        self._add(key, "refusal", text)
                    case canonical.Reasoning(text) if text:
                        self._add(key, "reasoning", text)
                    case canonical.ToolCall(id, name, arguments):
                        self._add(key, "tool_call", arguments, id, name)
                    case _:
                        pass

    def content(self, id: str) -> Content:  # noqa: A002  gw.id
        """Return what was heard."""
        return Content(
            id=id,
            format=self._format,
            asked=self._asked,
            asked_bytes=self._asked_bytes,
            spoken=tuple(
                Spoken(part.kind, "".join(part.texts), part.id, part.name, choice)
                for (choice, _), part in self._parts.items()
                if part.texts or part.kind == "tool_call"
            ),
            finishes=tuple(self._finishes.items()),
            cut=self._cut,
        )

    def _note(self, event: canonical.Event) -> None:
        if type(event) is canonical.Delta:
            part = self._parts.get((event.choice, event.index))
            if part is not None:
                self._put(part, event.text)
        elif type(event) is canonical.PartStarted:
            key = (event.choice, event.index)
            self._parts[key] = _Part(event.kind, event.id, event.name)
        elif type(event) is canonical.Finished:
            self._finishes[event.choice] = event.finish

    def _add(
        self,
        key: tuple[int, int],
        kind: str,
        text: str,
        id: str = "",  # noqa: A002
        name: str = "",
    ) -> None:
        part = self._parts[key] = _Part(kind, id, name)
        self._put(part, text)

    def _put(self, part: _Part, text: str) -> None:
        if len(text) > self._left:
            self._cut = True
            text = text[: self._left]
            self._deafen()
        self._left -= len(text)
        if text:
            part.texts.append(text)

    def _deafen(self) -> None:
        """Hear no more: it would cost, and could not be kept."""
        self._frames = self._reader = None
