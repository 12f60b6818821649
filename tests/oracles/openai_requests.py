"""The judges of OpenAI requests: OpenAI's own SDK types, read strictly."""

from __future__ import annotations

from typing import Any

import msgspec
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
)

from tests.oracles.typed import check

_CHAT: Any = CompletionCreateParamsStreaming
_RESPONSE: Any = ResponseCreateParamsNonStreaming


def judge_chat(body: bytes) -> Any:
    """Check a body against `CompletionCreateParams`, unknown fields refused."""
    decoded = msgspec.json.decode(body)
    check({"stream": True, **decoded}, _CHAT)
    return decoded


def judge_response(body: bytes) -> Any:
    """Check a body against `ResponseCreateParams`, unknown fields refused."""
    decoded = msgspec.json.decode(body)
    check(decoded, _RESPONSE, more={"stream": bool})
    return decoded
