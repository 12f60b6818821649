"""A canonical request in, an OpenAI Responses request out.

For clients of another format; the bytes of Responses clients pass. OpenAI keeps nothing
(``store`` is false unless the client says otherwise), so the proof of its reasoning has
to come with the answer: ``include`` asks for it, where the model reasons, since others
refuse that.

What has no word here and no bearing on the answer's meaning is left out and reported:
prompt cache breakpoints on models before GPT-5.6 (`openai_caching`), other providers' reasoning, ``is_error``
of tool results (their text says it), seeds, penalties and biases, ``top_k``, the exact
size of a thinking budget (it becomes an effort: `reasoning`). All else that cannot be said
is refused: stop sequences, several alternatives, sound.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from extproc import canonical
from extproc.formats import proofs, reasoning
from extproc.formats.base import Rendered, Unsupported
from extproc.formats.caching import bind
from extproc.formats.citing import results_as_texts
from extproc.formats.json_schema import is_strict
from extproc.formats.openai_caching import OFFER, OPTIONS, offer, write_options
from extproc.formats.openai_responses import wire
from extproc.formats.openai_responses.item_writer import ItemWriter
from extproc.formats.openai_responses.request_reader import (
    ENCRYPTED_REASONING,
    LOGPROBS,
    MOST_CALLS,
    SEARCH_SOURCES,
)
from extproc.formats.web_tools import drop_tuning, refuse_domains, written_location

_encode = msgspec.json.Encoder().encode

EXTRAS = frozenset(
    {
        "access_programs", "background", "background_options", "conversation",
        "max_tool_calls", "metadata", "moderation", "previous_response_id", "prompt",
        "prompt_cache_key", "prompt_cache_retention",
        "safety_identifier", "store", "tool_choice", "truncation",
    }
)  # fmt: skip
"""Members of this format that the canonical request has no word for."""

CACHE = msgspec.structs.replace(OFFER, assistant=False)
"""What the assistant has said carries no breakpoints here."""

BUILTINS = frozenset(
    {
        "apply_patch", "code_interpreter", "computer", "computer_use_preview",
        "file_search", "image_generation", "local_shell", "mcp", "namespace",
        "programmatic_tool_calling", "shell", "tool_search", "web_search",
        "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11",
    }
)  # fmt: skip
"""The kinds of tools that OpenAI runs or knows itself."""

_SERVICE_TIERS = {
    "standard_only": "default",  # Anthropic's word
    **{
        name: name
        for name in (
            "auto", "default", "flex", "scale", "priority", "fast", "ultrafast",
        )
    },
}  # fmt: skip

_SAME = ("parallel_tool_calls", "temperature", "top_p", "max_output_tokens")
"""Members that are called here as in the canonical request."""

_TUNING = ("seed", "presence_penalty", "frequency_penalty", "logit_bias", "top_k")
"""What only tunes, and cannot be said here."""

_SEARCH_TUNING = ("search_context_size", "user_location")

_SUMMARIES = {
    "summarized": "auto", "auto": "auto", "concise": "concise", "detailed": "detailed",
}  # fmt: skip
"""Ways to show thinking in Anthropic's words and in OpenAI's."""


def write_request(
    request: canonical.Request,
    model: str,
    max_output_tokens: int,  # noqa: ARG001  no limit is a limit of the provider's own
) -> Rendered:
    """Write the body that asks `model`.

    Raises:
        Unsupported: the request has what this format cannot say.
    """
    _refuse(request)
    left_out: dict[str, None] = {}
    drop = left_out.setdefault
    request = bind(results_as_texts(request), drop, CACHE if offer(model) else None)
    items = ItemWriter()
    for message in request.messages:
        items.write(message)
    dropped = [*left_out, *items.dropped]
    body: dict[str, Any] = {"model": model, "input": items.written, "store": False}
    if request.tools:
        body["tools"] = list(_write_tools(request, dropped))
        _write_most_calls(request, body, dropped)
    if request.tool_choice is not None:
        body["tool_choice"] = _write_tool_choice(request.tool_choice, request)
    for name in _SAME:
        if (value := getattr(request, name)) is not None:
            body[name] = value
    dropped += [
        request.name_of(name)
        for name in _TUNING
        # Nought is no penalty, but a seed like any other.
        if getattr(request, name) not in (None, b"{}", None if name == "seed" else 0)
    ]
    if request.end_user is not None:
        body["user"] = request.end_user
    if request.stream:
        body["stream"] = True
    if request.output_format is not None:
        body["text"] = {"format": _write_output_format(request, dropped)}
    if request.service_tier is not None:
        body["service_tier"] = _write_service_tier(request)
    options = write_options(request, CACHE.ttls, dropped.append)
    if options is not None:
        body[OPTIONS] = options
    _write_thinking(request, model, body, dropped)
    _write_include(request, model, body)
    _write_extras(request, body)
    return Rendered(_encode(body), tuple(dropped))


def _refuse(request: canonical.Request) -> None:
    if request.n not in (None, 1):
        raise Unsupported(
            "OpenAI's Responses give one answer.", param=request.name_of("n")
        )
    if request.stop:
        raise Unsupported(
            "OpenAI's Responses know no stop sequences.", param=request.name_of("stop")
        )


def _write_service_tier(request: canonical.Request) -> str:
    tier = _SERVICE_TIERS.get(request.service_tier or "")
    if tier is None:
        raise Unsupported(
            f"The service tier {request.service_tier!r} is not known to this provider.",
            param=request.name_of("service_tier"),
        )
    return tier


def _write_thinking(
    request: canonical.Request, model: str, body: dict[str, Any], dropped: list[str]
) -> None:
    thinking = request.thinking
    if thinking is None:
        return
    name = request.name_of("thinking")
    plan = reasoning.plan_openai(thinking, model, name)
    dropped += plan.dropped
    said = {} if plan.effort is None else {"effort": plan.effort}
    # Who switches thinking on elsewhere is shown it.
    display = thinking.display or ("summarized" if thinking.enabled else None)
    reasons = reasoning.openai_efforts(model) != () and not (
        thinking.enabled and name in plan.dropped and plan.effort is None
    )
    if display is not None and display != "omitted" and reasons:
        if display not in _SUMMARIES:
            raise Unsupported(
                f"{display!r} is not a way to show thinking here.",
                param=f"{name}.display",
            )
        said["summary"] = _SUMMARIES[display]
    if said:
        body["reasoning"] = said


def _write_include(
    request: canonical.Request, model: str, body: dict[str, Any]
) -> None:
    include = []
    effort = body.get("reasoning", {}).get("effort", "none")
    if effort != "none" or reasoning.openai_efforts(model) or _proven(request):
        include.append(ENCRYPTED_REASONING)
    if any(isinstance(tool, canonical.WebSearch) for tool in request.tools):
        include.append(SEARCH_SOURCES)
    if request.logprobs:
        include.append(LOGPROBS)
        if request.top_logprobs is not None:
            body["top_logprobs"] = request.top_logprobs
    if (others := request.extras.get("include")) is not None:
        asked = msgspec.json.decode(others, type=list[str])
        include += [name for name in asked if name not in (LOGPROBS, *include)]
    if include:
        body["include"] = include


def _proven(request: canonical.Request) -> bool:
    """Tell whether the conversation has reasoning of OpenAI's."""
    return any(
        isinstance(part, canonical.Reasoning)
        and part.encrypted is not None
        and proofs.read_openai(part.encrypted) is not None
        for message in request.messages
        for part in message.parts
    )


