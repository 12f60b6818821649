"""The judge of Anthropic requests: Anthropic's own SDK types, read strictly."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
from anthropic.types import (
    message_create_params,  # the module: its TypedDicts name each other
)

from tests.oracles.typed import check

OLDER_FIELDS: dict[str, Any] = {
    "temperature": float, "top_p": float, "top_k": int, "stream": bool,
}  # fmt: skip
"""Fields of the API version 2023-06-01 that the SDK's types no longer have."""


def judge(body: bytes) -> Any:
    """Check a body against `MessageCreateParams`, unknown fields refused; decode it."""
    decoded = msgspec.json.decode(body)
    hint = message_create_params.MessageCreateParamsNonStreaming
    check(decoded, hint, more=OLDER_FIELDS)
    roles = [turn["role"] for turn in decoded["messages"]]
    assert roles[0] == "user"
    assert all(a != b for a, b in itertools.pairwise(roles))
    for turn in decoded["messages"]:
        assert turn["content"]
        kinds = [block["type"] == "tool_result" for block in turn["content"]]
        assert kinds == sorted(kinds, reverse=True)
    texts = [b for t in decoded["messages"] for b in t["content"]]
    texts += decoded.get("system", [])
    assert all(b["text"].strip() for b in texts if b["type"] == "text")
    return decoded
