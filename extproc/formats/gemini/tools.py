"""Functions, the choice among them, and the shape of an answer, in Gemini's words.

https://ai.google.dev/api/caching#Tool. There is no word for one call at a time: a
``parallel_tool_calls`` of false is left out and reported, as Google's own OpenAI-compatible
API ignores it. Nor is there one for ``strict``: calls that are demanded always fit their
schema; elsewhere it is reported.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats.base import Unsupported
from extproc.formats.gemini import wire
from extproc.formats.gemini.conversation import Drop
from extproc.formats.gemini.models import Abilities
from extproc.formats.gemini.schema import convert, convert_object
from extproc.formats.json_schema import GEMINI, narrow_format
from extproc.formats.web_tools import drop_tuning, refuse_domains

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])

_MODES: Mapping[str, Literal["AUTO", "ANY", "NONE"]] = {
    "auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY",
}  # fmt: skip


def write_web_tools(request: canonical.Request, drop: Drop) -> list[wire.Tool]:
    """Return the tools that search and read the web.

    Raises:
        Unsupported: domains that Google's search cannot be told.
    """
    tools = []
    for tool in request.tools:
        match tool:
            case canonical.WebSearch():
                refuse_domains(tool, "Google's search", blocked=True)
                search = wire.GoogleSearch(tool.blocked)
                tools.append(wire.Tool(google_search=search))
            case canonical.WebFetch():
                refuse_domains(tool, "Gemini's reading of pages")
                tools.append(wire.Tool(url_context=wire.UrlContext()))
            case _:
                continue
        drop_tuning(tool, drop)
    return tools


def write_tools(
    request: canonical.Request, model: Abilities, drop: Drop
) -> list[wire.FunctionDeclaration]:
    """Return the functions; of an allowed subset, only the subset.

    Raises:
        Unsupported: a tool that is no function, or one whose name the API refuses.
        BadRequest: parameters that are no JSON schema of an object.
    """
    choice = request.tool_choice
    allowed = set(choice.names) if choice and choice.mode == "auto" else set()
    demanded = choice is not None and choice.mode in {"required", "named"}
    name = request.name_of("tools")
    web = any(
        isinstance(tool, canonical.WebSearch | canonical.WebFetch)
        for tool in request.tools
    )
    functions = []
    for i, tool in enumerate(request.tools):
        where = f"{name}[{i}]"
        function = f"{where}.function" if name == "tools" else where
        if isinstance(tool, canonical.WebSearch | canonical.WebFetch):
            continue
        if not isinstance(tool, canonical.Tool):
            raise Unsupported(
                "Only functions and tools of the web can be kept with Gemini's API.",
                param=where,
            )
        if web:
            raise Unsupported(
                "Gemini's API searches the web or calls functions, not both.",
                param=where,
            )
        if allowed and tool.name not in allowed:
            continue
        if _NAME.fullmatch(tool.name) is None:
            raise Unsupported(
                f"Gemini's API takes no function of the name {tool.name[:200]!r}.",
                param=f"{function}.name",
            )
        if tool.strict and not demanded:
            drop(f"{function}.strict")
        functions.append(_function(tool, f"{function}.parameters", model, drop))
    if request.parallel_tool_calls is False and functions:
        drop(request.name_of("parallel_tool_calls"))
    return functions


def _function(
    tool: canonical.Tool, where: str, model: Abilities, drop: Drop
) -> wire.FunctionDeclaration:
    function = wire.FunctionDeclaration(tool.name, tool.description or None)
    if tool.parameters is None:
        return function
    try:
        members = wire.decode(_OBJECT, bytes(tool.parameters))
        kind = msgspec.json.decode(members.get("type", b'"object"'))
        if model.json_schema:
            function.parameters_json_schema = _with_type(tool.parameters, members)
        else:
            schema = _with_type(tool.parameters, members)
            function.parameters = convert_object(schema, where, drop)
    except msgspec.MsgspecError as exc:
        raise BadRequest(
            f"A tool's parameters must be a JSON schema: {exc}.", param=where
        ) from exc
    if kind != "object":
        raise BadRequest(
            "A tool's parameters must be a JSON schema of type `object`.",
            param=f"{where}.type",
        )
    return function


def _with_type(raw: msgspec.Raw, members: dict[str, msgspec.Raw]) -> msgspec.Raw:
    if "type" in members or "$ref" in members:
        return raw
    if not members:
        return msgspec.Raw(b'{"type":"object","properties":{}}')
    return msgspec.Raw(b'{"type":"object",' + bytes(raw).strip()[1:])


def write_tool_choice(
    request: canonical.Request, functions: list[wire.FunctionDeclaration]
) -> wire.ToolConfig | None:
    """Return who decides whether a function is called.

    Raises:
        BadRequest: a choice that names what is not there.
    """
    choice = request.tool_choice
    if choice is None:
        return None
    name = request.name_of("tool_choice")
    if choice.mode == "named" and not choice.names:
        raise BadRequest("Say which tool to call.", param=name)
    unknown = set(choice.names) - {function.name for function in functions}
    if unknown:
        raise BadRequest(f"No tool is named {min(unknown)!r}.", param=name)
    if not functions:
        if choice.mode in {"required", "named"}:
            raise BadRequest("There is no tool to call.", param=name)
        return None
    config = wire.FunctionCallingConfig(_MODES[choice.mode])
    if config.mode == "ANY" and choice.names:
        # The API takes names with a demand only.
        config.allowed_function_names = choice.names
    return wire.ToolConfig(config)


def write_output_format(
    request: canonical.Request,
    config: wire.GenerationConfig,
    model: Abilities,
    drop: Drop,
    *,
    tools: bool,
) -> None:
    """Bind the answer's text to the shape that is asked for.

    Raises:
        Unsupported: the model has no such answers where there are tools.
        BadRequest: the shape lacks its schema, or that is none.
    """
    shape = request.output_format
    if shape is None or shape.kind == "text":
        return
    name = request.name_of("output_format")
    if tools and not model.json_with_tools:
        raise Unsupported(
            "This Gemini model answers in JSON or calls tools, not both.", param=name
        )
    config.response_mime_type = "application/json"
    if shape.kind == "json_object":
        return
    if shape.description is not None:
        drop(f"{name}.description")
    where = f"{name}.json_schema.schema" if name == "response_format" else name
    if shape.schema is None:
        raise BadRequest(
            "A response format of type `json_schema` needs its schema.", param=where
        )
    if model.json_schema:
        config.response_json_schema = narrow_format(
            shape.schema, GEMINI, where, drop, param=where
        )
        return
    try:
        config.response_schema = convert(shape.schema, where, drop)
    except msgspec.MsgspecError as exc:
        raise BadRequest(
            f"The schema must be a JSON object: {exc}.", param=where
        ) from exc
