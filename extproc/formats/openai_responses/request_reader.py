"""An OpenAI Responses request in, the canonical request out.

Every member that the SDK's ``ResponseCreateParams`` knows either has a canonical word or
stays in `extras` by its own name. What is only true of OpenAI's own servers (what they
keep, the tools that they run) comes there too, and is refused by whoever is not OpenAI.

What is not taken for a wish, because it asks for what happens anyway: ``store``,
``background`` and ``include_obfuscation`` that are false, a ``truncation`` that is
``disabled``, ``reasoning.encrypted_content`` in ``include`` (a proof of reasoning is
always given; see `envelope`), and there ``web_search_call.action.sources``, which are told
where the provider tells them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from extproc import canonical
from extproc.formats.base import Members, Unsupported
from extproc.formats.openai_caching import BREAKPOINT, OPTIONS, read_options
from extproc.formats.openai_responses import wire
from extproc.formats.openai_responses.echo import read_echo
from extproc.formats.openai_responses.item_reader import Conversation
from extproc.formats.openai_responses.tool_reader import read_tool_choice, read_tools
from extproc.formats.openai_responses.validation import decode
from extproc.formats.openai_responses.wire import present
from extproc.formats.openai_validation import missing, wrong_type

_DECODER = msgspec.json.Decoder(wire.Request)

WORDS = frozenset(wire.Request.__struct_fields__)
"""The members that are read; all others are extras."""

NAMES: Mapping[str, str] = {
    "messages": "input",
    "end_user": "user",
    "output_format": "text.format",
    "thinking": "reasoning",
    "logprobs": "include",
    "verbosity": "text.verbosity",
    "caching": OPTIONS,
    "cache_control": BREAKPOINT,
}
"""Ours to the canonical names."""

MOST_CALLS = "max_tool_calls"
LOGPROBS = "message.output_text.logprobs"
SEARCH_SOURCES = "web_search_call.action.sources"
ENCRYPTED_REASONING = "reasoning.encrypted_content"

_INSTEAD_OF_INPUT = ("previous_response_id", "conversation", "prompt")
"""Members that hold words of the conversation themselves."""


LEFT_OUT = frozenset({"client_metadata"})
"""Extras that only tell OpenAI whose request it is. Codex sends it; it is not in the
reference."""


def read_request(body: bytes, members: Members) -> canonical.Request:
    """Read a request; `members` are the top level of `body`.

    Raises:
        BadRequest: not this format; `param` names the member.
        Unsupported: it asks to be stored.
    """
    said = decode(_DECODER, body)
    if said.store:
        # A chat completion has a `store` too, and it means another thing.
        raise Unsupported(
            "Responses are stored by OpenAI only: leave 'store' out or set it to false, "
            "and send the whole conversation each time.",
            param="store",
        )
    if said.input in (None, []) and not any(
        present(members.get(name, wire.ABSENT)) for name in _INSTEAD_OF_INPUT
    ):
        raise missing("input")
    conversation = Conversation()
    if said.instructions:
        conversation.messages.append(
            canonical.Message(
                "system",
                (canonical.Text(said.instructions),),
                where="instructions",
                places=("instructions",),
            )
        )
    conversation.read(said.input or ())
    extras = _read_extras(said, members)
    left_out: list[str] = []
    tools = _hold_to(tuple(read_tools(said.tools or (), extras, left_out)), extras)
    shape, thinking = said.text or wire.TextConfig(), said.reasoning
    logprobs = LOGPROBS in (said.include or ()) or bool(said.top_logprobs)
    return canonical.Request(
        model=said.model,
        messages=tuple(conversation.messages),
        tools=tools,
        tool_choice=read_tool_choice(
            said.tool_choice,
            members.get("tool_choice", wire.ABSENT),
            extras,
            searching=any(isinstance(tool, canonical.WebSearch) for tool in tools),
        ),
        parallel_tool_calls=said.parallel_tool_calls,
        max_output_tokens=said.max_output_tokens,
        temperature=said.temperature,
        top_p=said.top_p,
        logprobs=logprobs or None,
        top_logprobs=said.top_logprobs if logprobs else None,
        output_format=_read_output_format(shape),
        thinking=_read_thinking(thinking),
        end_user=said.user,
        service_tier=said.service_tier,
        caching=read_options(said.prompt_cache_options),
        stream=bool(said.stream),
        include_usage=True,
        left_out=(
            *(name for name in extras if name in LEFT_OUT),
            *_diagnostics(said),
            *left_out,
        ),
        extras={
            **{name: raw for name, raw in extras.items() if name not in LEFT_OUT},
            **conversation.unsaid,
        },
        names=dict(NAMES),
        echo=read_echo(members),
    )


def _read_extras(said: wire.Request, members: Members) -> dict[str, msgspec.Raw]:
    extras = {
        name: raw
        for name, raw in members.items()
        if name not in WORDS and present(raw) is not None
    }
    if said.background:
        extras["background"] = members["background"]
    if said.truncation == "auto":
        extras["truncation"] = members["truncation"]
    if said.text is not None and said.text.verbosity is not None:
        # Chat completions have it at the top.
        extras["verbosity"] = wire.raw(said.text.verbosity)
    if said.stream_options is not None and said.stream_options.include_obfuscation:
        # Padding against eavesdroppers who measure lengths: off is what we do anyway.
        extras["stream_options"] = members["stream_options"]
    others = set(said.include or ()) - {LOGPROBS, ENCRYPTED_REASONING, SEARCH_SOURCES}
    if others:
        extras["include"] = members["include"]
    options = said.prompt_cache_options
    if options is not None and options.prewarm:
        extras[f"{OPTIONS}.prewarm"] = wire.raw(True)
    if said.reasoning is not None:
        if said.reasoning.context not in (None, "auto"):
            extras["reasoning.context"] = wire.raw(said.reasoning.context)
        if said.reasoning.mode not in (None, "standard"):
            extras["reasoning.mode"] = wire.raw(said.reasoning.mode)
    return extras


def _hold_to(
    tools: tuple[canonical.AnyTool, ...], extras: dict[str, msgspec.Raw]
) -> tuple[canonical.AnyTool, ...]:
    """Hold the only built-in tool to ``max_tool_calls``, which is of all of them."""
    if MOST_CALLS not in extras:
        return tools
    (*others,) = (
        tool
        for tool in tools
        if not isinstance(tool, canonical.Tool | canonical.CustomTool)
    )
    if len(others) != 1 or isinstance(others[0], canonical.BuiltinTool):
        return tools
    try:
        most = msgspec.json.decode(extras.pop(MOST_CALLS), type=int)
    except msgspec.ValidationError:
        raise wrong_type(MOST_CALLS, ["int"], None) from None
    held = msgspec.structs.replace(others[0], max_uses=most)
    return tuple(held if tool is others[0] else tool for tool in tools)


def _diagnostics(said: wire.Request) -> Iterator[str]:
    """Yield what is asked about the cache and changes nothing."""
    options = said.prompt_cache_options
    if options is not None and options.comparison_response_id is not None:
        yield f"{OPTIONS}.comparison_response_id"


def _read_output_format(said: wire.TextConfig) -> canonical.OutputFormat | None:
    match said.format:
        case None:
            return None
        case wire.TextFormat():
            return canonical.OutputFormat("text")
        case wire.JSONObjectFormat():
            return canonical.OutputFormat("json_object")
        case wire.JSONSchemaFormat(name, schema, description, strict):
            return canonical.OutputFormat(
                "json_schema", name, description, present(schema), strict
            )


def _read_thinking(said: wire.ReasoningConfig | None) -> canonical.Thinking | None:
    if said is None:
        return None
    summary = said.summary or said.generate_summary
    if said.effort is None and summary is None:
        return None
    return canonical.Thinking(effort=said.effort, display=summary)
