"""An OpenAI chat completion request in, the canonical request out.

Every member that the SDK's ``CompletionCreateParams`` knows either has a canonical word
or stays in `extras`. Two extensions are read too, since clients of LiteLLM-like gateways
send them: prompt cache breakpoints (``cache_control``) and reasoning, which comes back in
one of three ways, all understood:

* ``thinking_blocks`` as a whole answer has them: ``{"type": "thinking", "thinking",
  "signature"}`` and ``{"type": "redacted_thinking", "data"}``;
* ``thinking_blocks`` as a stream has them, appended by a client that merges nothing:
  the pieces of one block share its ``index``, or, where the client has lost that, stand
  in a row that a block with a signature and no text ends;
* ``reasoning_content`` alone: reasoning without a proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats import proofs
from extproc.formats.base import Members, Unsupported
from extproc.formats.openai_caching import BREAKPOINT, read_options
from extproc.formats.openai_chat import wire
from extproc.formats.openai_chat.part_reader import read_part, read_parts, with_cache
from extproc.formats.openai_chat.tool_reader import (
    read_tool_choice,
    read_tools,
)
from extproc.formats.openai_chat.validation import decode
from extproc.formats.openai_chat.wire import present
from extproc.formats.openai_content import read_arguments
from extproc.formats.openai_validation import missing

_DECODER = msgspec.json.Decoder(wire.Request)
_BREAKPOINT = BREAKPOINT.encode()

_NO_OPTIONS = wire.StreamOptions()

WORDS = frozenset(wire.Request.__struct_fields__)
"""The members that are read; all others are extras."""

_RENAMED = {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "user": "end_user",
    "response_format": "output_format",
    "reasoning_effort": "thinking",
    "thinking": "thinking",
    "functions": "tools",
    "function_call": "tool_choice",
    "stream_options": "include_usage",
    "prompt_cache_options": "caching",
}
"""Ours to the canonical names; of two that are given the later one counts."""


def read_request(body: bytes, members: Members) -> canonical.Request:
    """Read a request; `members` are the top level of `body`.

    Raises:
        BadRequest: not this format; `param` names the member.
    """
    said = decode(_DECODER, body)
    if not said.messages:
        raise BadRequest(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, "
            "but got an empty array instead.",
            param="messages",
            code="empty_array",
        )
    options = said.stream_options or _NO_OPTIONS
    left_out: list[str] = []
    return canonical.Request(
        model=said.model,
        messages=_read_messages(said.messages),
        tools=read_tools(said, left_out),
        tool_choice=read_tool_choice(said),
        parallel_tool_calls=said.parallel_tool_calls,
        max_output_tokens=(
            said.max_tokens
            if said.max_completion_tokens is None
            else said.max_completion_tokens
        ),
        temperature=said.temperature,
        top_p=said.top_p,
        top_k=said.top_k,
        stop=(said.stop,) if isinstance(said.stop, str) else tuple(said.stop or ()),
        seed=said.seed,
        n=said.n,
        presence_penalty=said.presence_penalty,
        frequency_penalty=said.frequency_penalty,
        logit_bias=members["logit_bias"] if said.logit_bias is not None else None,
        logprobs=said.logprobs,
        top_logprobs=said.top_logprobs,
        output_format=_read_output_format(said.response_format),
        thinking=_read_thinking(said),
        end_user=said.user,
        service_tier=said.service_tier,
        caching=read_options(said.prompt_cache_options),
        stream=bool(said.stream),
        include_usage=bool(options.include_usage),
        left_out=tuple(left_out),
        extras=_read_extras(members, options),
        names=_read_names(said, body, members),
    )


def _read_names(said: wire.Request, body: bytes, members: Members) -> dict[str, str]:
    names: dict[str, str] = {}
    for name in _RENAMED.keys() & members.keys():
        if getattr(said, name) is not None:
            names[_RENAMED[name]] = name
    if said.max_completion_tokens is not None:
        names["max_output_tokens"] = "max_completion_tokens"
    if said.reasoning_effort is not None:
        names["thinking"] = "reasoning_effort"
    if body.find(_BREAKPOINT) >= 0:
        names["cache_control"] = BREAKPOINT
    if present(said.web_search_options) and not (said.tools or said.functions):
        names["tools"] = "web_search_options"
    return names


def _read_extras(
    members: Members, options: wire.StreamOptions
) -> dict[str, msgspec.Raw]:
    extras = {}
    if not members.keys() <= WORDS:
        extras = {
            name: raw
            for name, raw in members.items()
            if name not in WORDS and present(raw) is not None
        }
    # Padding against eavesdroppers who measure lengths: off is what we do anyway.
    if options.include_obfuscation:
        extras["stream_options"] = members["stream_options"]
    return extras


def _read_output_format(
    said: wire.TextFormat | wire.JSONObjectFormat | wire.JSONSchemaFormat | None,
) -> canonical.OutputFormat | None:
    match said:
        case None:
            return None
        case wire.TextFormat():
            return canonical.OutputFormat("text")
        case wire.JSONObjectFormat():
            return canonical.OutputFormat("json_object")
        case wire.JSONSchemaFormat(shape):
            return canonical.OutputFormat(
                "json_schema",
                name=shape.name,
                description=shape.description,
                schema=present(shape.schema),
                strict=shape.strict,
            )


def _read_thinking(said: wire.Request) -> canonical.Thinking | None:
    thinking, effort = said.thinking, said.reasoning_effort
    if thinking is None:
        return canonical.Thinking(effort=effort) if effort is not None else None
    return canonical.Thinking(
        effort=effort,
        budget_tokens=thinking.budget_tokens,
        enabled=thinking.type != "disabled",
        adaptive=thinking.type == "adaptive",
        display=thinking.display,
    )


# ---------------------------------------------------------------- messages


_ROLES: Mapping[type[wire.AnyMessage], canonical.Role] = {
    wire.SystemMessage: "system",
    wire.DeveloperMessage: "developer",
    wire.UserMessage: "user",
    wire.AssistantMessage: "assistant",
    wire.ToolMessage: "tool",
    wire.FunctionMessage: "tool",
}


def _read_messages(said: list[wire.AnyMessage]) -> tuple[canonical.Message, ...]:
    messages: list[canonical.Message] = []
    functions: dict[str, str] = {}
    """The ids that we gave to the calls of the deprecated ``function_call``."""
    for i, message in enumerate(said):
        where = f"messages[{i}]"
        name = message.name
        parts: tuple[canonical.Part, ...]
        places: tuple[str, ...] = ()
        match message:
            case wire.AssistantMessage(content=text):
                if type(text) is str and message == wire.AssistantMessage(content=text):
                    parts = (canonical.Text(text),)  # as most are: words alone
                else:
                    placed = tuple(_read_assistant(message, where, f"call_{i}"))
                    parts = tuple([part for part, _ in placed])
                    places = tuple(f"{where}.{name}" for _, name in placed)
                    if message.function_call is not None:
                        functions[message.function_call.name] = f"call_{i}"
            case wire.UserMessage() | wire.SystemMessage() | wire.DeveloperMessage():
                parts = read_parts(message.content, where)
            case wire.ToolMessage():
                parts, places = (_read_tool_result(message, where),), (where,)
            case wire.FunctionMessage():
                result = _read_function_result(message, where, functions)
                parts, places, name = (result,), (where,), None
        if message.cache_control is not None:
            parts = with_cache(parts, message.cache_control)
        role = _ROLES[type(message)]
        messages.append(canonical.Message(role, parts, name, where, places))
    return tuple(messages)


def _read_tool_result(said: wire.ToolMessage, where: str) -> canonical.ToolResult:
    parts = read_parts(said.content, where)
    return canonical.ToolResult(
        call_id=said.tool_call_id,
        parts=tuple(
            part
            for part in parts
            if isinstance(part, canonical.Text | canonical.Image | canonical.Document)
        ),
        is_error=said.is_error,
    )


def _read_function_result(
    said: wire.FunctionMessage, where: str, functions: dict[str, str]
) -> canonical.ToolResult:
    if said.name not in functions:
        raise BadRequest(
            f"Invalid value for '{where}.name': no message before it has a "
            f"'function_call' of the name {said.name!r}.",
            param=f"{where}.name",
            code="invalid_value",
        )
    parts = (canonical.Text(said.content),) if said.content is not None else ()
    return canonical.ToolResult(call_id=functions[said.name], parts=parts)


def _read_assistant(
    said: wire.AssistantMessage, where: str, function_call_id: str
) -> Iterator[tuple[canonical.Part, str]]:
    """Yield the parts, and what each is called in the message."""
    if present(said.audio) is not None:
        raise Unsupported(
            f"'{where}.audio' is known only to the provider that gave it.",
            param=f"{where}.audio",
        )
    calls = said.tool_calls or ()
    content: list[canonical.Part] = []
    if isinstance(said.content, str):
        # "" beside calls is how some clients spell null.
        if said.content or not (calls or said.function_call or said.refusal):
            content = [canonical.Text(said.content)]
    elif said.content is not None:
        content = [
            read_part(part, f"{where}.content[{i}]")
            for i, part in enumerate(said.content)
        ]
    reasoning = [part for part in _read_reasoning(said) if part not in content]
    if said.content is None and not (
        reasoning or calls or said.function_call or said.refusal is not None
    ):
        raise missing(f"{where}.content")
    thought = "thinking_blocks" if said.thinking_blocks else "reasoning_content"
    yield from ((part, thought) for part in reasoning)
    yield from ((part, f"content[{i}]") for i, part in enumerate(content))
    if said.refusal is not None:
        yield canonical.Refusal(said.refusal), "refusal"
    for i, call in enumerate(calls):
        yield _read_call(call, f"{where}.tool_calls[{i}]"), f"tool_calls[{i}]"
    if said.function_call is not None:
        arguments = read_arguments(
            said.function_call.arguments, f"{where}.function_call.arguments"
        )
        name = said.function_call.name
        yield canonical.ToolCall(function_call_id, name, arguments), "function_call"


def _read_call(
    said: wire.FunctionToolCall | wire.CustomToolCall, where: str
) -> canonical.ToolCall:
    cache = (
        canonical.CacheControl(said.cache_control.ttl) if said.cache_control else None
    )
    if isinstance(said, wire.CustomToolCall):
        return canonical.ToolCall(
            said.id, said.custom.name, said.custom.input, custom=True, cache=cache
        )
    return canonical.ToolCall(
        id=said.id,
        name=said.function.name,
        arguments=read_arguments(
            said.function.arguments, f"{where}.function.arguments"
        ),
        signature=wire.thought_signature(said.extra_content),
        cache=cache,
    )


def _read_reasoning(said: wire.AssistantMessage) -> Iterable[canonical.Reasoning]:
    text = said.reasoning_content or said.reasoning
    if said.thinking_blocks:
        merged = merge_thinking(said.thinking_blocks)
        if text and not any(part.text for part in merged):
            return [canonical.Reasoning(text), *filter(_holds_alone, merged)]
        return merged
    if isinstance(said.content, list) and any(
        isinstance(part, wire.ThinkingPart | wire.RedactedThinkingPart)
        for part in said.content
    ):
        return ()  # the string says the same again
    return (canonical.Reasoning(text),) if text else ()


def _holds_alone(part: canonical.Reasoning) -> bool:
    """Say whether a proof is any good without the words that it was given with.

    Clients that keep the last piece of every member (the npm SDK's) have lost them.
    """
    return part.encrypted is not None or proofs.is_marked(part.signature)


def merge_thinking(blocks: Iterable[wire.ThinkingBlock]) -> list[canonical.Reasoning]:
    """Join the pieces of ``thinking_blocks``; see the module's docstring."""
    merged: list[canonical.Reasoning] = []
    pieces: list[str] = []
    """The texts of a block that is still without signature."""
    index: int | None = None

    def close(signature: str | None = None) -> None:
        if pieces or signature:
            merged.append(canonical.Reasoning("".join(pieces), signature))
            pieces.clear()

    for block in blocks:
        if block.index != index:
            close()
        index = block.index
        if isinstance(block, wire.RedactedThinkingPart):
            close()
            merged.append(canonical.Reasoning(encrypted=block.data))
            continue
        if block.signature and block.thinking and index is None:
            close()  # a whole block stands for itself
        pieces += [block.thinking] if block.thinking else []
        if block.signature:
            close(block.signature)
    close()
    return merged
