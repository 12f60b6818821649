"""``chat.completion.chunk`` frames of any server in, canonical events out.

OpenAI's own chunks are regular; others leave out the index of tool calls, repeat their
ids, give usage in a chunk with choices, finish twice, or end without ``[DONE]``. All that
has one meaning only is read.

Of the ``audio`` of chunks the transcript is text; that there was sound is told once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

import msgspec

from extproc import canonical
from extproc.errors import ProtocolViolation
from extproc.formats.base import UNREADABLE, State, TableStream, Taken
from extproc.formats.openai_chat import answer_wire, wire
from extproc.formats.openai_chat.choice_reader import ChoiceReader
from extproc.formats.openai_chat.finish import FAILED, failure
from extproc.formats.openai_errors import error_of
from extproc.formats.openai_usage import read_usage
from extproc.framing.sse import Frame

_CHUNK = msgspec.json.Decoder(answer_wire.Chunk)
_ANYTHING = msgspec.json.Decoder()

_KNOWN_NAMES = frozenset({"", "message", "error", "chat.completion.chunk"})
"""Names of frames that carry chunks; OpenAI's have none."""


class ChunkReader(TableStream[answer_wire.Event]):
    """See the module's docstring; the interface is `formats.base.StreamReader`."""

    NEXT: ClassVar[Mapping[tuple[State, type], State]] = {
        (State.IDLE, answer_wire.Chunk): State.OPEN,
        (State.IDLE, answer_wire.LastChunk): State.FINISHED,
        (State.IDLE, answer_wire.Failure): State.DONE,
        (State.OPEN, answer_wire.Chunk): State.OPEN,
        (State.OPEN, answer_wire.LastChunk): State.FINISHED,
        (State.OPEN, answer_wire.Failure): State.DONE,
        (State.OPEN, answer_wire.Done): State.DONE,
        (State.FINISHED, answer_wire.Chunk): State.FINISHED,
        (State.FINISHED, answer_wire.LastChunk): State.FINISHED,
        (State.FINISHED, answer_wire.Failure): State.DONE,
        (State.FINISHED, answer_wire.Done): State.DONE,
        (State.DONE, answer_wire.Done): State.DONE,
    }

    def __init__(self) -> None:
        super().__init__()
        self._started = False
        self._over = False
        self._id = ""
        self._choices: dict[int, ChoiceReader] = {}

    def parse(self, frame: Frame) -> answer_wire.Event | None:
        """Read a frame; see `TableStream.parse`."""
        if frame.name not in _KNOWN_NAMES or not frame.data:
            return None
        if frame.data.startswith(b"[DONE]"):
            return answer_wire.Done()
        chunk = _CHUNK.decode(frame.data)
        if wire.present(chunk.error) is not None:
            return answer_wire.Failure(chunk.error)
        for choice in chunk.choices or ():
            if choice.finish_reason:
                return answer_wire.LastChunk(chunk)
        return chunk

    def take(self, frame: Frame) -> Taken:
        """See `StreamReader.take`."""
        if self.state is not State.OPEN or frame.name not in _KNOWN_NAMES:
            return super().take(frame)
        try:
            chunk = _CHUNK.decode(frame.data)
        except UNREADABLE:
            return super().take(frame)  # the last is no JSON
        if (
            (choices := chunk.choices)
            and len(choices) == 1
            and chunk.usage is None
            and chunk.error is wire.ABSENT
        ):
            said = choices[0]
            choice = self._choices.get(said.index)
            if (
                choice is not None
                and said.delta is not None
                and said.logprobs is None
                and not said.finish_reason
                and (more := choice.more(said.delta)) is not None
            ):
                return more
        return super().take(frame)

    def translate(self, event: answer_wire.Event) -> Iterator[canonical.Event]:
        """Yield what a legal event amounts to; see `TableStream.translate`."""
        match event:
            case answer_wire.Chunk():
                yield from self._read_chunk(event)
            case answer_wire.LastChunk(chunk):
                yield from self._read_chunk(chunk)
            case answer_wire.Failure(error):
                self._over = True
                said = {"error": _ANYTHING.decode(error)}
                yield canonical.Failed(error_of(502, said))
            case answer_wire.Done():
                yield from self._end()

    def close(self) -> list[canonical.Event]:
        """See `StreamReader.close`; finish_reasons are end enough without ``[DONE]``."""
        if self.state is State.FINISHED and all(
            choice.finished for choice in self._choices.values()
        ):
            self.state = State.DONE
            return list(self._end())
        return super().close()

    def _read_chunk(self, chunk: answer_wire.Chunk) -> Iterator[canonical.Event]:
        if not self._started and (chunk.model or chunk.choices):
            self._started = True
            self._id = chunk.id or ""
            yield canonical.Started(
                id=self._id,
                model=chunk.model or "",
                created=chunk.created,
                service_tier=chunk.service_tier,
            )
        for said in chunk.choices or ():
            choice = self._choices.get(said.index)
            if choice is None:
                choice = ChoiceReader(said.index, self._id)
                self._choices[said.index] = choice
            if said.delta is not None:
                yield from choice.read(said.delta, said.logprobs)
            if said.finish_reason == FAILED:
                self._over = True
                yield canonical.Failed(failure())
                return
            if said.finish_reason:
                yield from choice.finish(said.finish_reason)
        usage = read_usage(chunk.usage)
        if usage is not None:
            yield canonical.Reported(usage, chunk.service_tier)

    def _end(self) -> Iterator[canonical.Event]:
        if self._over:
            return
        if not self._started:
            raise ProtocolViolation("the provider's stream has no answer")
        self._over = True
        for choice in self._choices.values():
            yield from choice.finish("stop")
        yield canonical.Ended()
