"""The tools of a request, the choice among them, and the arguments of their calls."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats.openai_chat import wire
from extproc.formats.openai_chat.validation import decode
from extproc.formats.openai_chat.wire import present
from extproc.formats.openai_validation import wrong_type
from extproc.formats.web_tools import is_web_tool, read_web_tool

_BRACE = ord("{")

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_KIND = msgspec.json.Decoder(wire.ToolKind)
_FUNCTION = msgspec.json.Decoder(wire.FunctionTool)
_CUSTOM = msgspec.json.Decoder(wire.CustomTool)

WEB_SEARCH = canonical.WebSearch.name


def read_tools(
    said: wire.Request, left_out: list[str]
) -> tuple[canonical.AnyTool, ...]:
    """Read ``tools``, the deprecated ``functions`` and ``web_search_options``.

    What need not be said of a tool goes to `left_out`.
    """
    options = present(said.web_search_options)
    if said.tools is None and said.functions is None and options is None:
        return ()
    searches = (
        (read_web_tool(WEB_SEARCH, options, "web_search_options", left_out.append),)
        if options is not None
        else ()
    )
    return (
        *_read_tools(said.tools or (), left_out),
        *_read_functions(said.functions or ()),
        *searches,
    )


def _kind(raw: msgspec.Raw, where: str) -> tuple[str, msgspec.Raw]:
    """Return the type of a tool and what it says.

    Clients of Gemini name its tools by a member, ``{"googleSearch": {}}``, and no type.
    """
    members = decode(_MEMBERS, raw, where)
    if len(members) == 1 and "type" not in members:
        ((name, config),) = members.items()
        if is_web_tool(name):
            return name, config
    return decode(_KIND, raw, where).type, raw


def _read_tools(
    said: list[msgspec.Raw] | tuple[()], left_out: list[str]
) -> Iterator[canonical.AnyTool]:
    for i, raw in enumerate(said):
        where = f"tools[{i}]"
        kind, config = _kind(raw, where)
        if is_web_tool(kind):
            yield read_web_tool(kind, config, where, left_out.append)
        elif kind == "function":
            tool = decode(_FUNCTION, raw, where)
            yield _read_function(
                tool.function, tool.cache_control, f"{where}.function.parameters"
            )
        elif kind == "custom":
            custom = decode(_CUSTOM, raw, where).custom
            yield canonical.CustomTool(
                custom.name, custom.description, present(custom.format)
            )
        else:
            # A provider's own tool, asked for in that provider's words. Whoever cannot
            # run it has to refuse it by name.
            yield canonical.BuiltinTool(kind, raw)


def _read_functions(
    said: list[wire.Function] | tuple[()],
) -> Iterator[canonical.Tool]:
    for i, function in enumerate(said):
        yield _read_function(function, None, f"functions[{i}].parameters")


def _read_function(
    said: wire.Function, cache: wire.CacheControl | None, where: str
) -> canonical.Tool:
    parameters = present(said.parameters)
    if parameters is not None and memoryview(parameters)[0] != _BRACE:
        raise wrong_type(where, ["object"], None)
    cache = cache or said.cache_control
    return canonical.Tool(
        name=said.name,
        description=said.description,
        parameters=parameters,
        strict=said.strict,
        cache=canonical.CacheControl(cache.ttl) if cache else None,
    )


def read_tool_choice(said: wire.Request) -> canonical.ToolChoice | None:
    """Read ``tool_choice`` or the deprecated ``function_call``."""
    choice = said.tool_choice if said.tool_choice is not None else said.function_call
    match choice:
        case None:
            return None
        case "none" | "auto" | "required":
            return canonical.ToolChoice(choice)
        case wire.FunctionChoice(named) | wire.CustomChoice(named):
            return canonical.ToolChoice("named", (named.name,))
        case wire.Named(name):
            return canonical.ToolChoice("named", (name,))
        case wire.AllowedToolsChoice(allowed):
            return canonical.ToolChoice(
                allowed.mode,
                tuple(_allowed_name(tool, i) for i, tool in enumerate(allowed.tools)),
            )


def _allowed_name(said: wire.AllowedTool, i: int) -> str:
    named = said.function or said.custom
    if named is None:
        where = f"tool_choice.allowed_tools.tools[{i}].{said.type}"
        raise BadRequest(
            f"Missing required parameter: '{where}'.",
            param=where,
            code="missing_required_parameter",
        )
    return named.name