def _write_extras(request: canonical.Request, body: dict[str, Any]) -> None:
    for name, raw in request.extras.items():
        match name:
            case "include":
                pass  # see `_write_include`
            case "verbosity":
                body.setdefault("text", {})["verbosity"] = raw
            case "reasoning.context" | "reasoning.mode":
                member = name.removeprefix("reasoning.")
                body.setdefault("reasoning", {})[member] = raw
            case "stream_options" if request.stream:
                body["stream_options"] = {"include_obfuscation": True}
            case "modalities" if bytes(raw).replace(b" ", b"") == b'["text"]':
                pass
            case _ if name in EXTRAS:
                body[name] = raw
            case _:
                raise Unsupported(
                    f"'{request.name_of(name)}' cannot be said to this provider.",
                    param=request.name_of(name),
                )


# ---------------------------------------------------------------- tools and shapes


def _write_tools(
    request: canonical.Request, dropped: list[str]
) -> Iterator[dict[str, Any] | msgspec.Raw]:
    for i, tool in enumerate(request.tools):
        where = f"{request.name_of('tools')}[{i}]"
        match tool:
            case canonical.Tool():
                strict = bool(tool.strict) and is_strict(tool.parameters)
                if tool.strict and not strict:
                    dropped.append(f"{where}.strict")
                function = {
                    "type": "function",
                    "name": tool.name,
                    # Both have to be given here; without `strict` a schema would be
                    # taken for a strict one.
                    "parameters": tool.parameters,
                    "strict": strict,
                }
                if tool.description is not None:
                    function["description"] = tool.description
                yield function
            case canonical.CustomTool():
                custom: dict[str, Any] = {"type": "custom", "name": tool.name}
                if tool.description is not None:
                    custom["description"] = tool.description
                if tool.format is not None:
                    custom["format"] = _write_format(tool.format)
                yield custom
            case canonical.WebSearch():
                yield _write_search(tool, dropped)
            case canonical.WebFetch():
                raise Unsupported(
                    "OpenAI's models read only pages that they have searched for.",
                    param=tool.where,
                )
            case canonical.BuiltinTool(kind, config):
                if kind not in BUILTINS:
                    raise Unsupported(
                        f"The tool type {kind!r} is not known to this provider.",
                        param=where,
                    )
                yield config


