"""What well-known models can do: context windows of ``genai-prices``, and our own facts.

Control's alone: the package takes a second to import. Only what is certain stands here:
what is not known to be missing is asked for, and a provider's own refusal is then the
client's answer, or the way to a context fallback. ``capabilities`` of a target overrule
all of it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import msgspec

from extproc.deployment import Abilities
from extproc.identity import glob_pattern

if TYPE_CHECKING:
    from genai_prices.types import Provider

CATALOG = {"bedrock": "aws", "gemini": "google", "vertex": "google", "azure": "openai"}
"""Our type of a provider to its id in ``genai-prices``, where they differ."""

FACTS: tuple[tuple[str, Abilities], ...] = (
    # https://platform.openai.com/docs/models
    ("gpt-3.5-turbo-instruct*", Abilities(tools=False, vision=False)),
    ("gpt-3.5-turbo*", Abilities(vision=False, audio=False, output_tokens=4096)),
    ("gpt-4-turbo*", Abilities(audio=False, output_tokens=4096)),
    ("gpt-4o-mini", Abilities(output_tokens=16_384)),
    ("gpt-4o", Abilities(output_tokens=16_384)),
    ("o1-mini*", Abilities(tools=False, vision=False, audio=False)),
    ("o1-preview*", Abilities(tools=False, vision=False, audio=False)),
    ("o3-mini*", Abilities(vision=False, audio=False)),
    # https://docs.claude.com/en/docs/about-claude/models/overview
    ("claude-3-haiku*", Abilities(audio=False, output_tokens=4096)),
    ("claude-3-opus*", Abilities(audio=False, output_tokens=4096)),
    # One million tokens for who has the beta of it; the provider knows who.
    ("claude-sonnet-4*", Abilities(audio=False, context_tokens=1_000_000)),
    ("claude-*", Abilities(audio=False)),
    # https://ai.google.dev/gemini-api/docs/models
    ("gemini-2*", Abilities(context_tokens=1_048_576)),
    # https://api-docs.deepseek.com/quick_start/pricing
    ("deepseek-chat", Abilities(vision=False, audio=False)),
    ("deepseek-reasoner", Abilities(vision=False, audio=False)),
    # https://docs.aws.amazon.com/nova/latest/userguide/what-is-nova.html
    ("*amazon.nova-micro*", Abilities(vision=False, documents=False, audio=False)),
    ("*amazon.titan-text*", Abilities(tools=False, vision=False, audio=False)),
)
"""The first that has a model's name counts."""


def known(kind: str, model: str) -> Abilities:
    """Return what is known of `model` at a provider of the type `kind`."""
    name = model.lower()
    found = next(
        (facts for glob, facts in FACTS if glob_pattern(glob).match(name)), Abilities()
    )
    window = _window(kind, name)
    return _with(Abilities(context_tokens=window), found)


def overruled(own: Abilities, kind: str, model: str | None) -> Abilities:
    """Return `own`, and what it does not say as far as it is known."""
    return own if model is None else _with(known(kind, model), own)


def _with(first: Abilities, then: Abilities) -> Abilities:
    said = {
        name: value
        for name in then.__struct_fields__
        if (value := getattr(then, name)) is not None
    }
    return msgspec.structs.replace(first, **said) if said else first


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
