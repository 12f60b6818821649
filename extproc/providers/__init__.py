"""The kinds of provider that a configuration can name, by their ``type``."""

from __future__ import annotations

from extproc.providers import (
    anthropic,
    azure,
    bedrock,
    bedrock_anthropic,
    cohere,
    gemini,
    mistral,
    openai,
    presets,
    rankers,
    vertex,
    vertex_anthropic,
)
from extproc.providers.base import Provider

NATIVE: dict[str, Provider] = {
    "openai": openai.PROVIDER,
    "anthropic": anthropic.PROVIDER,
    "gemini": gemini.PROVIDER,
    "bedrock": bedrock.PROVIDER,
    "cohere": cohere.PROVIDER,
}
"""The makers of APIs; their mocks serve in a start without any configuration."""

CLOUDS: dict[str, Provider] = {
    "azure": azure.PROVIDER,
    "vertex": vertex.PROVIDER,
    "bedrock-anthropic": bedrock_anthropic.PROVIDER,
    "vertex-anthropic": vertex_anthropic.PROVIDER,
}
"""Those who serve others' models, each in its own house."""

JUDGED: dict[str, Provider] = {**NATIVE, **CLOUDS}
"""Those whose mock judges what the gateway sends."""

PROVIDERS: dict[str, Provider] = {
    **JUDGED,
    "mistral": mistral.PROVIDER,
    "voyage": rankers.VOYAGE,
    "jina": rankers.JINA,
    "tei": rankers.TEI,
    **presets.PROVIDERS,
}
