"""A canonical request in, an OpenAI chat completion request out.

For clients of another format; OpenAI's own clients' bytes pass.

What has no word here and no bearing on the answer's meaning is left out and reported:
prompt cache breakpoints on models before GPT-5.6 (`openai_caching`), reasoning of earlier turns (no other
provider can use it), ``is_error`` of tool results (their text says it), the exact size of
a thinking budget (it becomes an effort: `reasoning`), how thinking is to be shown (it is
not), and ``top_k``. All else that cannot be said is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from extproc import canonical
from extproc.formats import reasoning
from extproc.formats.base import Rendered, Unsupported
from extproc.formats.caching import bind
from extproc.formats.citing import results_as_texts
from extproc.formats.json_schema import is_strict
from extproc.formats.openai_caching import OPTIONS, offer, write_options
from extproc.formats.openai_chat.message_writer import MessageWriter
from extproc.formats.web_tools import drop_tuning, refuse_domains, written_location

_encode = msgspec.json.Encoder().encode

EXTRAS = frozenset(
    {
        "audio", "metadata", "modalities", "moderation", "prediction",
        "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "store",
        "verbosity",
    }
)  # fmt: skip
"""Members of this format that the canonical request has no word for."""

_SEARCHES = re.compile(r"search|sonar|:online")
"""The names of models that search the web in chat completions: OpenAI's, Perplexity's,
and what OpenRouter makes of any."""

_SERVICE_TIERS = {
    "standard_only": "default",  # Anthropic's word
    **{name: name for name in ("auto", "default", "flex", "scale", "priority", "fast")},
}

_SAME = (
    "temperature", "top_p", "seed", "n", "presence_penalty",
    "frequency_penalty", "logit_bias", "logprobs", "top_logprobs",
)  # fmt: skip
"""Members that are called here as in the canonical request."""


def write_request(
    request: canonical.Request,
    model: str,
    max_output_tokens: int,  # noqa: ARG001  no limit is a limit of the provider's own
    *,
    thoughts: bool = False,
) -> Rendered:
    """Write the body that asks `model`, a server that wants `thoughts` back or not.

    Raises:
        Unsupported: the request has what this format cannot say.
    """
    left_out: dict[str, None] = {}
    drop = left_out.setdefault
    request = bind(results_as_texts(request), drop, offer(model))
    messages = MessageWriter(thoughts=thoughts)
    for message in request.messages:
        messages.write(message)
    dropped = [*left_out, *messages.dropped]
    body: dict[str, Any] = {"model": model, "messages": messages.written}
    _write_all_tools(request, model, body, dropped)
    if request.max_output_tokens is not None:
        body["max_completion_tokens"] = request.max_output_tokens
    for name in _SAME:
        if (value := getattr(request, name)) is not None:
            body[name] = value
    if request.stop:
        body["stop"] = request.stop
    if request.output_format is not None:
        body["response_format"] = _write_output_format(request, dropped)
    if request.end_user is not None:
        body["user"] = request.end_user
    if request.stream:
        body["stream"] = True
        # We meter by it; the client sees it only if it asked.
        body["stream_options"] = {"include_usage": True}
    _write_service_tier(request, body)
    _write_thinking(request, model, body, dropped)
    _write_extras(request, body, dropped)
    return Rendered(_encode(body), tuple(dropped))


def _write_service_tier(request: canonical.Request, body: dict[str, Any]) -> None:
    tier = request.service_tier
    if tier is None:
        return
    if tier not in _SERVICE_TIERS:
        raise Unsupported(
            f"The service tier {tier!r} is not known to this provider.",
            param=request.name_of("service_tier"),
        )
    body["service_tier"] = _SERVICE_TIERS[tier]


def _write_thinking(
    request: canonical.Request, model: str, body: dict[str, Any], dropped: list[str]
) -> None:
    thinking = request.thinking
    if thinking is not None:
        name = request.name_of("thinking")
        plan = reasoning.plan_openai(thinking, model, name)
        if plan.effort is not None:
            body["reasoning_effort"] = plan.effort
        dropped += plan.dropped
        if thinking.display not in {None, "omitted"} and name not in plan.dropped:
            dropped.append(f"{name}.display")
    if request.top_k is not None:
        dropped.append(request.name_of("top_k"))


def _write_extras(
    request: canonical.Request, body: dict[str, Any], dropped: list[str]
) -> None:
    options = write_options(request, ("30m",), dropped.append)
    if options is not None:
        body[OPTIONS] = options
    for name, raw in request.extras.items():
        if name == "stream_options" and request.stream:
            body[name] |= {"include_obfuscation": True}
        elif name in EXTRAS:
            body[name] = raw
        else:
            raise Unsupported(f"'{name}' cannot be said to this provider.", param=name)


# ---------------------------------------------------------------- tools and shapes


def _write_tools(
    request: canonical.Request, dropped: list[str]
) -> Iterator[dict[str, Any]]:
    for i, tool in enumerate(request.tools):
        where = f"{request.name_of('tools')}[{i}]"
        match tool:
            case canonical.Tool():
                function = {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.parameters,
                    "strict": _strict(tool, f"{where}.function", dropped),
                }
                yield {"type": "function", "function": _given(function)}
            case canonical.CustomTool():
                custom = {
                    "name": tool.name,
                    "description": tool.description,
                    "format": tool.format,
                }
                yield {"type": "custom", "custom": _given(custom)}
            case canonical.WebSearch():
                pass  # no tool here: see `_write_search`
            case canonical.WebFetch():
                raise Unsupported(
                    "This provider reads no pages of the web.", param=tool.where
                )
            case canonical.BuiltinTool():
                raise Unsupported(
                    f"The tool type {tool.kind!r} is not known to this provider.",
                    param=where,
                )


def _write_all_tools(
    request: canonical.Request, model: str, body: dict[str, Any], dropped: list[str]
) -> None:
    tools = list(_write_tools(request, dropped))
    if tools:
        body["tools"] = tools
    for tool in request.tools:
        if isinstance(tool, canonical.WebSearch):
            body["web_search_options"] = _write_search(tool, model, dropped)
    if "web_search_options" in body and not tools:
        return  # what is said of tools would be refused without them
    if request.tool_choice is not None:
        body["tool_choice"] = _write_tool_choice(request.tool_choice, request)
    if request.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = request.parallel_tool_calls


def _strict(tool: canonical.Tool, where: str, dropped: list[str]) -> bool | None:
    """Return whether calls keep to the schema; not to one that is not made for it."""
    if tool.strict and not is_strict(tool.parameters):
        dropped.append(f"{where}.strict")
        return False
    return tool.strict


def _write_search(
    tool: canonical.WebSearch, model: str, dropped: list[str]
) -> dict[str, Any]:
    """Return ``web_search_options``, which only models made to search take.

    Raises:
        Unsupported: this one is not, or it cannot be told a domain.
    """
    if _SEARCHES.search(model.lower()) is None:
        raise Unsupported(
            f"The model {model[:200]!r} searches no web in chat completions.",
            param=tool.where,
        )
    refuse_domains(tool, "This provider's search")
    drop_tuning(tool, dropped.append, "search_context_size", "user_location")
    options: dict[str, Any] = {}
    if tool.context_size is not None:
        options["search_context_size"] = tool.context_size
    if tool.location is not None:
        place = written_location(tool.location)
        options["user_location"] = {"type": "approximate", "approximate": place}
    return options


def _write_tool_choice(
    choice: canonical.ToolChoice, request: canonical.Request
) -> str | dict[str, Any]:
    customs = {
        tool.name for tool in request.tools if isinstance(tool, canonical.CustomTool)
    }
    named = [
        {"type": kind, kind: {"name": name}}
        for name in choice.names
        for kind in ("custom" if name in customs else "function",)
    ]
    if choice.mode == "named":
        return named[0]
    if named and choice.mode != "none":
        return {
            "type": "allowed_tools",
            "allowed_tools": {"mode": choice.mode, "tools": named},
        }
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
    schema = {
        # It has to have a name here; other formats give none.
        "name": shape.name or "answer",
        "description": shape.description,
        "schema": shape.schema,
        "strict": strict,
    }
    return {"type": "json_schema", "json_schema": _given(schema)}


def _given(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
