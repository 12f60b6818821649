"""OpenAI's legacy completion request, as bytes become it.

https://platform.openai.com/docs/api-reference/completions/create; the fields are those of
``openai.types.completion_create_params``.
"""

from __future__ import annotations

from msgspec import Raw, Struct


class StreamOptions(Struct, frozen=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Request(Struct, frozen=True, kw_only=True):
    """The members that are read; all others are extras."""

    model: str
    prompt: str | list[str | int | list[int]] | None = None
    best_of: int | None = None
    echo: bool | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    max_tokens: int | None = None
    n: int | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    suffix: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    user: str | None = None


NULL = Raw(b"null")
