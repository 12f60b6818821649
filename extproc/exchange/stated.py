"""What each request has to state, and in the right type, before anybody is chosen for it."""

from __future__ import annotations

from typing import Final

import msgspec

from extproc.errors import BadRequest
from extproc.framing.members import Members

_TEXT: Final = msgspec.json.Decoder(str)
_FLAG: Final[msgspec.json.Decoder[bool | None]] = msgspec.json.Decoder(bool | None)


def read_model(members: Members, *, default: str) -> str:
    """Return the original model; `default` where the API does without, empty: it does not.

    Raises:
        BadRequest: there is none, or it is no string.
    """
    if "model" not in members:
        if default:
            return default
        raise BadRequest(
            "Missing required parameter: 'model'.",
            param="model",
            code="missing_required_parameter",
        )
    try:
        return _TEXT.decode(members["model"])
    except msgspec.ValidationError:
        raise _wrong_type("model", "a string") from None


def read_stream(members: Members) -> bool:
    """Return whether the answer is to be streamed.

    Raises:
        BadRequest: that is neither true nor false.
    """
    if "stream" not in members:
        return False
    try:
        return bool(_FLAG.decode(members["stream"]))
    except msgspec.ValidationError:
        raise _wrong_type("stream", "a boolean") from None


def _wrong_type(key: str, expected: str) -> BadRequest:
    return BadRequest(
        f"Invalid type for {key!r}: expected {expected}.",
        param=key,
        code="invalid_type",
    )
