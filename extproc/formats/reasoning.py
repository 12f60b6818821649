"""How much a model is to reason: the one table between the words of all APIs.

| effort | budget by itself (Gemini 2.5) | share of ``max_tokens`` (Claude up to 4.6) |
|---|---|---|
| minimal | 1,024 | the least: 1,024 |
| low | 1,024 | 0.20 |
| medium | 8,192 | 0.50 |
| high | 24,576 | 0.80 |
| xhigh | none | 0.90 |
| max | none | 0.95 |

The budgets are those that Google's own OpenAI-compatible API takes an effort for
(https://ai.google.dev/gemini-api/docs/openai#thinking). The other way round a budget of up
to 4,096 tokens is ``low``, up to 16,384 ``medium``, and above that ``high``: the middles
between the budgets, on their scale. Levels (Gemini 3, Nova, Claude from 4.6 on, OpenAI) are
efforts by the same names.

Here too is which of OpenAI's models reason, and with which efforts
(https://platform.openai.com/docs/guides/reasoning), for both of its APIs. Where a model has
not the effort that is asked for, it is the next one above, or its highest. Models of other
makers stand behind OpenAI-compatible servers: of those an effort passes, since the client
has said it, and a budget or ``thinking`` is left out, since nobody has.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

import msgspec

from extproc import canonical

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""From the least to the most."""

BUDGETS: Mapping[str, int] = {
    "minimal": 1024, "low": 1024, "medium": 8192, "high": 24_576,
}  # fmt: skip
"""The tokens that an effort is worth where a budget stands by itself."""

SHARES: Mapping[str, float] = {
    "minimal": 0.0, "low": 0.2, "medium": 0.5, "high": 0.8, "xhigh": 0.9, "max": 0.95,
}  # fmt: skip
"""The part of ``max_tokens`` that an effort is worth where a budget counts towards it."""

_EFFORT_OF = ((4096, "low"), (16_384, "medium"))


def effort_of(budget_tokens: int) -> str:
    """Return the effort that a budget is worth."""
    return next((word for most, word in _EFFORT_OF if budget_tokens <= most), "high")


# ---------------------------------------------------------------- OpenAI's models

UP_TO_HIGH = ("low", "medium", "high")
FROM_MINIMAL = ("minimal", "low", "medium", "high")
FROM_NONE = ("none", "low", "medium", "high")
UP_TO_XHIGH = ("none", "low", "medium", "high", "xhigh")
UP_TO_MAX = ("none", "low", "medium", "high", "xhigh", "max")

OPENAI: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"gpt-(?:3\.5|4)|chatgpt-|o1-(?:mini|preview)|gpt-audio|davinci|babbage", ()),
    (r"gpt-\d+(?:\.\d+)?-chat", ()),
    (r"o\d|gpt-oss|codex-mini", UP_TO_HIGH),
    (r"gpt-5-pro", ("high",)),
    (r"gpt-5-codex", UP_TO_HIGH),
    (r"gpt-5(?!\.\d)", FROM_MINIMAL),
    (r"gpt-5\.\d+-pro", ("medium", "high", "xhigh")),
    (r"gpt-5\.1-codex-max", UP_TO_XHIGH),
    (r"gpt-5\.1", FROM_NONE),
    (r"gpt-5\.[2-5](?!\d)", UP_TO_XHIGH),
    (r"gpt-(?:5\.\d+|[6-9]|\d\d)", UP_TO_MAX),
)
"""The beginnings of names and the efforts of each; the first that fits counts. Models
without efforts do not reason."""

_OPENAI = tuple((re.compile(begins), efforts) for begins, efforts in OPENAI)


@functools.lru_cache(maxsize=10_000)
def openai_efforts(model: str) -> tuple[str, ...] | None:
    """Return the efforts of one of OpenAI's models; None is another maker's."""
    name = model.rpartition("/")[2].lower()
    return next((efforts for begins, efforts in _OPENAI if begins.match(name)), None)


class Plan(msgspec.Struct, frozen=True):
    """What an OpenAI model is to be told."""

    effort: str | None = None
    dropped: tuple[str, ...] = ()
    """What of the wish could not be said, by the client's names."""


def plan_openai(asked: canonical.Thinking, model: str, name: str) -> Plan:
    """Return the effort for `asked`, whose name is `name` at the client's."""
    efforts = openai_efforts(model)
    wanted = asked.effort
    if wanted is None and asked.enabled is False:
        wanted = "none"
    if efforts == ():
        # Not to reason is what it does.
        said = asked.enabled or asked.adaptive or asked.budget_tokens
        unsaid = said or wanted not in {None, "none"}
        return Plan(dropped=(name,) if unsaid else ())
    if efforts is None:
        unnamed = asked.effort is None and (asked.enabled is not None)
        return Plan(asked.effort, (name,) if unnamed else ())
    dropped: tuple[str, ...] = ()
    if asked.budget_tokens is not None:
        dropped = (f"{name}.budget_tokens",)
        wanted = effort_of(asked.budget_tokens) if wanted is None else wanted
    if wanted is None or wanted in efforts or wanted not in EFFORTS:
        return Plan(wanted, dropped)
    above = EFFORTS[EFFORTS.index(wanted) :]
    nearest = next((word for word in above if word in efforts), efforts[-1])
    return Plan(nearest, (*dropped, name))
