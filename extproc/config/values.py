"""Values that every part of ``gateway.yaml`` is made of."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
)

from extproc.config.endpoint import check_web_address, split_address

CREDENTIAL_HEADERS = (
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-amz-security-token",
    "cookie",
)
"""Headers in which some provider or client puts what authenticates it. None of a
client's may reach a provider."""

_MANAGED_HEADERS = frozenset(
    {*CREDENTIAL_HEADERS, "host", "content-length", "content-type", "accept-encoding"}
) | {"connection", "transfer-encoding", "upgrade", "te", "trailer", "keep-alive"}

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


def _address(value: str) -> str:
    split_address(value)
    return value


def _credential(value: SecretStr) -> SecretStr:
    secret = value.get_secret_value()
    if not secret:
        raise ValueError("is empty")
    if not re.fullmatch(r"[\x21-\x7e]+", secret):
        raise ValueError("has a blank, a line break or a character outside ASCII in it")
    return value


def _headers(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
            raise ValueError(f"{name!r} is not a header name in lower case")
        if name in _MANAGED_HEADERS or name.startswith(("x-envoy-", "x-gw-")):
            raise ValueError(f"{name} is set by the gateway (credentials: api_key)")
        if not re.fullmatch(r"[\x20-\x7e]*", text):
            raise ValueError(f"{name} has a character that no header may have")
        if "%" in text:
            raise ValueError(f"{name} has a %, which Envoy would read as a variable")
    return value


Seconds = Annotated[float, BeforeValidator(read_seconds), Field(gt=0, le=86_400)]
Whole = Annotated[int, BeforeValidator(_whole)]
ByteCount = Annotated[int, BeforeValidator(_bytes)]
Switch = Annotated[bool, BeforeValidator(_switch)]
Address = Annotated[str, AfterValidator(_address)]
Credential = Annotated[SecretStr, AfterValidator(_credential)]
Headers = Annotated[dict[str, str], AfterValidator(_headers)]
Text = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """What every part of the file has in common."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, hide_input_in_errors=True
    )


class CertificatePair(Section):
    """A certificate and its key.

    Envoy reads both files, and reads them again after a rename in their folder.
    """

    certificate: Path
    """PEM, the whole chain."""
    key: Path
    """PEM."""


def _web_address(value: SecretStr) -> SecretStr:
    check_web_address(value.get_secret_value())
    return value


WebAddress = Annotated[SecretStr, AfterValidator(_web_address)]
"""Whom control tells something; it may have a secret in it, as Slack's have."""
