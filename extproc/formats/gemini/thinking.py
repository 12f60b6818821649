"""How much a Gemini model is to think: a budget up to 2.5, a level from 3 on.

https://ai.google.dev/gemini-api/docs/thinking. What an effort is worth as a budget, and
the other way round, is told in `reasoning`; an effort is the level of that name. Whoever
asks for thinking is shown the thoughts, unless told otherwise. Where the two cannot meet:

- a level that the model lacks is the next one above; above its highest there is none: 400;
- no thinking, on a model whose least level is ``minimal``, is that level, and reported; on
  one that cannot do with so little, 400;
- a budget on a model with levels is the level that it is worth, and reported; one above
  what a model may have is the most it may have, and reported: it is an upper limit; one
  below the least is a 400;
- an effort beside a budget: the one that the model takes counts, the other is reported;
- an effort on a model that cannot think is left out and reported; thinking asked for by
  name, 400.
"""

from __future__ import annotations

from collections.abc import Mapping

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats.base import Unsupported
from extproc.formats.gemini import wire
from extproc.formats.gemini.conversation import Drop
from extproc.formats.gemini.models import ALL_LEVELS, Abilities
from extproc.formats.reasoning import BUDGETS, EFFORTS, effort_of

AUTOMATIC = -1
"""A budget: the model decides."""

_SHOWN: Mapping[str | None, bool] = {
    None: True, "summarized": True, "auto": True, "concise": True, "detailed": True,
    "omitted": False,
}  # fmt: skip
"""Anthropic's words and OpenAI's for what the client wants to see."""


def plan(
    request: canonical.Request, model: Abilities, drop: Drop
) -> wire.ThinkingConfig | None:
    """Return what to ask of `model`.

    Raises:
        Unsupported: the model cannot do what the client asks for.
        BadRequest: an effort or display that nobody has, or a budget out of bounds.
    """
    asked = request.thinking
    if asked is None:
        return None
    name = request.name_of("thinking")
    if asked.effort is not None and asked.effort not in EFFORTS:
        raise BadRequest(
            f"{asked.effort!r} is not an effort: use {', '.join(EFFORTS)}.", param=name
        )
    if asked.display not in _SHOWN:
        raise BadRequest(
            f"{asked.display!r} is not a way to show thinking.", param=f"{name}.display"
        )
    if asked.effort == "none" or asked.enabled is False or asked.budget_tokens == 0:
        return _off(model, name, drop)
    if not (asked.effort or asked.enabled or asked.adaptive or asked.budget_tokens):
        if asked.display is not None:
            drop(f"{name}.display")  # of what is not asked for
        return None
    if model.thinking == "none":
        if asked.enabled or asked.adaptive or asked.budget_tokens:
            raise Unsupported("This Gemini model cannot think.", param=name)
        drop(name)
        return None
    shown = _SHOWN[asked.display] or None
    if model.thinking == "budget":
        return wire.ThinkingConfig(shown, _budget(asked, model, name, drop))
    level = _level(asked, model, name, drop)
    return wire.ThinkingConfig(shown, thinking_level=level and level.upper())


def _off(model: Abilities, name: str, drop: Drop) -> wire.ThinkingConfig | None:
    if model.thinking == "none":
        return None
    if model.thinking == "budget" and model.off:
        return wire.ThinkingConfig(thinking_budget=0)
    if model.thinking == "level" and "minimal" in model.levels:
        drop(name)
        return wire.ThinkingConfig(thinking_level="MINIMAL")
    raise Unsupported(
        "This Gemini model always thinks; ask for a low effort instead.", param=name
    )


def _budget(asked: canonical.Thinking, model: Abilities, name: str, drop: Drop) -> int:
    budget = asked.budget_tokens
    if budget is None:
        if asked.effort is None:
            return AUTOMATIC
        if asked.effort not in BUDGETS:
            raise Unsupported(
                f"This Gemini model has no effort {asked.effort!r}: use "
                f"{', '.join(BUDGETS)}.",
                param=name,
            )
        return BUDGETS[asked.effort]
    where = f"{name}.budget_tokens"
    if asked.effort is not None:
        drop("reasoning_effort" if name == "reasoning_effort" else f"{name}.effort")
    if budget != AUTOMATIC and budget < model.least_budget:
        raise BadRequest(
            f"This model's thinking budget is at least {model.least_budget} tokens.",
            param=where,
        )
    if budget > model.most_budget:
        drop(where)
    return min(budget, model.most_budget)


def _level(
    asked: canonical.Thinking, model: Abilities, name: str, drop: Drop
) -> str | None:
    """Return the word for `asked`; None leaves it to the model."""
    wanted = asked.effort
    budget = asked.budget_tokens
    if budget is not None and budget < AUTOMATIC:
        raise BadRequest(
            "A thinking budget cannot be negative.", param=f"{name}.budget_tokens"
        )
    if budget is not None:
        drop(f"{name}.budget_tokens")
        if wanted is None and budget != AUTOMATIC:
            wanted = effort_of(budget)
    if wanted is None:
        return None
    if wanted in ALL_LEVELS:
        for word in ALL_LEVELS[ALL_LEVELS.index(wanted) :]:
            if word in model.levels:
                return word
    raise Unsupported(
        f"This Gemini model has no effort {wanted!r}: use {', '.join(model.levels)}.",
        param=name,
    )
