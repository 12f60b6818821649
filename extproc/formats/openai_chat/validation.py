"""What is wrong with a request, in OpenAI's words and with its `param` and `code`.

msgspec says what it expected and where, ``Expected `str`, got `int` - at `$.user```;
OpenAI's SDKs and their users know ``Invalid type for 'user': expected a string, but got
an integer instead.``
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar, get_args

import msgspec

from extproc.errors import BadRequest
from extproc.formats.openai_chat import wire

T = TypeVar("T")

_WHERE = re.compile(
    r"^(?P<what>.*?)(?: - at `(?:key in )?\$\.?(?P<where>.*)`)?$", re.DOTALL
)
_TYPE = re.compile(r"Expected `(?P<want>[^`]*)`(?:, got `(?P<got>[^`]*)`)?$")
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]*)`$")
_VALUE = re.compile(r"Invalid (?:enum )?value (?P<value>.*)$", re.DOTALL)
_INDEX = re.compile(r"\[(?:\d+|\.\.\.)\]")

_NOUNS: Mapping[str, str] = {
    "str": "a string", "int": "an integer", "float": "a decimal", "bool": "a boolean",
    "array": "an array", "object": "an object", "null": "null",
}  # fmt: skip

_PARTS = "'text', 'image_url', 'input_audio', 'file', 'refusal'"

SUPPORTED: Mapping[str, str] = {
    "messages[].role": (
        "'system', 'developer', 'user', 'assistant', 'tool', 'function'"
    ),
    "messages[].content[].type": _PARTS,
    "messages[].tool_calls[].type": "'function', 'custom'",
    "messages[].thinking_blocks[].type": "'thinking', 'redacted_thinking'",
    "tool_choice": "'none', 'auto', 'required'",
    "tool_choice.type": "'function', 'custom', 'allowed_tools'",
    "tool_choice.allowed_tools.mode": "'auto', 'required'",
    "function_call": "'none', 'auto'",
    "response_format.type": "'text', 'json_object', 'json_schema'",
    "reasoning_effort": ", ".join(map(repr, get_args(wire.Effort))),
    "thinking.type": "'enabled', 'disabled', 'adaptive'",
}
"""What may stand where a value has to be one of a few; the indexes are left out."""


def decode(decoder: msgspec.json.Decoder[T], text: bytes, where: str = "") -> T:
    """Decode `text`, which stands at `where` in the request.

    Raises:
        BadRequest: it is not JSON or not what is expected there.
    """
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as exc:
        raise invalid(str(exc), where) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise BadRequest(
            f"We could not parse the JSON body of your request: {exc}"
        ) from None


def invalid(reason: str, where: str = "") -> BadRequest:
    """Say in OpenAI's words what msgspec found wrong."""
    match = _WHERE.match(reason)
    what, below = (match["what"], match["where"] or "") if match else (reason, "")
    param = join(where, below)
    if found := _MISSING.match(what):
        return missing(join(param, found["field"]))
    if (found := _VALUE.match(what)) and (value := found["value"]):
        return unknown_value(param, value)
    if found := _TYPE.match(what):
        return wrong_type(param, found["want"].split(" | "), found["got"])
    return BadRequest(
        f"Invalid value for '{param}': {what}", param=param, code="invalid_value"
    )


def missing(param: str) -> BadRequest:
    """Say that a member has to be given."""
    return BadRequest(
        f"Missing required parameter: '{param}'.",
        param=param,
        code="missing_required_parameter",
    )


def unknown_value(param: str, value: str) -> BadRequest:
    """Say that `value`, spelled with its quotes, is none of the few that may be."""
    supported = SUPPORTED.get(_INDEX.sub("[]", param))
    hint = f" Supported values are: {supported}." if supported else ""
    return BadRequest(
        f"Invalid value: {value}.{hint}", param=param, code="invalid_value"
    )


def wrong_type(param: str, want: list[str], got: str | None) -> BadRequest:
    """Say that a member has another type than it must."""
    nouns = [_NOUNS.get(name, name) for name in want if name != "null"]
    expected = nouns[0] if len(nouns) == 1 else f"one of {' or '.join(nouns)}"
    found = f", but got {_NOUNS.get(got, got)} instead" if got else ""
    name = f" for '{param}'" if param else ""
    return BadRequest(
        f"Invalid type{name}: expected {expected}{found}.",
        param=param or None,
        code="invalid_type",
    )


def join(where: str, below: str) -> str:
    """Append one path to another: ``messages[0]`` and ``content[1].type``."""
    if not where or not below:
        return where or below
    return where + below if below.startswith("[") else f"{where}.{below}"
