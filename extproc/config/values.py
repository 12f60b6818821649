"""Values that every part of ``gateway.yaml`` is made of."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)\Z")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE = re.compile(r"(\d+)(B|KiB|MiB|GiB)\Z")
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def read_seconds(value: object) -> object:
    """Read a time such as ``90``, ``"90s"`` or ``"2m"``."""
    if isinstance(value, str):
        match = _DURATION.match(value)
        if match is None:
            raise ValueError("must be a time such as 90, 90s, 2m or 500ms")
        return float(match[1]) * _SECONDS[match[2]]
    return value


def _bytes(value: object) -> object:
    if isinstance(value, str) and not value.isdigit():
        match = _SIZE.match(value)
        if match is None:
            raise ValueError("must be a size such as 1048576, 512KiB or 32MiB")
        return int(match[1]) * _BYTES[match[2]]
    return _whole(value)


def _whole(value: object) -> object:
    # A variable is always a string after it is expanded.
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value):
        return int(value)
    return value


def _switch(value: object) -> object:
    if isinstance(value, str):
        if value not in {"true", "false"}:
            raise ValueError("must be true or false")
        return value == "true"
    return value


Seconds = Annotated[float, BeforeValidator(read_seconds), Field(gt=0, le=86_400)]
Whole = Annotated[int, BeforeValidator(_whole)]
ByteCount = Annotated[int, BeforeValidator(_bytes)]
Switch = Annotated[bool, BeforeValidator(_switch)]
Text = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """What every part of the file has in common."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, hide_input_in_errors=True
    )
