"""The models that the mock of Anthropic serves, and what each of them can do.

Facts from https://docs.anthropic.com/en/docs/about-claude/models. What the newest
generation refuses follows the SDK's types, which no longer have the sampling fields.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GENTLE: Final = frozenset({"low", "medium", "high"})
MANUAL: Final = frozenset({"enabled", "disabled"})


@dataclass(frozen=True, slots=True)
class Model:
    """One model: its names, its limits in tokens, and its capabilities."""

    id: str
    """The dated name, or the only one; answers carry it."""
    display_name: str
    created_at: str
    max_output: int
    context: int = 200_000
    lifecycle: str = "active"
    thinking: frozenset[str] = MANUAL
    """Which `thinking.type`s it takes."""
    efforts: frozenset[str] = frozenset()
    sampling: bool = True
    """Takes `temperature`, `top_p` and `top_k` (and only one of the first two)."""
    prefill: bool = True
    """A conversation may end with the assistant's words."""
    system_messages: bool = False
    """`system` may be a role in the middle of a conversation."""


_SONNET_4_5: Final = Model(
    "claude-sonnet-4-5-20250929",
    "Claude Sonnet 4.5",
    "2025-09-29T00:00:00Z",
    64_000,
    lifecycle="deprecated",
)
_OPUS_4_5: Final = Model(
    "claude-opus-4-5-20251101",
    "Claude Opus 4.5",
    "2025-11-24T00:00:00Z",
    64_000,
    efforts=GENTLE,
)
_HAIKU_4_5: Final = Model(
    "claude-haiku-4-5-20251001", "Claude Haiku 4.5", "2025-10-15T00:00:00Z", 64_000
)
_OPUS_4_6: Final = Model(
    "claude-opus-4-6",
    "Claude Opus 4.6",
    "2026-02-04T00:00:00Z",
    128_000,
    thinking=MANUAL | {"adaptive"},
    efforts=GENTLE | {"max"},
    prefill=False,
)
_SONNET_4_6: Final = Model(
    "claude-sonnet-4-6",
    "Claude Sonnet 4.6",
    "2026-02-17T00:00:00Z",
    64_000,
    thinking=MANUAL | {"adaptive"},
    efforts=GENTLE | {"max"},
    prefill=False,
)
_SONNET_5: Final = Model(
    "claude-sonnet-5",
    "Claude Sonnet 5",
    "2026-06-01T00:00:00Z",
    128_000,
    thinking=frozenset({"adaptive", "between_tools", "disabled"}),
    efforts=GENTLE | {"xhigh", "max"},
    sampling=False,
    prefill=False,
    system_messages=True,
)

MODELS: Final[dict[str, Model]] = {
    "claude-sonnet-4-5": _SONNET_4_5,
    "claude-sonnet-4-5-20250929": _SONNET_4_5,
    "claude-opus-4-5": _OPUS_4_5,
    "claude-opus-4-5-20251101": _OPUS_4_5,
    "claude-haiku-4-5": _HAIKU_4_5,
    "claude-haiku-4-5-20251001": _HAIKU_4_5,
    "claude-opus-4-6": _OPUS_4_6,
    "claude-sonnet-4-6": _SONNET_4_6,
    "claude-sonnet-5": _SONNET_5,
}
