"""The kinds of provider that a configuration can name, by their ``type``."""

from __future__ import annotations

from extproc.providers import anthropic, bedrock, gemini, openai
from extproc.providers.base import Provider

PROVIDERS: dict[str, Provider] = {
    "openai": openai.PROVIDER,
    "anthropic": anthropic.PROVIDER,
    "gemini": gemini.PROVIDER,
    "bedrock": bedrock.PROVIDER,
}
