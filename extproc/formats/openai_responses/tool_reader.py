"""The tools of a request and the choice among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from extproc import canonical
from extproc.formats.openai_responses import wire
from extproc.formats.openai_responses.validation import decode
from extproc.formats.openai_responses.wire import present
from extproc.formats.openai_validation import missing, wrong_type
from extproc.formats.web_tools import is_web_tool, read_web_tool

_KIND = msgspec.json.Decoder(wire.Kind)
_FUNCTION = msgspec.json.Decoder(wire.FunctionTool)
_CUSTOM = msgspec.json.Decoder(wire.CustomTool)
_FORMAT: msgspec.json.Decoder[wire.TextFormatOfCustom | wire.GrammarOfCustom] = (
    msgspec.json.Decoder(wire.TextFormatOfCustom | wire.GrammarOfCustom)
)
_BRACE = ord("{")


def read_tools(
    said: Sequence[msgspec.Raw], unsaid: dict[str, msgspec.Raw], left_out: list[str]
) -> Iterator[canonical.AnyTool]:
    """Yield the tools; what of them has no canonical word goes to `unsaid`.

    What need not be said of them goes to `left_out`.

    Raises:
        BadRequest: one that is none.
    """
    for i, raw in enumerate(said):
        where = f"tools[{i}]"
        kind = decode(_KIND, raw, where).type
        if kind == "function":
            tool = decode(_FUNCTION, raw, where)
            _note_unsaid(tool, where, unsaid)
            yield canonical.Tool(
                tool.name,
                tool.description,
                _read_schema(tool.parameters, f"{where}.parameters"),
                tool.strict,
            )
        elif kind == "custom":
            custom = decode(_CUSTOM, raw, where)
            _note_unsaid(custom, where, unsaid)
            shape = _read_format(custom.format, f"{where}.format")
            yield canonical.CustomTool(custom.name, custom.description, shape)
        elif kind is None:
            raise missing(f"{where}.type")
        elif is_web_tool(kind):
            yield read_web_tool(kind, raw, where, left_out.append)
        else:
            # A provider's own tool, asked for in that provider's words. Whoever cannot
            # run it has to refuse it by name.
            yield canonical.BuiltinTool(kind, raw)


def _note_unsaid(
    tool: wire.FunctionTool | wire.CustomTool,
    where: str,
    unsaid: dict[str, msgspec.Raw],
) -> None:
    if tool.defer_loading:
        unsaid[f"{where}.defer_loading"] = wire.raw(True)
    if tool.async_:
        unsaid[f"{where}.async"] = wire.raw(True)
    if tool.allowed_callers not in (None, ["direct"]):
        unsaid[f"{where}.allowed_callers"] = wire.raw(tool.allowed_callers)
    if isinstance(tool, wire.FunctionTool) and present(tool.output_schema):
        unsaid[f"{where}.output_schema"] = tool.output_schema


def _read_schema(said: msgspec.Raw, where: str) -> msgspec.Raw | None:
    parameters = present(said)
    if parameters is not None and memoryview(parameters)[0] != _BRACE:
        raise wrong_type(where, ["object"], None)
    return parameters


def _read_format(said: msgspec.Raw, where: str) -> msgspec.Raw | None:
    """Return a custom tool's format as chat completions spell it, which nest it."""
    if present(said) is None:
        return None
    match decode(_FORMAT, said, where):
        case wire.GrammarOfCustom(definition, syntax):
            grammar = {"definition": definition, "syntax": syntax}
            return wire.raw({"type": "grammar", "grammar": grammar})
        case wire.TextFormatOfCustom():
            return said


def read_tool_choice(
    said: str | wire.Choice | None,
    raw: msgspec.Raw,
    unsaid: dict[str, msgspec.Raw],
    *,
    searching: bool,
) -> canonical.ToolChoice | None:
    """Read ``tool_choice``; a choice of a built-in tool goes to `unsaid`.

    But for the search of the web, if the tools have it, which is `searching`.
    """
    match said:
        case None:
            return None
        case "none" | "auto" | "required":
            return canonical.ToolChoice(said)
        case wire.Choice("function" | "custom", None):
            raise missing("tool_choice.name")
        case wire.Choice("function" | "custom", str(name)):
            return canonical.ToolChoice("named", (name,))
        case wire.Choice("allowed_tools", mode=mode, tools=tools):
            if mode is None or tools is None:
                raise missing(f"tool_choice.{'mode' if mode is None else 'tools'}")
            names = tuple(tool.name for tool in tools if tool.name is not None)
            if len(names) == len(tools):
                return canonical.ToolChoice(mode, names)
        case wire.Choice(kind, mode=None, tools=None) if (
            is_web_tool(kind) and searching
        ):
            return canonical.ToolChoice("named", (canonical.WebSearch.name,))
        case _:
            pass  # another built-in tool
    unsaid["tool_choice"] = raw
    return None
