"""The models that the mock of Bedrock serves, and what each of them can do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

Maker = Literal["anthropic", "nova", "gpt-oss", "meta"]


@dataclass(frozen=True, slots=True)
class Model:
    """One model: its id, its limits in tokens, and its capabilities."""

    id: str
    maker: Maker
    max_output: int
    context: int = 200_000
    fields: frozenset[str] = frozenset()
    """What it takes in `additionalModelRequestFields`."""
    thinking: frozenset[str] = frozenset()
    """Which `thinking.type`s a Claude takes."""
    caches: bool = False
    structured: bool = False
    one_sampling: bool = False
    """Takes `temperature` or `topP`, not both."""
    sees: bool = True
    """Reads pictures and documents."""


_CLAUDE_FIELDS: Final = frozenset(
    {"thinking", "top_k", "tool_choice", "anthropic_beta"}
)
_NOVA_FIELDS: Final = frozenset({"inferenceConfig", "reasoningConfig"})

_SERVED: Final = (
    Model(
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "anthropic",
        64_000,
        fields=_CLAUDE_FIELDS,
        thinking=frozenset({"enabled", "disabled"}),
        caches=True,
        structured=True,
        one_sampling=True,
    ),
    Model(
        "anthropic.claude-opus-4-6-v1",
        "anthropic",
        128_000,
        fields=_CLAUDE_FIELDS,
        thinking=frozenset({"enabled", "adaptive", "disabled"}),
        caches=True,
        structured=True,
        one_sampling=True,
    ),
    Model(
        "anthropic.claude-3-5-haiku-20241022-v1:0",
        "anthropic",
        8192,
        fields=_CLAUDE_FIELDS - {"thinking"},
        caches=True,
    ),
    Model(
        "amazon.nova-pro-v1:0",
        "nova",
        10_000,
        300_000,
        fields=_NOVA_FIELDS - {"reasoningConfig"},
        caches=True,
    ),
    Model(
        "amazon.nova-2-lite-v1:0",
        "nova",
        65_000,
        1_000_000,
        fields=_NOVA_FIELDS,
        caches=True,
    ),
    Model(
        "openai.gpt-oss-120b-1:0",
        "gpt-oss",
        128_000,
        128_000,
        fields=frozenset({"reasoning_effort"}),
        structured=True,
        sees=False,
    ),
    Model("meta.llama3-3-70b-instruct-v1:0", "meta", 8192, 128_000, sees=False),
)

MODELS: Final[dict[str, Model]] = {model.id: model for model in _SERVED}

_ID: Final = re.compile(
    r"(?:arn:aws:bedrock:[a-z0-9-]+:(?P<account>\d{12})?:"
    r"(?:foundation-model|inference-profile|(?P<hidden>application-inference-profile))/)?"
    r"(?:(?:us|eu|apac|global)\.)?(?P<name>[a-zA-Z0-9.:-]+)"
)


def find(model: str) -> Model | None:
    """Return the model of an id, inference profile or ARN.

    An application's own profile is of the first Claude.
    """
    found = _ID.fullmatch(model)
    if found is None:
        return None
    return _SERVED[0] if found["hidden"] else MODELS.get(found["name"])
