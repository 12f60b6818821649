"""One choice of a stream: its deltas in, the events of its parts out.

OpenAI's deltas have members, not parts: a part begins where another member than before
has something to say. Tool calls may interleave, so one is over only when the next begins
and its arguments are whole JSON, or when the choice is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import msgspec

from extproc import canonical
from extproc.errors import ProtocolViolation
from extproc.formats.openai_annotations import read_annotations
from extproc.formats.openai_chat import answer_wire, wire
from extproc.formats.openai_chat.answer_reader import made_up_id
from extproc.formats.openai_chat.finish import read_finish
from extproc.formats.openai_chat.references import read_references
from extproc.formats.openai_chat.wholeness import Wholeness

_UNSCORED = answer_wire.Logprobs()
_NONE = (wire.ABSENT, msgspec.Raw(b"null"), msgspec.Raw(b"[]"))
"""No log probabilities, in three spellings."""


@dataclasses.dataclass(slots=True)
class _Call:
    """A tool call that has begun."""

    key: int | None
    """The server's index for it."""
    id: str
    name: str = ""
    part: int = -1
    """Which part it is, once its name is known and the part has begun."""
    text: str = ""
    """The arguments that wait until the part can begin."""
    whole: Wholeness = dataclasses.field(default_factory=Wholeness)
    """Whether the arguments are."""
    custom: bool = False
    ended: bool = False


