"""How much a Claude model is to think: one request, four ways to ask for it.

Newer models take an effort level and decide the rest themselves (``adaptive``), older
ones a budget of tokens that counts towards ``max_tokens``. An effort asks for thinking on
both kinds. Facts: https://platform.claude.com/docs/en/build-with-claude/thinking.

Where the two cannot meet:

- ``none`` on a model that always thinks, a level that the model does not have, a budget
  on a model without budgets: refused by name.
- an effort on a model that cannot think, or with a ``max_tokens`` too small for the
  smallest budget: left out and reported, as Anthropic's own OpenAI-compatible API does;
- a budget, or an effort on a budgeted model, in the middle of a tool loop whose thoughts
  the client has not given back or another provider has thought: the same, because the API
  refuses to think on without them.
- a budget above ``max_tokens``: a 400, unless the client left ``max_tokens`` to us; then
  it grows by the budget.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats.anthropic import request_wire
from extproc.formats.anthropic.models import Abilities
from extproc.formats.base import Unsupported
from extproc.formats.reasoning import SHARES

MIN_BUDGET = 1024
"""The API's least ``budget_tokens``."""

DISPLAYS = {
    "summarized": "summarized", "omitted": "omitted",
    "auto": "summarized", "concise": "summarized", "detailed": "summarized",
}  # fmt: skip
"""Anthropic's two words, and OpenAI's for a summary."""


class Plan(msgspec.Struct, frozen=True):
    """What the request says about thinking."""

    max_tokens: int
    config: request_wire.ThinkingConfig | None = None
    effort: str | None = None

    @property
    def on(self) -> bool:
        """Whether we ask for thinking; a model may think without being asked."""
        return self.config is not None and self.config.type in {"enabled", "adaptive"}


def plan(
    request: canonical.Request,
    model: Abilities,
    default_max_tokens: int,
    drop: Callable[[str], None],
    *,
    thoughtless: bool = False,
) -> Plan:
    """Return what to ask of `model`; see `conversation.thoughtless`.

    Raises:
        Unsupported: the model cannot do what the client asks for.
        BadRequest: an effort or display that nobody has, or a budget out of bounds.
    """
    given = request.max_output_tokens
    limit = default_max_tokens if given is None else given
    asked = request.thinking
    if asked is None:
        return Plan(limit)
    name = request.name_of("thinking")
    effort = _level(asked.effort, model, name)
    if asked.effort == "none" or asked.enabled is False:
        return Plan(limit, _off(model, name), effort)
    if asked.budget_tokens is not None and thoughtless:
        drop(name)
        return Plan(limit, None, effort)
    if asked.budget_tokens is not None:
        limit = _fit(asked.budget_tokens, given, limit, model, name)
        display = _display(asked.display, name)
        config = request_wire.ThinkingConfig("enabled", asked.budget_tokens, display)
        return Plan(limit, config, effort)
    if not (asked.effort or asked.adaptive or asked.enabled):
        if asked.display is not None:
            drop(f"{name}.display")  # of what is not asked for
        return Plan(limit)
    config_or_none = _on(asked, model, limit, name, thoughtless=thoughtless)
    if config_or_none is None and effort is None:
        drop(name)
    return Plan(limit, config_or_none, effort)


def _on(
    asked: canonical.Thinking,
    model: Abilities,
    limit: int,
    name: str,
    *,
    thoughtless: bool,
) -> request_wire.ThinkingConfig | None:
    """Return how to ask for thinking; None where it cannot be."""
    display = _display(asked.display, name)
    if model.thinking in {"adaptive", "either"}:
        return request_wire.ThinkingConfig("adaptive", display=display)
    _check_budgeted(asked, model, name)
    budget = max(MIN_BUDGET, int(limit * SHARES[asked.effort or "medium"]))
    if model.thinking == "none" or budget >= limit or thoughtless:
        return None
    return request_wire.ThinkingConfig("enabled", budget, display)


def _check_budgeted(asked: canonical.Thinking, model: Abilities, name: str) -> None:
    if model.thinking == "none" and asked.enabled:
        raise Unsupported("This model cannot think.", param=name)
    if asked.adaptive:
        raise Unsupported(
            "This model does not decide by itself how much to think: give it a budget.",
            param=name,
        )


def _off(model: Abilities, name: str) -> request_wire.ThinkingConfig | None:
    match model.off:
        case "omit":
            return None
        case "never":
            raise Unsupported(
                "This model always thinks; ask for a low effort instead.", param=name
            )
        case word:
            return request_wire.ThinkingConfig(word)


def _level(effort: str | None, model: Abilities, name: str) -> str | None:
    """Return the word for ``output_config.effort``, if the model knows such words."""
    if effort is None or effort == "none":
        return None
    if effort not in SHARES:
        raise BadRequest(
            f"{effort!r} is not an effort: use none, {', '.join(SHARES)}.", param=name
        )
    if not model.efforts:
        return None
    word = "low" if effort == "minimal" else effort
    if word not in model.efforts:
        raise Unsupported(
            f"This model has no effort {effort!r}: use {', '.join(model.efforts)}.",
            param=name,
        )
    return word


def _display(display: str | None, name: str) -> str | None:
    if display is None:
        return None
    try:
        return DISPLAYS[display]
    except KeyError:
        raise BadRequest(
            f"{display!r} is not a way to show thinking: use summarized or omitted.",
            param=f"{name}.display",
        ) from None


def _fit(
    budget: int, given: int | None, limit: int, model: Abilities, name: str
) -> int:
    """Return a ``max_tokens`` with room for `budget`."""
    if model.thinking not in {"budget", "either"}:
        raise Unsupported(
            "This model takes no thinking budget; ask for an effort instead.",
            param=f"{name}.budget_tokens",
        )
    if budget < MIN_BUDGET:
        raise BadRequest(
            f"A thinking budget is at least {MIN_BUDGET} tokens.",
            param=f"{name}.budget_tokens",
        )
    if budget < limit:
        return limit
    if given is not None:
        raise BadRequest(
            f"The thinking budget of {budget} tokens must be less than the "
            f"{given} tokens that the answer may have in all.",
            param=f"{name}.budget_tokens",
        )
    return limit + budget
