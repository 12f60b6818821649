"""A canonical request as a body for ``POST /v1/messages``.

https://platform.claude.com/docs/en/api/messages, version 2023-06-01 (the 2026-10-21
version has no ``temperature``, ``top_p`` and ``top_k``). Schemas and tool arguments are
spliced in as the client wrote them. Nothing is clamped; what cannot be said is either

- refused by the client's name for it, when leaving it out would change what the client
  gets back: ``n`` > 1, log probabilities, audio, a blank stop sequence, sampling that the
  model does not have; or
- left out and reported, when it tunes or labels and Anthropic's own OpenAI-compatible API
  ignores it too (https://platform.claude.com/docs/en/api/openai-sdk): `DROPPED`, seeds,
  penalties, a service tier that Anthropic does not sell.

A ``temperature`` or ``top_p`` of 1 is every model's default, and is left out where the
model takes none. Of an allowed subset of tools, only the subset is sent. A JSON mode
without a schema, and a schema on a model that takes none, are asked for by way of a call
(`answer_tool`). How much to think is told in `thinking`, how messages become turns in
`conversation`.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats import answer_tool
from extproc.formats.anthropic import request_wire, thinking, wire
from extproc.formats.anthropic.conversation import (
    Drop,
    cache_control,
    thoughtless,
    write_conversation,
)
from extproc.formats.anthropic.models import Abilities, abilities
from extproc.formats.base import Rendered, Unsupported
from extproc.formats.caching import Offer, bind
from extproc.formats.json_schema import ANTHROPIC, closes, narrow, narrow_format
from extproc.formats.web_tools import drop_tuning, written_location

DROPPED = frozenset({
    "metadata", "prediction", "prompt_cache_key", "prompt_cache_retention",
    "safety_identifier", "store", "stream_options", "verbosity",
})  # fmt: skip
"""Extras that only tune or label."""

_DROPPED_ALWAYS = DROPPED - {"safety_identifier"}
"""`_metadata` finds a use for the identifier."""

CACHE = Offer(("5m", "1h"))
"""The top-level ``cache_control`` is not known at every host of Claude's: it is written
where it would take effect."""

SERVICE_TIERS: Mapping[str, str] = {
    "auto": "auto", "default": "standard_only", "standard_only": "standard_only",
}  # fmt: skip

WEB_TOOLS: Mapping[str, str] = {
    "web_search": "web_search_20250305", "web_fetch": "web_fetch_20250910",
}  # fmt: skip

LEAST_TOP_P_THINKING = 0.95

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_IDENTIFIER = msgspec.json.Decoder(str | None)


def write_request(
    request: canonical.Request, model: str, default_max_tokens: int
) -> Rendered:
    """Render `request` for `model`; see `ProviderFormat.write_request`."""
    left_out: dict[str, None] = {}
    drop = left_out.setdefault
    able = abilities(model)
    asked = answer_tool.bind(
        bind(request, drop, CACHE),
        drop,
        native=able.json_schema and closes(_schema(request)),
        forced=able.forced_tools,
        one_call=True,
    )
    body = _body(asked.request, model, able, default_max_tokens, drop)
    return Rendered(msgspec.json.encode(body), tuple(left_out), asked.tool)


def _body(
    request: canonical.Request,
    model: str,
    able: Abilities,
    default_max_tokens: int,
    drop: Drop,
) -> request_wire.MessagesBody:
    _refuse(request)
    _drop_tuning(request, drop)
    system, turns = write_conversation(request.messages, able, drop)
    unthought = request.thinking is not None and thoughtless(turns)
    plan = thinking.plan(request, able, default_max_tokens, drop, thoughtless=unthought)
    thinks = plan.on
    temperature, top_p = _sampling(request, able, thinks=thinks)
    tools = _tools(request, able, drop)
    return request_wire.MessagesBody(
        model=model,
        max_tokens=plan.max_tokens,
        messages=turns,
        system=system or None,
        tools=tools or None,
        tool_choice=_tool_choice(request, tools, able, thinks=thinks),
        thinking=plan.config,
        output_config=_output_config(request, plan.effort, drop),
        temperature=temperature,
        top_p=top_p,
        top_k=request.top_k,
        stop_sequences=_stop_sequences(request),
        metadata=_metadata(request, drop),
        service_tier=_service_tier(request, drop),
        stream=request.stream,
    )


# ---------------------------------------------------------------- what has no word


def _refuse(request: canonical.Request) -> None:
    if request.n is not None and request.n != 1:
        raise Unsupported("Anthropic's API gives one answer.", param="n")
    if request.logprobs:
        raise Unsupported(
            "Anthropic's API has no log probabilities.",
            param=request.name_of("logprobs"),
        )
    if request.top_logprobs:
        raise Unsupported(
            "Anthropic's API has no log probabilities.", param="top_logprobs"
        )
    for name, value in request.extras.items():
        said = bytes(value).strip()
        text_only = name == "modalities" and said.replace(b" ", b"") == b'["text"]'
        if name not in DROPPED and said != b"null" and not text_only:
            raise Unsupported(
                f"`{name}` cannot be kept with Anthropic's API.", param=name
            )


def _drop_tuning(request: canonical.Request, drop: Drop) -> None:
    if request.seed is not None:
        drop("seed")
    if request.presence_penalty:
        drop("presence_penalty")
    if request.frequency_penalty:
        drop("frequency_penalty")
    if request.logit_bias is not None and bytes(request.logit_bias) != b"{}":
        drop("logit_bias")
    for name, value in request.extras.items():
        if name in _DROPPED_ALWAYS and bytes(value) != b"null":
            drop(name)


# ---------------------------------------------------------------- sampling and limits


def _sampling(
    request: canonical.Request, able: Abilities, *, thinks: bool
) -> tuple[float | None, float | None]:
    """Return temperature and top_p as the model can be told them."""
    temperature, top_p = request.temperature, request.top_p
    if temperature is not None and not 0 <= temperature <= 1:
        raise Unsupported(
            f"Anthropic's temperature is between 0 and 1, not {temperature:g}.",
            param="temperature",
        )
    fixed = able.sampling == "none"
    if fixed or thinks:
        why = "This model takes" if fixed else "A model that thinks takes"
        least = 1.0 if fixed else LEAST_TOP_P_THINKING
        if temperature not in {None, 1}:
            raise Unsupported(f"{why} no temperature but 1.", param="temperature")
        if top_p is not None and top_p < least:
            raise Unsupported(f"{why} no top_p below {least:g}.", param="top_p")
        if request.top_k is not None:
            raise Unsupported(f"{why} no top_k.", param="top_k")
        return None, None if top_p == 1 else top_p
    if able.sampling == "one" and temperature is not None and top_p is not None:
        if top_p == 1:
            return temperature, None
        if temperature != 1:
            raise Unsupported(
                "This model takes temperature or top_p, not both.", param="top_p"
            )
        return None, top_p
    return temperature, top_p


def _stop_sequences(request: canonical.Request) -> tuple[str, ...]:
    for sequence in request.stop:
        if not sequence.strip():
            raise Unsupported(
                f"Anthropic's API takes no blank stop sequence such as {sequence!r}.",
                param="stop",
            )
    return request.stop


def _metadata(request: canonical.Request, drop: Drop) -> request_wire.Metadata | None:
    """Return who the end user is, by whichever of the two names the client used."""
    raw = request.extras.get("safety_identifier")
    try:
        identifier = None if raw is None else _IDENTIFIER.decode(raw)
    except msgspec.ValidationError:
        raise BadRequest("It must be a string.", param="safety_identifier") from None
    if request.end_user is not None:
        if identifier is not None:
            drop("safety_identifier")
        return request_wire.Metadata(request.end_user)
    return None if identifier is None else request_wire.Metadata(identifier)


def _service_tier(request: canonical.Request, drop: Drop) -> str | None:
    if request.service_tier is None:
        return None
    tier = SERVICE_TIERS.get(request.service_tier)
    if tier is None:
        drop("service_tier")
    return tier


def _schema(request: canonical.Request) -> msgspec.Raw | None:
    return request.output_format.schema if request.output_format else None


def _output_config(
    request: canonical.Request, effort: str | None, drop: Drop
) -> request_wire.OutputConfig | None:
    shape = request.output_format
    if shape is None or shape.kind == "text":
        return None if effort is None else request_wire.OutputConfig(effort)
    name = request.name_of("output_format")
    if shape.schema is None:
        raise BadRequest(
            "A response format of type `json_schema` needs its schema.",
            param=f"{name}.json_schema.schema",
        )
    where = name if name != "response_format" else f"{name}.json_schema"
    schema = narrow_format(
        shape.schema, ANTHROPIC, f"{where}.schema", drop, param=where
    )
    if shape.description is not None:
        drop(f"{name}.description")
    return request_wire.OutputConfig(effort, request_wire.JsonFormat(schema))


# ---------------------------------------------------------------- tools


def _web_tool(
    tool: canonical.WebSearch | canonical.WebFetch, drop: Drop
) -> request_wire.WebTool:
    """Return a tool of the web, in the version that every host has."""
    if tool.allowed and tool.blocked:
        raise Unsupported(
            "Anthropic's API is held to domains or kept from some, not both.",
            param=f"{tool.where}.blocked_domains",
        )
    web = request_wire.WebTool(
        type=WEB_TOOLS[tool.name],
        name=tool.name,
        max_uses=tool.max_uses,
        allowed_domains=tool.allowed,
        blocked_domains=tool.blocked,
        cache_control=cache_control(tool.cache),
    )
    if isinstance(tool, canonical.WebSearch):
        drop_tuning(tool, drop, "max_uses", "user_location")
        if tool.location is not None:
            known = written_location(tool.location)
            web.user_location = {"type": "approximate", **known}
    else:
        web.max_content_tokens = tool.max_content_tokens
        web.citations = wire.Citing(True) if tool.citations else None
    return web


def _tools(
    request: canonical.Request, able: Abilities, drop: Drop
) -> list[request_wire.Tool | request_wire.WebTool]:
    if not request.tools:
        return []
    choice = request.tool_choice
    allowed = set(choice.names) if choice and choice.mode != "named" else set()
    name = request.name_of("tools")
    tools: list[request_wire.Tool | request_wire.WebTool] = []
    for i, tool in enumerate(request.tools):
        where = f"{name}[{i}]"
        function = f"{where}.function" if name == "tools" else where
        if isinstance(tool, canonical.CustomTool | canonical.BuiltinTool):
            raise Unsupported(
                "Only functions and tools of the web can be kept with Anthropic's API.",
                param=where,
            )
        if allowed and tool.name not in allowed:
            continue
        if not isinstance(tool, canonical.Tool):
            tools.append(_web_tool(tool, drop))
            continue
        strict = tool.strict and able.json_schema and closes(tool.parameters)
        if tool.strict and not strict:
            drop(f"{function}.strict")
        where = f"{function}.parameters"
        schema = _input_schema(tool.parameters, where)
        tools.append(
            request_wire.Tool(
                tool.name,
                narrow(schema, ANTHROPIC, where, drop) if strict else schema,
                tool.description,
                True if strict else None,
                cache_control(tool.cache),
            )
        )
    return tools


def _input_schema(parameters: msgspec.Raw | None, where: str) -> msgspec.Raw:
    """Return a schema of type ``object``, which the API insists on."""
    if parameters is None:
        return msgspec.Raw(b'{"type":"object","properties":{}}')
    try:
        members = _OBJECT.decode(parameters)
        kind = msgspec.json.decode(members.get("type", b'"object"'))
    except msgspec.MsgspecError as exc:
        raise BadRequest(
            f"A tool's parameters must be a JSON schema: {exc}.",
            param=where,
        ) from exc
    if kind != "object":
        raise BadRequest(
            "A tool's parameters must be a JSON schema of type `object`.",
            param=f"{where}.type",
        )
    if not members:
        return msgspec.Raw(b'{"type":"object","properties":{}}')
    if "type" in members:
        return parameters
    return msgspec.Raw(b'{"type":"object",' + bytes(parameters).strip()[1:])


def _tool_choice(
    request: canonical.Request,
    tools: list[request_wire.Tool | request_wire.WebTool],
    able: Abilities,
    *,
    thinks: bool,
) -> request_wire.ToolChoice | None:
    one_call = request.parallel_tool_calls is False
    if request.tool_choice is None and not one_call:
        return None
    choice = request.tool_choice or canonical.ToolChoice("auto")
    name = request.name_of("tool_choice")
    unknown = set(choice.names) - {tool.name for tool in tools}
    if choice.mode == "named" and not choice.names:
        raise BadRequest("Say which tool to call.", param=name)
    if unknown:
        raise BadRequest(f"No tool is named {min(unknown)!r}.", param=name)
    forced = choice.mode in {"required", "named"}
    if forced and not tools:
        raise BadRequest("There is no tool to call.", param=name)
    if not tools:
        return None
    if forced and not able.forced_tools:
        raise Unsupported("This model cannot be made to call.", param=name)
    if forced and thinks:
        raise Unsupported(
            "A model that thinks cannot be made to call: use `auto` or `none`.",
            param=name,
        )
    match choice.mode:
        case "none":
            return request_wire.ToolChoice("none")
        case "auto":
            return request_wire.ToolChoice("auto", disable_parallel_tool_use=one_call)
        case "required":
            return request_wire.ToolChoice("any", disable_parallel_tool_use=one_call)
        case "named":
            return request_wire.ToolChoice("tool", choice.names[0], one_call)
