"""Gemini's stream as canonical events: each frame is a piece of an answer.

https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent. There is
no last frame by name. A stream is whole when every candidate that it has begun has said
why it stopped, or the prompt was refused; that another candidate was still to come cannot
be told. Every frame counts the tokens so far: they are reported behind the last word, and
again if they change after that. A finish reason that we do not know is a ``stop``, counted
in `unknown`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from extproc import canonical
from extproc.formats.base import UNREADABLE, State, TableStream, Taken
from extproc.formats.gemini import wire
from extproc.formats.gemini.answer import block_message, usage_of
from extproc.formats.gemini.choice_reader import FINISH, ChoiceReader
from extproc.formats.gemini.errors import stream_error_of
from extproc.formats.gemini.logprobs import write_tokens
from extproc.framing.sse import Frame
from extproc.usage import Usage

_SILENT = frozenset({canonical.Unsaid})


class ChunkStream(TableStream[wire.Event]):
    """See the module's docstring; the interface is `formats.base.StreamReader`."""

    NEXT: ClassVar[Mapping[tuple[State, type], State]] = {
        (State.IDLE, wire.Chunk): State.OPEN,
        (State.IDLE, wire.LastChunk): State.FINISHED,
        (State.IDLE, wire.Failure): State.DONE,
        (State.OPEN, wire.Chunk): State.OPEN,
        (State.OPEN, wire.LastChunk): State.FINISHED,
        (State.OPEN, wire.Failure): State.DONE,
        (State.FINISHED, wire.Chunk): State.FINISHED,
        (State.FINISHED, wire.LastChunk): State.FINISHED,
        (State.FINISHED, wire.Failure): State.DONE,
    }

    def __init__(self) -> None:
        super().__init__()
        self._id: str | None = None
        self._choices: dict[int, ChoiceReader] = {}
        self._counts: wire.UsageMetadata | None = None
        """The latest: most chunks have them, and few are told."""
        self._reported: Usage | None = None

    @property
    def skipped(self) -> int:
        """Parts that the canonical stream cannot say."""
        return sum(choice.skipped for choice in self._choices.values())

    def parse(self, frame: Frame) -> wire.Event | None:
        """See `TableStream.parse`; frames have no names."""
        return wire.read_chunk(frame.data) if frame.data else None

    def take(self, frame: Frame) -> Taken:
        """See `StreamReader.take`."""
        try:
            chunk = wire.CHUNK.decode(frame.data)
        except UNREADABLE:
            return super().take(frame)
        if (
            self.state is State.OPEN
            and (candidates := chunk.candidates)
            and len(candidates) == 1
            and chunk.error is wire.ABSENT
            and chunk.prompt_feedback is None
        ):
            said = candidates[0]
            choice = self._choices.get(said.index or 0)
            if choice is not None and (more := choice.more(said)) is not None:
                self._counts = chunk.usage_metadata or self._counts
                return more
        return super().take(frame)

    def translate(self, event: wire.Event) -> list[canonical.Event]:
        """See `TableStream.translate`."""
        match event:
            case wire.Failure(said):
                return [canonical.Failed(stream_error_of(said))]
            case wire.LastChunk(chunk) | (wire.Chunk() as chunk):
                return self._read(chunk)

    def close(self) -> list[canonical.Event]:
        """See `StreamReader.close`; the upstream's end is the stream's."""
        if self.state is State.FINISHED and all(
            choice.finished for choice in self._choices.values()
        ):
            self.state = State.DONE
            return [*self._report(), canonical.Ended()]
        return super().close()

    def _read(self, chunk: wire.Chunk) -> list[canonical.Event]:
        out: list[canonical.Event] = []
        if chunk.usage_metadata is not None:
            self._counts = chunk.usage_metadata
        if self._id is None:
            self._id = chunk.response_id or ""
            model = chunk.model_version or ""
            out.append(canonical.Started(self._id, model, usage_of(self._counts)))
        for place, said in enumerate(chunk.candidates or ()):
            out += self._candidate(said, place if said.index is None else said.index)
        if wire.blocked(chunk):
            out += self._block(block_message(chunk))
        kinds = {type(event) for event in out}
        if canonical.Finished in kinds:
            out += self._report()
        if kinds <= _SILENT:
            # A model that thinks in silence sends its counts only.
            out.append(canonical.KeepAlive())
        return out

    def _candidate(self, said: wire.Candidate, index: int) -> Iterator[canonical.Event]:
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = ChoiceReader(index, self._id or "")
        choice.note(said)
        scores = said.logprobs_result
        tokens = None if scores is None else write_tokens(scores)
        if said.content is not None and said.content.parts:
            yield from choice.read(said.content.parts, tokens)
        elif tokens:
            yield from choice.read((), tokens)
        if said.finish_reason:
            self.unknown += said.finish_reason not in FINISH
            yield from choice.finish(said.finish_reason)

    def _block(self, words: str) -> Iterator[canonical.Event]:
        """End what has begun; a prompt that was refused at once has an answer too."""
        if not self._choices:
            self._choices[0] = choice = ChoiceReader(0, self._id or "")
            yield from choice.refuse(words)
        for choice in self._choices.values():
            yield from choice.finish("SAFETY")

    def _report(self) -> Iterator[canonical.Event]:
        usage = usage_of(self._counts)
        if usage is not None and usage != self._reported:
            self._reported = usage
            yield canonical.Reported(usage)
