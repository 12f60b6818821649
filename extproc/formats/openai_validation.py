"""What is wrong with a request, in OpenAI's words and with its `param` and `code`.

msgspec says what it expected and where, ``Expected `str`, got `int` - at `$.user```;
OpenAI's SDKs and their users know ``Invalid type for 'user': expected a string, but got
an integer instead.``
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from extproc.errors import BadRequest

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


@dataclasses.dataclass(frozen=True, slots=True)
class Wording:
    """Says what is wrong with the requests of one of the APIs."""

    supported: Mapping[str, str]
    """What may stand where a value has to be one of a few; the indexes are left out."""

    def decode(
        self, decoder: msgspec.json.Decoder[T], text: bytes | str, where: str = ""
    ) -> T:
        """Decode `text`, which stands at `where` in the request.

        Raises:
            BadRequest: it is not JSON or not what is expected there.
        """
        try:
            return decoder.decode(text)
        except msgspec.ValidationError as exc:
            raise self.invalid(str(exc), where) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise BadRequest(
                f"We could not parse the JSON body of your request: {exc}"
            ) from None

    def invalid(self, reason: str, where: str = "") -> BadRequest:
        """Say in OpenAI's words what msgspec found wrong."""
        match = _WHERE.match(reason)
        what, below = (match["what"], match["where"] or "") if match else (reason, "")
        param = join(where, below)
        if found := _MISSING.match(what):
            return missing(join(param, found["field"]))
        if (found := _VALUE.match(what)) and (value := found["value"]):
            return self.unknown_value(param, value)
        if found := _TYPE.match(what):
            return wrong_type(param, found["want"].split(" | "), found["got"])
        return BadRequest(
            f"Invalid value for '{param}': {what}", param=param, code="invalid_value"
        )

    def unknown_value(self, param: str, value: str) -> BadRequest:
        """Say that `value`, spelled with its quotes, is none of the few that may be."""
        supported = self.supported.get(_INDEX.sub("[]", param))
        hint = f" Supported values are: {supported}." if supported else ""
        return BadRequest(
            f"Invalid value: {value}.{hint}", param=param, code="invalid_value"
        )


def missing(param: str) -> BadRequest:
    """Say that a member has to be given."""
    return BadRequest(
        f"Missing required parameter: '{param}'.",
        param=param,
        code="missing_required_parameter",
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
