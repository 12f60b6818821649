"""The judge of Cohere requests: Cohere's own SDK types, and the mock's strict rules.

The SDK's types allow members that they do not know; the mock's name every one of them.
"""

from __future__ import annotations

import json
from typing import Any

import pydantic
from cohere.types import (
    ChatMessageV2,
    CitationOptions,
    ResponseFormatV2,
    Thinking,
    ToolV2,
)

from extproc.local.mock.cohere.api import check
from extproc.local.mock.cohere.models import MODELS
from extproc.local.mock.cohere.rules import CHAT
from extproc.local.mock.rules import check as check_rule


class ChatBody(pydantic.BaseModel):
    """The arguments of ``cohere.V2Client.chat``, and of ``chat_stream``."""

    model_config = pydantic.ConfigDict(extra="forbid", strict=True)

    model: str
    messages: list[ChatMessageV2]
    stream: bool | None = None
    tools: list[ToolV2] | None = None
    strict_tools: bool | None = None
    documents: list[Any] | None = None
    citation_options: CitationOptions | None = None
    response_format: ResponseFormatV2 | None = None
    safety_mode: str | None = None
    max_tokens: int | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    seed: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    k: int | None = None
    p: float | None = None
    logprobs: bool | None = None
    tool_choice: str | None = None
    thinking: Thinking | None = None
    priority: int | None = None


def judge(body: bytes) -> Any:
    """Check a body as Cohere would; decode it."""
    said = json.loads(body)
    ChatBody.model_validate(said)
    check_rule(CHAT, said)
    check(said, MODELS[said["model"]])
    return said
