"""The kinds of provider that a configuration can name, by their ``type``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.providers.base import Provider
from extproc.providers.kinds import Kinds

_NATIVE: Final = {
    "openai": "openai:PROVIDER",
    "anthropic": "anthropic:PROVIDER",
    "gemini": "gemini:PROVIDER",
    "bedrock": "bedrock:PROVIDER",
    "cohere": "cohere:PROVIDER",
}
_CLOUDS: Final = {
    "azure": "azure:PROVIDER",
    "vertex": "vertex:PROVIDER",
    "bedrock-anthropic": "bedrock_anthropic:PROVIDER",
    "vertex-anthropic": "vertex_anthropic:PROVIDER",
}


def _presets() -> Mapping[str, Provider]:
    from extproc.providers import presets  # noqa: PLC0415  see `Kinds`

    return presets.PROVIDERS


NATIVE = Kinds(_NATIVE)
"""The makers of APIs; their mocks serve in a start without any configuration."""

CLOUDS = Kinds(_CLOUDS)
"""Those who serve others' models, each in its own house."""

JUDGED = Kinds({**_NATIVE, **_CLOUDS})
"""Those whose mock judges what the gateway sends."""

PROVIDERS = Kinds(
    {
        **_NATIVE,
        **_CLOUDS,
        "mistral": "mistral:PROVIDER",
        "voyage": "rankers:VOYAGE",
        "jina": "rankers:JINA",
        "tei": "rankers:TEI",
    },
    _presets,
)

HEADERS: Final = frozenset(
    {"anthropic-beta", "anthropic-dangerous-direct-browser-access", "anthropic-version"}
)
"""What any of them is sent because it is that provider, or is of its format: no attempt at
another one may carry it on."""
