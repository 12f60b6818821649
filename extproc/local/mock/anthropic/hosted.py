"""Anthropic's models in another's house: the body that a host takes, made Anthropic's own.

A host takes the model from its path and the version from the body; what is left is judged
by the mock of Anthropic itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from extproc.local.mock import strictjson
from extproc.local.mock.anthropic import api, errors
from extproc.local.mock.reply import Refusal, Reply, Request, Stream

KEY: Final = "sk-mock-anthropic-in-the-house"


def ask(
    anthropic: api.Anthropic,
    body: Mapping[str, Any],
    *,
    model: str,
    dated: str,
    betas: list[str],
    count: bool = False,
) -> Reply | Stream:
    """Let Anthropic answer what a host was asked.

    Args:
        anthropic: The judge; it must know the key `KEY`.
        body: What the host was sent, without what is the host's own.
        model: Anthropic's own name of the model.
        dated: The host's name for the older version, such as `bedrock-2023-05-31`.
        betas: The flags that are on.
        count: Whether tokens are to be counted, no more.
    """
    inner = {**body, "model": model}
    version = inner.pop("anthropic_version", None)
    if version is None:
        raise Refusal(400, "anthropic_version: Field required")
    if version not in {dated, api.CURRENT}:
        raise Refusal(
            400, f"anthropic_version: Input should be '{dated}' or '{api.CURRENT}'"
        )
    older = version == dated
    headers = [
        ("content-type", "application/json"),
        ("anthropic-version", api.OLDER if older else api.CURRENT),
        ("x-api-key", KEY),
    ]
    if betas:
        headers.append(("anthropic-beta", ",".join(betas)))
    path = api.COUNT_PATH if count else api.MESSAGES_PATH
    encoded = msgspec.json.encode(inner)
    return anthropic.respond(Request("POST", path, tuple(headers), encoded))


def read(raw: bytes) -> dict[str, Any]:
    """Return the members of a body.

    Raises:
        Refusal: It is no JSON object.
    """
    with errors.refusing():
        return dict(strictjson.read_object(raw))
