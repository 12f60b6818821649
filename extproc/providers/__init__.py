"""The kinds of provider that a configuration can name, by their ``type``."""

from __future__ import annotations

from extproc.providers import anthropic, bedrock, gemini, openai, presets
from extproc.providers.base import Provider

NATIVE: dict[str, Provider] = {
    "openai": openai.PROVIDER,
    "anthropic": anthropic.PROVIDER,
    "gemini": gemini.PROVIDER,
    "bedrock": bedrock.PROVIDER,
}
"""Those with a file of their own and a mock that judges us."""

PROVIDERS: dict[str, Provider] = {**NATIVE, **presets.PROVIDERS}