def _write_search(tool: canonical.WebSearch, dropped: list[str]) -> dict[str, Any]:
    refuse_domains(tool, "OpenAI's search", allowed=True)
    drop_tuning(tool, dropped.append, "max_uses", *_SEARCH_TUNING)
    search: dict[str, Any] = {"type": "web_search"}
    if tool.allowed:
        search["filters"] = {"allowed_domains": tool.allowed}
    if tool.context_size is not None:
        search["search_context_size"] = tool.context_size
    if tool.location is not None:
        place = written_location(tool.location)
        search["user_location"] = {"type": "approximate", **place}
    return search


def _write_most_calls(
    request: canonical.Request, body: dict[str, Any], dropped: list[str]
) -> None:
    """Write how often the only built-in tool may be used: the limit is of all of them."""
    builtins = [
        tool
        for tool in request.tools
        if not isinstance(tool, canonical.Tool | canonical.CustomTool)
    ]
    for tool in builtins:
        if isinstance(tool, canonical.WebSearch) and tool.max_uses is not None:
            if len(builtins) == 1:
                body[MOST_CALLS] = tool.max_uses
            else:
                dropped.append(f"{tool.where}.max_uses")


class _Grammar(msgspec.Struct, frozen=True):
    grammar: dict[str, msgspec.Raw] = {}


_GRAMMAR = msgspec.json.Decoder(_Grammar)


def _write_format(said: msgspec.Raw) -> msgspec.Raw:
    """Return a custom tool's format, which chat completions nest, flat."""
    grammar = _GRAMMAR.decode(said).grammar
    return wire.raw({"type": "grammar", **grammar}) if grammar else said


def _write_tool_choice(
    choice: canonical.ToolChoice, request: canonical.Request
) -> str | dict[str, Any]:
    customs = {
        tool.name for tool in request.tools if isinstance(tool, canonical.CustomTool)
    }
    searches = any(isinstance(tool, canonical.WebSearch) for tool in request.tools)
    named = [
        {"type": name}
        if searches and name == canonical.WebSearch.name
        else {"type": "custom" if name in customs else "function", "name": name}
        for name in choice.names
    ]
    if choice.mode == "named" and named[0].keys() == {"type"}:
        # A tool of OpenAI's own is demanded by allowing no other.
        return {"type": "allowed_tools", "mode": "required", "tools": named}
    if choice.mode == "named":
        return named[0]
    if named and choice.mode != "none":
        return {"type": "allowed_tools", "mode": choice.mode, "tools": named}
    return choice.mode


def _write_output_format(
    request: canonical.Request, dropped: list[str]
) -> dict[str, Any]:
    shape = request.output_format or canonical.OutputFormat("text")
    if shape.kind != "json_schema":
        return {"type": shape.kind}
    strict = shape.strict
    if strict and not is_strict(shape.schema):
        dropped.append(f"{request.name_of('output_format')}.strict")
        strict = False
    if shape.schema is None:
        raise Unsupported(
            "A format of type `json_schema` needs its schema.",
            param=request.name_of("output_format"),
        )
    schema = {
        "type": "json_schema",
        # It has to have a name here; other formats give none.
        "name": shape.name or "answer",
        "schema": shape.schema,
        "description": shape.description,
        "strict": strict,
    }
    return {name: value for name, value in schema.items() if value is not None}
