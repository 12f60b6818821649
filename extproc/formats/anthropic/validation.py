"""What is wrong with a client's request, with the field's name.

msgspec says what it expected and where, ``Expected `str`, got `int` - at `$.system` ``;
the error names the place as the client's own code would: ``messages[0].content``.
"""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from extproc.errors import BadRequest

T = TypeVar("T")

_WHERE = re.compile(
    r"(?P<what>.*?)(?: - at `(?:key in )?\$\.?(?P<path>.*)`)?", re.DOTALL
)
_FIELD = re.compile(r"Object (?:missing required|contains unknown) field `([^`]*)`")


def decode(
    decoder: msgspec.json.Decoder[T], text: bytes | msgspec.Raw, where: str = ""
) -> T:
    """Decode `text`, which stands at `where` in the request.

    Raises:
        BadRequest: it is not JSON or not what is expected there.
    """
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as exc:
        raise invalid(str(exc), where) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise BadRequest(f"The request body is not valid JSON: {exc}.") from None


def spelling(raw: msgspec.Raw, where: str) -> str:
    """Return JSON as it is spelled.

    Raises:
        BadRequest: it is not UTF-8, which msgspec does not look for in what it keeps.
    """
    try:
        return bytes(raw).decode()
    except UnicodeDecodeError as exc:
        raise BadRequest(f"{where}: {exc}.", param=where) from None


def invalid(reason: str, where: str = "") -> BadRequest:
    """Say what msgspec found wrong below `where`."""
    match = _WHERE.fullmatch(reason)
    what, path = (match["what"], match["path"] or "") if match else (reason, "")
    param = join(where, path)
    if field := _FIELD.match(what):
        param = join(param, field[1])
    return BadRequest(f"{param}: {what}." if param else f"{what}.", param=param or None)


def join(where: str, below: str) -> str:
    """Append one path to another: ``messages[0]`` and ``content[1].type``."""
    if not where or not below:
        return where or below
    return where + below if below.startswith("[") else f"{where}.{below}"
