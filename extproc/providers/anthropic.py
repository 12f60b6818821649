"""Anthropic, first party: https://docs.anthropic.com/en/api/messages."""

from __future__ import annotations

from extproc.formats import anthropic
from extproc.formats.anthropic import count_tokens
from extproc.providers.base import Dialect, Provider

PROVIDER = Provider(
    name="anthropic",
    format=anthropic.PROVIDER,
    base_url="https://api.anthropic.com/v1",
    chat_path="/messages",
    others=(Dialect(count_tokens.PROVIDER, "/messages/count_tokens"),),
    forward_path="{path}",
    request_id_header="request-id",
    credential_header="x-api-key",
    headers={"anthropic-version": "2023-06-01"},
    key_variable="ANTHROPIC_API_KEY",
    model_patterns=("claude-*",),
    models=("claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5"),
)
