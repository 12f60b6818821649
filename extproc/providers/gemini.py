"""Gemini, of Google AI Studio: https://ai.google.dev/api."""

from __future__ import annotations

from extproc.formats import gemini
from extproc.formats.embeddings import google
from extproc.formats.gemini import count_tokens
from extproc.providers.base import Dialect, Provider

PROVIDER = Provider(
    name="gcp.gemini",
    format=gemini.PROVIDER,
    base_url="https://generativelanguage.googleapis.com/v1beta",
    chat_path="/models/{model}:generateContent",
    stream_path="/models/{model}:streamGenerateContent?alt=sse",
    others=(
        Dialect(google.GEMINI, "/models/{model}:batchEmbedContents"),
        Dialect(count_tokens.PROVIDER, "/models/{model}:countTokens"),
    ),
    credential_header="x-goog-api-key",
    key_variable="GEMINI_API_KEY",
    model_patterns=("gemini-*",),
    models=(
        "gemini-4-argon", "gemini-3.8-flash", "gemini-3.5-flash-lite",
        "gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite",
    ),
)  # fmt: skip
