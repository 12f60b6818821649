"""What each Claude model takes, where they differ: facts, no code.

The models' request surfaces moved apart from 4.5 on: thinking budgets gave way to effort
levels, sampling parameters and prefill went. Sources:
https://platform.claude.com/docs/en/build-with-claude/thinking,
…/build-with-claude/effort, …/build-with-claude/structured-outputs,
…/build-with-claude/mid-conversation-system-messages and the models' migration guides.

A model that is not in the table is taken to know everything: the API is the better judge
of a newer model than this table is.
"""

from __future__ import annotations

import functools
import re
from typing import Literal

import msgspec

UP_TO_HIGH = ("low", "medium", "high")
UP_TO_MAX = ("low", "medium", "high", "max")
ALL_EFFORTS = ("low", "medium", "high", "xhigh", "max")


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a model's requests may say."""

    thinking: Literal["none", "budget", "either", "adaptive"] = "adaptive"
    """How thinking is asked for: with a token budget, or the model decides."""
    off: Literal["omit", "disabled", "between_tools", "never"] = "disabled"
    """How thinking is switched off: by not asking, by a word, or not at all."""
    efforts: tuple[str, ...] = ALL_EFFORTS
    """The levels of ``output_config.effort``; empty where it is refused."""
    sampling: Literal["all", "one", "none"] = "none"
    """Whether ``temperature`` and ``top_p`` may both be set, or one, or neither."""
    json_schema: bool = True
    """``output_config.format``, and ``strict`` tools."""
    prefill: bool = False
    """Whether the conversation may end with the assistant's words."""
    forced_tools: bool = True
    """Whether ``tool_choice`` may demand a call."""
    system_turns: bool = False
    """Whether ``messages`` may hold the role ``system``."""


_CLAUDE_3 = Abilities(
    thinking="none", off="omit", efforts=(), sampling="all",
    json_schema=False, prefill=True,
)  # fmt: skip
_CLAUDE_4 = Abilities(
    thinking="budget", off="omit", efforts=(), sampling="all",
    json_schema=False, prefill=True,
)  # fmt: skip
_CLAUDE_4_1 = Abilities(
    thinking="budget", off="omit", efforts=(), sampling="one", prefill=True
)
_OPUS_4_5 = Abilities(
    thinking="budget", off="omit", efforts=UP_TO_HIGH, sampling="one", prefill=True
)
_CLAUDE_4_6 = Abilities(
    thinking="either", off="omit", efforts=UP_TO_MAX, sampling="one"
)
_FABLE_5 = Abilities(off="never", system_turns=True)
_FABLE_5_1 = Abilities(off="never", system_turns=True, forced_tools=False)

KNOWN: dict[str, Abilities] = {
    "3-opus": _CLAUDE_3,
    "3-sonnet": _CLAUDE_3,
    "3-haiku": _CLAUDE_3,
    "3-5-sonnet": _CLAUDE_3,
    "3-5-haiku": _CLAUDE_3,
    "3-7-sonnet": _CLAUDE_4,
    "opus-4": _CLAUDE_4,
    "opus-4-0": _CLAUDE_4,
    "sonnet-4": _CLAUDE_4,
    "sonnet-4-0": _CLAUDE_4,
    "opus-4-1": _CLAUDE_4_1,
    "sonnet-4-5": _CLAUDE_4_1,
    "haiku-4-5": _CLAUDE_4_1,
    "opus-4-5": _OPUS_4_5,
    "opus-4-6": _CLAUDE_4_6,
    "sonnet-4-6": _CLAUDE_4_6,
    "opus-4-7": Abilities(off="omit"),
    "opus-4-8": Abilities(off="omit", system_turns=True),
    "sonnet-5": Abilities(),
    "opus-5": Abilities(system_turns=True),
    "mythos-preview": Abilities(off="never", efforts=UP_TO_MAX),
    "fable-5": _FABLE_5,
    "mythos-5": _FABLE_5,
    "fable-5-1": _FABLE_5_1,
    "mythos-5-1": _FABLE_5_1,
    "fable-5-2": _FABLE_5_1,
    "mythos-5-2": _FABLE_5_1,
    "opus-5-5": _FABLE_5_1,
    "sonnet-5-5": Abilities(off="between_tools", system_turns=True, forced_tools=False),
    "haiku-5-5": Abilities(system_turns=True),
}

UNKNOWN = Abilities(
    thinking="adaptive", off="disabled", sampling="all", prefill=True,
    system_turns=True,
)  # fmt: skip

_FAMILY = re.compile(
    r"(?:opus|sonnet|haiku|fable|mythos)-(?:preview|\d(?:-\d{1,2})?(?!\d))"
    r"|\d(?:-\d)?-(?:opus|sonnet|haiku)"
)
"""The family and version in a name; a date behind it is no version."""


@functools.lru_cache(maxsize=1024)
def abilities(model: str) -> Abilities:
    """Return what `model` takes, whoever's spelling of the name it is."""
    found = _FAMILY.search(model.lower().replace(".", "-"))
    return KNOWN.get(found[0], UNKNOWN) if found else UNKNOWN
