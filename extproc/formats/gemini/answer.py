"""A whole answer of Gemini's in the canonical form, and what a stream shares with it.

https://ai.google.dev/api/generate-content#generatecontentresponse. The parts are read by
the stream's own `ChoiceReader`, so that both say the same. Skipped: safety ratings.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from extproc import canonical
from extproc.errors import ProtocolViolation
from extproc.formats.base import Overview
from extproc.formats.gemini import wire
from extproc.formats.gemini.choice_reader import ChoiceReader
from extproc.formats.gemini.errors import error_of
from extproc.formats.gemini.logprobs import write_tokens
from extproc.usage import Usage


def read_answer(body: bytes) -> canonical.Answer:
    """Read a whole answer; see `ProviderFormat.read_answer`."""
    try:
        said = wire.read_chunk(body)
    except msgspec.MsgspecError as exc:
        raise ProtocolViolation(f"cannot read the provider's answer: {exc}") from exc
    if isinstance(said, wire.Failure):
        raise ProtocolViolation(error_of(502, said.said).message)
    chunk = said.chunk if isinstance(said, wire.LastChunk) else said
    answer_id = chunk.response_id or ""
    choices = {
        place if one.index is None else one.index: one
        for place, one in enumerate(chunk.candidates or ())
    }
    unsaid: dict[str, None] = {}
    read = [_choice(one, i, answer_id, unsaid) for i, one in sorted(choices.items())]
    if not read and wire.blocked(chunk):
        refused = ChoiceReader(0, answer_id).refuse(block_message(chunk))
        read = [_fold(refused, unsaid)]
    if not read:
        raise ProtocolViolation("the provider's answer has no candidates")
    return canonical.Answer(
        answer_id,
        chunk.model_version or "",
        tuple(read),
        usage_of(chunk.usage_metadata),
        unsaid=tuple(unsaid),
    )


def _choice(
    said: wire.Candidate, index: int, answer_id: str, unsaid: dict[str, None]
) -> canonical.Choice:
    reader = ChoiceReader(index, answer_id)
    reader.note(said)
    parts = said.content.parts if said.content else None
    events = [*reader.read(parts or ()), *reader.finish(said.finish_reason or "STOP")]
    choice = _fold(events, unsaid)
    scores = said.logprobs_result
    tokens = None if scores is None else write_tokens(scores)
    if tokens is None:
        return choice
    whole = b'{"content":%b,"refusal":null}' % bytes(tokens)
    return msgspec.structs.replace(choice, logprobs=msgspec.Raw(whole))


class _Open(msgspec.Struct):
    """A part that has begun."""

    start: canonical.PartStarted
    texts: list[str]
    citations: list[canonical.Citation]
    signature: str | None = None

    def part(self) -> canonical.AnswerPart:
        text = "".join(self.texts)
        match self.start.kind:
            case "text":
                return canonical.Text(text, citations=tuple(self.citations))
            case "reasoning":
                return canonical.Reasoning(text, self.signature)
            case "refusal":
                return canonical.Refusal(text)
            case "tool_call":
                start = self.start
                return canonical.ToolCall(
                    start.id, start.name, text, signature=self.signature
                )


def _fold(
    events: Iterable[canonical.Event], unsaid: dict[str, None]
) -> canonical.Choice:
    """Return the choice that its events amount to; the searches come first in it."""
    parts: list[_Open] = []
    searches: list[canonical.Search] = []
    finish: canonical.Finish = "stop"
    for event in events:
        match event:
            case canonical.PartStarted():
                parts.append(_Open(event, [], []))
            case canonical.Delta(text=text):
                parts[-1].texts.append(text)
            case canonical.SignatureDelta(signature=signature):
                parts[-1].signature = signature
            case canonical.Cited(citation=citation):
                parts[-1].citations.append(citation)
            case canonical.Searched(search):
                searches.append(search)
            case canonical.Unsaid(what):
                unsaid[what] = None
            case canonical.Finished(word):
                finish = word
            case _:
                pass  # the ends of parts
    return canonical.Choice((*searches, *(one.part() for one in parts)), finish)


# ---------------------------------------------------------------- shared with streams


def usage_of(counts: wire.UsageMetadata | None) -> Usage | None:
    """Return the counts in our convention.

    The prompt's count has what was read from a cache, but not what the provider's own
    tools brought; thoughts are counted beside the rest of the output.
    """
    if counts is None:
        return None
    thoughts = counts.thoughts_token_count or 0
    return Usage(
        input_tokens=(counts.prompt_token_count or 0)
        + (counts.tool_use_prompt_token_count or 0),
        output_tokens=(counts.candidates_token_count or 0) + thoughts,
        cache_read_input_tokens=counts.cached_content_token_count or 0,
        reasoning_output_tokens=thoughts,
        audio_input_tokens=max(
            _sound(counts.prompt_tokens_details) - _sound(counts.cache_tokens_details),
            0,
        ),
        audio_output_tokens=_sound(counts.candidates_tokens_details),
    )


def _sound(details: list[wire.ModalityTokenCount] | None) -> int:
    """Return the tokens that were heard or spoken, where the provider tells them."""
    if not details:
        return 0
    return sum(one.token_count or 0 for one in details if one.modality == "AUDIO")


def block_message(chunk: wire.Chunk) -> str:
    """Say why the prompt was refused."""
    feedback = chunk.prompt_feedback or wire.PromptFeedback()
    said = feedback.block_reason_message
    return said or f"The prompt was blocked: {feedback.block_reason}."


def overview(body: bytes) -> Overview:
    """Read what an answer says about itself; see `ProviderFormat.overview`."""
    try:
        said = wire.read_chunk(body)
    except msgspec.MsgspecError:
        return Overview()
    if isinstance(said, wire.Failure):
        return Overview()
    chunk = said.chunk if isinstance(said, wire.LastChunk) else said
    reasons = [one.finish_reason for one in chunk.candidates or ()]
    return Overview(
        chunk.model_version,
        usage_of(chunk.usage_metadata),
        reasons[0] if reasons else None,
    )
