"""What each Gemini model takes, where they differ: facts, no code.

Sources: https://ai.google.dev/gemini-api/docs/thinking (budgets and levels),
…/docs/whats-new-gemini-3.6 (what newer models no longer take: sampling, penalties, a
conversation that ends with the model's words), …/docs/thought-signatures,
…/docs/structured-output, …/docs/file-input-methods, …/docs/media-resolution.

A model that is not in the table is taken to know everything: the API is the better judge
of a newer model than this table is.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

TWO_LEVELS = ("low", "high")
FROM_LOW = ("low", "medium", "high")
FROM_MINIMAL = ("minimal", "low", "medium", "high")
ALL_LEVELS = ("minimal", "low", "medium", "high", "xhigh")


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's requests may say."""

    thinking: Literal["none", "budget", "level"] = "level"
    """How thinking is asked for: with a token budget, or with a word."""
    least_budget: int = 1
    most_budget: int = 24_576
    off: bool = False
    """Whether a budget of 0 switches thinking off."""
    levels: tuple[str, ...] = ALL_LEVELS
    """The words that ``thinkingLevel`` may be."""
    json_schema: bool = True
    """Takes JSON schemas as they are; otherwise a subset of OpenAPI's."""
    json_with_tools: bool = True
    """Whether the answer may be bound to a schema where there are functions."""
    sampling: bool = True
    """Whether ``temperature``, ``topP`` and ``topK`` change anything."""
    penalties: bool = True
    prefill: bool = True
    """Whether the conversation may end with the model's words."""
    signed_calls: bool = True
    """Whether function calls of the conversation need their thought signatures."""
    urls: bool = True
    """Whether the API fetches any URL, or only its own, Cloud Storage's and YouTube's."""
    media_results: bool = True
    """Whether a function's result may hold pictures and documents."""
    part_resolution: bool = True
    """Whether each picture may have a resolution of its own."""


_UP_TO_2_0 = Abilities(
    thinking="none", json_schema=False, json_with_tools=False, signed_calls=False,
    urls=False, media_results=False, part_resolution=False,
)  # fmt: skip


def _2_5(least: int, most: int, *, off: bool) -> Abilities:
    return Abilities(
        thinking="budget", least_budget=least, most_budget=most, off=off,
        json_with_tools=False, signed_calls=False, media_results=False,
        part_resolution=False,
    )  # fmt: skip


def _strict(levels: tuple[str, ...]) -> Abilities:
    return Abilities(levels=levels, sampling=False, penalties=False, prefill=False)


KNOWN: dict[str, Abilities] = {
    "1.5-pro": _UP_TO_2_0,
    "1.5-flash": _UP_TO_2_0,
    "2.0-flash": _UP_TO_2_0,
    "2.0-flash-lite": _UP_TO_2_0,
    "2.5-pro": _2_5(128, 32_768, off=False),
    "2.5-flash": _2_5(1, 24_576, off=True),
    "2.5-flash-lite": _2_5(512, 24_576, off=True),
    "3-pro": Abilities(levels=TWO_LEVELS),
    "3-flash": Abilities(levels=FROM_MINIMAL),
    "3.1-pro": Abilities(levels=FROM_LOW),
    "3.1-flash-lite": Abilities(levels=FROM_MINIMAL),
    "3.5-flash": Abilities(levels=FROM_MINIMAL),
    "3.5-flash-lite": _strict(FROM_MINIMAL),
    "3.6-flash": _strict(FROM_MINIMAL),
    "3.7-flash": _strict(FROM_LOW),
    "3.8-flash": _strict(FROM_LOW),
    "4-argon": _strict(FROM_LOW),
}

UNKNOWN = Abilities()

_FAMILY = re.compile(
    r"gemini-((?:1\.5|2\.0|2\.5|3|3\.\d|4)-(?:pro|flash-lite|flash|argon))(?![a-z])"
    r"(?!-(?:image|tts|live|native|preview-tts|exp-image))"
)
"""The version and size in a name; ``gemini-1.5-003`` is not of the third generation, and
what makes pictures or speech takes other requests."""


def abilities(model: str) -> Abilities:
    """Return what `model` takes."""
    found = _FAMILY.search(model.lower())
    return KNOWN.get(found[1], UNKNOWN) if found else UNKNOWN
