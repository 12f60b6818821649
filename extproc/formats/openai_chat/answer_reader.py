"""A ``chat.completion`` of any server in, the canonical answer out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from extproc import canonical
from extproc.errors import ProtocolViolation
from extproc.formats.openai_annotations import read_annotations
from extproc.formats.openai_chat import answer_wire, wire
from extproc.formats.openai_chat.finish import FAILED, failure, read_finish
from extproc.formats.openai_chat.references import read_references
from extproc.formats.openai_chat.wire import present
from extproc.formats.openai_errors import error_of
from extproc.formats.openai_usage import read_usage

_DECODER = msgspec.json.Decoder(answer_wire.Completion)
_FAILURE = msgspec.json.Decoder(answer_wire.Failure)
_ANYTHING = msgspec.json.Decoder()


def read_answer(body: bytes) -> canonical.Answer:
    """Read a whole answer.

    Raises:
        ProtocolViolation: it is not a chat completion.
    """
    try:
        said = _DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ProtocolViolation(_what_else(body) or f"not an answer: {exc}") from None
    if not said.choices:
        raise ProtocolViolation("the provider's answer has no choices")
    answer_id = said.id or ""
    return canonical.Answer(
        id=answer_id,
        model=said.model or "",
        choices=tuple(
            _read_choice(choice, answer_id)
            for choice in sorted(said.choices, key=lambda choice: choice.index)
        ),
        usage=read_usage(said.usage),
        created=said.created,
        service_tier=said.service_tier,
    )


def _what_else(body: bytes) -> str | None:
    """Return what an error says that came with a status of success."""
    try:
        error = _ANYTHING.decode(_FAILURE.decode(body).error)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return error_of(502, {"error": error}).message


def _read_choice(said: answer_wire.Choice, answer_id: str) -> canonical.Choice:
    message = said.message
    if said.finish_reason == FAILED:
        raise failure()
    return canonical.Choice(
        parts=tuple(_read_parts(message, answer_id)),
        finish=read_finish(
            said.finish_reason,
            called=bool(message.tool_calls or message.function_call),
            refused=message.refusal is not None,
        ),
        logprobs=present(said.logprobs),
    )


def _read_parts(
    said: answer_wire.AnsweredMessage, answer_id: str
) -> Iterator[canonical.AnswerPart]:
    if said.thinking_blocks:
        yield from _read_thinking(said.thinking_blocks)
    elif text := said.reasoning_content or said.reasoning:
        yield canonical.Reasoning(text)
    if said.content:
        cited = (
            *read_annotations(said.annotations),
            *read_references(said.references),
        )
        yield canonical.Text(said.content, citations=cited)
    if said.audio is not None:
        yield canonical.Audio(canonical.Inline("", said.audio.data))
        if said.audio.transcript and not said.content:
            yield canonical.Text(said.audio.transcript)
    if said.refusal is not None:
        yield canonical.Refusal(said.refusal)
    calls = list(said.tool_calls or ())
    if said.function_call is not None:
        calls.append(answer_wire.AnsweredToolCall(function=said.function_call))
    for place, call in enumerate(calls):
        yield _read_call(call, call.id or made_up_id(answer_id, place))


def _read_thinking(
    blocks: Iterable[answer_wire.AnsweredThinking],
) -> Iterator[canonical.Reasoning]:
    for block in blocks:
        if block.data:
            yield canonical.Reasoning(encrypted=block.data)
        elif block.thinking or block.signature:
            yield canonical.Reasoning(block.thinking or "", block.signature or None)


def _read_call(said: answer_wire.AnsweredToolCall, call_id: str) -> canonical.ToolCall:
    if said.custom is not None and said.custom.name:
        return canonical.ToolCall(
            call_id, said.custom.name, said.custom.input or "", custom=True
        )
    if said.function is None or not said.function.name:
        raise ProtocolViolation("a tool call of the provider's answer has no name")
    arguments = said.function.arguments or ""
    return canonical.ToolCall(
        id=call_id,
        name=said.function.name,
        arguments=arguments if arguments.strip() else "{}",
        signature=wire.thought_signature(said.extra_content),
    )


def made_up_id(answer_id: str, place: int) -> str:
    """Return an id for a call that its server gave none.

    The client sends it back with the result, in a conversation that has other calls, so
    it has to differ from those of other answers.
    """
    return f"call_{answer_id}_{place}" if answer_id else f"call_{place}"
