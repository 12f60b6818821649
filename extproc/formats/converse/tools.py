"""Canonical tools, and the choice between them, as Converse's ``toolConfig``.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolConfiguration.html.
A conversation in which tools were called needs a ``toolConfig``, whatever the client asks
for in its last turn; so:

- ``tool_choice`` ``none``, for which Converse has no word, leaves the tools out; in such a
  conversation they stay. Claude is then told ``none`` in its own words; with the others the
  choice is left out and reported.
- A client that no longer gives the tools gets them declared by name, which is reported as
  ``tools``.

Of an allowed subset only the subset is sent. That there be one call at most is told to
Claude in its own words, and refused elsewhere: a second call would surprise who asked for
one.
"""

from __future__ import annotations

from typing import Any

import msgspec

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats.base import Unsupported
from extproc.formats.converse import claude, wire
from extproc.formats.converse.content import TOOL_NAME, Draft, bad_name, cache_point
from extproc.formats.converse.models import Family
from extproc.formats.json_schema import ANTHROPIC, closes, narrow
from extproc.formats.web_tools import drop_tuning, refuse_domains

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])

_ANYTHING = msgspec.Raw(b'{"type":"object","properties":{}}')


class Tools(msgspec.Struct, frozen=True):
    """What the request says about tools."""

    config: wire.ToolConfig | None = None
    fields: dict[str, Any] = {}
    """For ``additionalModelRequestFields``."""


def write_tools(
    request: canonical.Request,
    draft: Draft,
    *,
    called: list[str],
    family: Family,
    structured: bool,
    able: claude.Abilities | None,
    thinks: bool,
) -> Tools:
    """Return the tools and the choice.

    `called` are the tools in the conversation, `family` the model's, `structured` says
    whether it takes strict ones, `able` is what a Claude can do, None for other models.

    Raises:
        Unsupported: a tool or choice that the model cannot be given.
        BadRequest: one that makes no sense.
    """
    choice = request.tool_choice or canonical.ToolChoice("auto")
    specs = _specs(request, draft, structured=structured, search=family.search)
    _check(request, choice, [tool.tool_spec.name for tool in specs if tool.tool_spec])
    one_call = request.parallel_tool_calls is False
    if not specs:
        if not called:
            return Tools()
        draft.drop(request.name_of("tools"))
        return Tools(wire.ToolConfig([_declared(name) for name in called]))
    if choice.mode == "none":
        if not called:
            return Tools()
        if able is None:
            draft.drop(request.name_of("tool_choice"))
            return Tools(wire.ToolConfig(specs))
    if choice.mode in {"required", "named"} and able is not None:
        _check_forced(request, able, thinks=thinks)
    if one_call and able is None:
        raise Unsupported(
            "This model cannot be held to one call.",
            param=request.name_of("parallel_tool_calls"),
        )
    if one_call or choice.mode == "none":
        said = claude.tool_choice(choice, one_call=one_call)
        return Tools(wire.ToolConfig(specs), {"tool_choice": said})
    return Tools(wire.ToolConfig(specs, _choice(request, family)))


def _choice(request: canonical.Request, family: Family) -> wire.ToolChoice | None:
    choice = request.tool_choice
    if choice is None:
        return None
    forced = choice.mode in {"required", "named"}
    only = len(request.tools) == 1
    if forced and family.forced == "any" and (only or choice.mode == "required"):
        return wire.ToolChoice(any=wire.Nothing())
    match choice.mode:
        case "required":
            return wire.ToolChoice(any=wire.Nothing())
        case "named":
            return wire.ToolChoice(tool=wire.Named(choice.names[0]))
        case _:
            return wire.ToolChoice(auto=wire.Nothing())


def _check(
    request: canonical.Request, choice: canonical.ToolChoice, names: list[str]
) -> None:
    name = request.name_of("tool_choice")
    unknown = set(choice.names) - set(names)
    if choice.mode == "named" and not choice.names:
        raise BadRequest("Say which tool to call.", param=name)
    if unknown:
        raise BadRequest(f"No tool is named {min(unknown)!r}.", param=name)
    if choice.mode in {"required", "named"} and not names:
        raise BadRequest("There is no tool to call.", param=name)


def _check_forced(
    request: canonical.Request, able: claude.Abilities, *, thinks: bool
) -> None:
    name = request.name_of("tool_choice")
    if not able.forced_tools:
        raise Unsupported("This model cannot be made to call.", param=name)
    if thinks:
        raise Unsupported(
            "A model that thinks cannot be made to call: use `auto` or `none`.",
            param=name,
        )


def _specs(
    request: canonical.Request, draft: Draft, *, structured: bool, search: str
) -> list[wire.Tool]:
    choice = request.tool_choice
    allowed = set(choice.names) if choice and choice.mode != "named" else set()
    name = request.name_of("tools")
    specs: list[wire.Tool] = []
    for i, tool in enumerate(request.tools):
        where = f"{name}[{i}]"
        function = f"{where}.function" if name == "tools" else where
        if isinstance(tool, canonical.WebSearch) and search:
            refuse_domains(tool, "The search of Bedrock's models")
            drop_tuning(tool, draft.drop)
            specs.append(wire.Tool(system_tool=wire.SystemTool(search)))
            continue
        if not isinstance(tool, canonical.Tool):
            raise Unsupported(
                "This model of Bedrock's cannot be given this tool.", param=where
            )
        if allowed and tool.name not in allowed:
            continue
        if TOOL_NAME.fullmatch(tool.name) is None:
            raise bad_name(tool.name, f"{function}.name")
        strict = tool.strict and structured and closes(tool.parameters)
        if tool.strict and not strict:
            draft.drop(f"{function}.strict")
        place = f"{function}.parameters"
        schema = _input_schema(tool.parameters, place)
        if strict:
            schema = narrow(schema, ANTHROPIC, place, draft.drop)
        spec = wire.ToolSpec(
            tool.name,
            wire.InputSchema(schema),
            tool.description or None,
            True if strict else None,
        )
        specs.append(wire.Tool(spec))
        point = cache_point(tool.cache)
        if point is not None:
            specs.append(wire.Tool(cache_point=point))
    return specs


def _declared(name: str) -> wire.Tool:
    return wire.Tool(wire.ToolSpec(name, wire.InputSchema(_ANYTHING)))


def _input_schema(parameters: msgspec.Raw | None, where: str) -> msgspec.Raw:
    """Return a schema of type ``object``, which models insist on."""
    if parameters is None:
        return _ANYTHING
    try:
        members = _OBJECT.decode(parameters)
        kind = msgspec.json.decode(members.get("type", b'"object"'))
    except msgspec.MsgspecError as exc:
        raise BadRequest(
            f"A tool's parameters must be a JSON schema: {exc}.", param=where
        ) from exc
    if kind != "object":
        raise BadRequest(
            "A tool's parameters must be a JSON schema of type `object`.",
            param=f"{where}.type",
        )
    if not members:
        return _ANYTHING
    if "type" in members:
        return parameters
    return msgspec.Raw(b'{"type":"object",' + bytes(parameters).strip()[1:])
