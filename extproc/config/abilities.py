"""What the models of a configuration can do: context windows of ``genai-prices``, and facts.

Control's alone: the package takes a second to import. The facts are in
`extproc.abilities`; ``capabilities`` of a target overrule all of it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from extproc.abilities import facts, merged
from extproc.deployment import Abilities

if TYPE_CHECKING:
    from genai_prices.types import Provider

CATALOG = {"bedrock": "aws", "gemini": "google", "vertex": "google", "azure": "openai"}
"""Our type of a provider to its id in ``genai-prices``, where they differ."""


def known(kind: str, model: str) -> Abilities:
    """Return what is known of `model` at a provider of the type `kind`."""
    window = _window(kind, model.lower())
    return merged(Abilities(context_tokens=window), facts(model))


def overruled(own: Abilities, kind: str, model: str | None) -> Abilities:
    """Return `own`, and what it does not say as far as it is known."""
    return own if model is None else merged(known(kind, model), own)


@functools.lru_cache(maxsize=10_000)
def _window(kind: str, name: str) -> int | None:
    catalog = _catalog().get(CATALOG.get(kind, kind))
    for model in catalog.models if catalog is not None else ():
        if model.context_window is not None and model.is_match(name):
            return model.context_window
    return None


@functools.cache
def _catalog() -> dict[str, Provider]:
    from genai_prices import data  # noqa: PLC0415  heavy, and only for who has models

    return {provider.id: provider for provider in data.providers}