class ChoiceReader:
    """See the module's docstring."""

    __slots__ = (
        "_answer_id", "_block", "_calls", "_heard", "_index", "_kind", "_parts",
        "_refused", "finished",
    )  # fmt: skip

    def __init__(self, index: int, answer_id: str) -> None:
        self._index = index
        self._answer_id = answer_id
        self._parts = 0
        """How many parts have begun."""
        self._kind: canonical.PartKind | None = None
        """The open part that is no tool call; it is the one that began last."""
        self._block: int | None = None
        """The index of the open thinking block, where its server gives one."""
        self._calls: list[_Call] = []
        self._refused = False
        self._heard = False
        """It speaks, which no event can say."""
        self.finished = False

    def more(self, delta: answer_wire.AnsweredMessage) -> canonical.Delta | None:
        """Return the piece that a delta is which goes on with an open part; else None.

        It says no more than that.
        """
        if (
            self.finished
            or delta.refusal
            or delta.function_call is not None
            or delta.thinking_blocks
            or delta.audio is not None
            or delta.annotations is not wire.ABSENT
            or delta.references is not wire.ABSENT
        ):
            return None
        thought = delta.reasoning_content or delta.reasoning
        if delta.tool_calls:
            if self._kind is None and not delta.content and not thought:
                return self._more_arguments(delta.tool_calls)
            return None
        if self._kind == "text":
            text, other = delta.content, thought
        elif self._kind == "reasoning":
            text, other = thought, delta.content
        else:
            return None
        if other or not text:
            return None
        return canonical.Delta(self._parts - 1, text, self._index)

    def _more_arguments(
        self, said: list[answer_wire.AnsweredToolCall]
    ) -> canonical.Delta | None:
        """Return the piece that `said` is, if it goes on with the last call."""
        if len(said) != 1 or not self._calls:
            return None
        call, piece = self._calls[-1], said[0]
        function = piece.function
        if (
            function is None
            or function.name
            or not function.arguments
            or piece.id
            or piece.custom is not None
            or piece.extra_content is not wire.ABSENT
            or piece.index != call.key
            or call.part < 0
            or call.ended
            or call.custom
        ):
            return None
        call.whole.feed(function.arguments)
        return canonical.Delta(call.part, function.arguments, self._index)

    def read(
        self,
        delta: answer_wire.AnsweredMessage,
        logprobs: answer_wire.Logprobs | None = None,
    ) -> Iterator[canonical.Event]:
        """Yield what `delta`, whose tokens `logprobs` are, amounts to.

        Raises:
            ProtocolViolation: it brings content after the end, or a call without name.
        """
        if self.finished:
            # Some servers repeat the finish_reason, or close with an empty delta.
            if delta.content or delta.tool_calls or delta.refusal:
                raise ProtocolViolation("content after a choice was finished")
            return
        if delta.thinking_blocks:
            for block in delta.thinking_blocks:
                yield from self._read_thinking(block)
        elif thought := delta.reasoning_content or delta.reasoning:
            yield from self._text("reasoning", thought)
        scored = logprobs or _UNSCORED
        if delta.content or scored.content not in _NONE:
            yield from self._text("text", delta.content or "", scored.content)
        if self._kind == "text":
            yield from self._read_citations(delta)
        if delta.audio is not None:
            yield from self._read_sound(delta.audio)
        if delta.refusal or scored.refusal not in _NONE:
            self._refused = True
            yield from self._text("refusal", delta.refusal or "", scored.refusal)
        for call in delta.tool_calls or ():
            yield from self._read_call(call)
        if delta.function_call is not None:
            yield from self._read_call(
                answer_wire.AnsweredToolCall(index=-1, function=delta.function_call)
            )

    def _read_sound(self, said: answer_wire.AnsweredAudio) -> Iterator[canonical.Event]:
        if not self._heard:
            self._heard = True
            yield canonical.Unsaid("audio")
        if said.transcript:
            yield from self._text("text", said.transcript)

    def _read_citations(
        self, delta: answer_wire.AnsweredMessage
    ) -> Iterator[canonical.Event]:
        cited: tuple[canonical.Citation, ...] = ()
        if delta.annotations not in _NONE:
            # OpenAI's models that search give them all behind the text.
            cited = read_annotations(delta.annotations)
        if delta.references:
            cited += read_references(delta.references)
        for citation in cited:
            yield canonical.Cited(self._open_text(), citation, self._index)

    def finish(self, reason: str) -> Iterator[canonical.Event]:
        """Yield the end of all parts and of the choice, if that has not come already."""
        if self.finished:
            return
        self.finished = True
        yield from self._end_text()
        for call in self._calls:
            if call.part < 0:
                raise ProtocolViolation("a tool call of the stream has no name")
            if not call.ended:
                yield canonical.PartEnded(call.part, choice=self._index)
        finish = read_finish(reason, called=bool(self._calls), refused=self._refused)
        yield canonical.Finished(finish, choice=self._index)

    def _begin(
        self,
        kind: canonical.PartKind,
        call: _Call | None = None,
        encrypted: str | None = None,
    ) -> canonical.PartStarted:
        part, self._parts = self._parts, self._parts + 1
        if call is None:
            self._kind = kind
        return canonical.PartStarted(
            index=part,
            kind=kind,
            id=call.id if call else "",
            name=call.name if call else "",
            encrypted=encrypted,
            custom=call.custom if call else False,
            choice=self._index,
        )

    # ------------------------------------------------------------ words and thoughts

    def _text(
        self, kind: canonical.PartKind, text: str, scores: msgspec.Raw = wire.ABSENT
    ) -> Iterator[canonical.Event]:
        if self._kind != kind:
            yield from self._end_text()
            yield from self._end_whole_calls()
            yield self._begin(kind)
        logprobs = None if scores in _NONE else scores
        if text or logprobs is not None:
            yield canonical.Delta(self._open_text(), text, self._index, logprobs)

    def _open_text(self) -> int:
        return self._parts - 1

    def _end_text(self) -> Iterator[canonical.Event]:
        if self._kind is not None:
            yield canonical.PartEnded(self._open_text(), choice=self._index)
            self._kind = None
            self._block = None

    def _read_thinking(
        self, block: answer_wire.AnsweredThinking
    ) -> Iterator[canonical.Event]:
        if block.data:
            yield from self._end_text()
            yield from self._end_whole_calls()
            yield self._begin("reasoning", encrypted=block.data)
            yield from self._end_text()
            return
        if self._kind == "reasoning" and self._block != block.index:
            yield from self._end_text()
        if block.thinking or block.signature:
            yield from self._text("reasoning", block.thinking or "")
            self._block = block.index
        if block.signature:
            yield canonical.SignatureDelta(
                self._open_text(), block.signature, choice=self._index
            )
            # A signature is the last of a block.
            yield from self._end_text()

    # ------------------------------------------------------------ tool calls

    def _read_call(
        self, said: answer_wire.AnsweredToolCall
    ) -> Iterator[canonical.Event]:
        call = self._find(said)
        if call is None:
            yield from self._end_text()
            yield from self._end_whole_calls()
            call = _Call(
                said.index, said.id or made_up_id(self._answer_id, len(self._calls))
            )
            self._calls.append(call)
        call.custom = call.custom or said.custom is not None
        name, text = _said_by(said)
        call.whole.feed(text)
        if call.part < 0:
            call.name += name
            call.text += text
            if call.name:
                yield from self._end_text()
                yield (started := self._begin("tool_call", call))
                call.part = started.index
                text, call.text = call.text, ""
        if call.part < 0:
            return
        if call.ended:
            if text.strip():
                raise ProtocolViolation("arguments for a tool call that was whole")
            return
        if text:
            yield canonical.Delta(call.part, text, choice=self._index)
        signature = wire.thought_signature(said.extra_content)
        if signature:
            yield canonical.SignatureDelta(call.part, signature, choice=self._index)

    def _find(self, said: answer_wire.AnsweredToolCall) -> _Call | None:
        """Return the call that `said` belongs to; None is a new one."""
        named = said.function is not None and bool(said.function.name)
        if said.id:
            # The same index for every call, and an index only on some deltas: both
            # occur. The id tells calls apart, but for servers that make a new one up
            # for every delta; those name the function only once.
            for call in self._calls:
                if call.id == said.id:
                    return call
            if named or said.custom is not None:
                return None
        if said.index is not None:
            for call in reversed(self._calls):
                if call.key == said.index:
                    return call
            return None
        if named or said.id:
            return None
        if not self._calls:
            raise ProtocolViolation("arguments without a tool call")
        return self._calls[-1]

    def _end_whole_calls(self) -> Iterator[canonical.Event]:
        for call in self._calls:
            # One that is not whole may be interleaved with the others.
            if call.whole and not call.ended and call.part >= 0:
                call.ended = True
                yield canonical.PartEnded(call.part, choice=self._index)


def _said_by(call: answer_wire.AnsweredToolCall) -> tuple[str, str]:
    """Return the name and the text of a piece of a call."""
    if call.custom is not None:
        return call.custom.name or "", call.custom.input or ""
    if call.function is not None:
        return call.function.name or "", call.function.arguments or ""
    return "", ""
