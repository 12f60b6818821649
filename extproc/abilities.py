"""What well-known models can do: our own facts, and how words of several sources add up.

Only what is certain stands here: what is not known to be missing is asked for, and a
provider's own refusal is then the client's answer, or the way to a context fallback.
"""

from __future__ import annotations

import functools

import msgspec

from extproc.deployment import Abilities
from extproc.identity import glob_pattern
from extproc.pricing import PriceTable

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


def abilities_of(
    type: str,  # noqa: A002  of a provider
    model: str,
    prices: PriceTable,
    own: Abilities,
) -> Abilities:
    """Return what `model` can do at a provider of `type`, a glob's target, which says `own`.

    Of a model that is configured by name control has written down all there is; of those
    that a glob stands for nobody knew the names.
    """
    window = prices.window(type, model)
    known = merged(Abilities(context_tokens=window), facts(model))
    return merged(known, own)


@functools.lru_cache(maxsize=10_000)
def facts(model: str) -> Abilities:
    """Return our own facts of `model`."""
    name = model.lower()
    return next(
        (facts for glob, facts in FACTS if glob_pattern(glob).match(name)), Abilities()
    )


@functools.lru_cache(maxsize=10_000)
def merged(first: Abilities, then: Abilities) -> Abilities:
    """Return `first`, overruled by what `then` says."""
    said = {
        name: value
        for name in then.__struct_fields__
        if (value := getattr(then, name)) is not None
    }
    return msgspec.structs.replace(first, **said) if said else first
