"""How much a model on Bedrock is to think, in its family's spelling.

Claude's part is Anthropic's own (`claude.plan`). The others take an effort or nothing:

- a budget of tokens, which they have not, is the effort that it is worth (`reasoning`), and
  reported;
- an effort that the model does not have is refused, but ``minimal`` is its ``low``;
- on a model that does not think an effort is left out and reported, thinking asked for by
  name is refused;
- "do not think" is said where there is a word for it, refused where the model cannot help
  it, and needs no word where it does not think anyway.
"""

from __future__ import annotations

from typing import Any

import msgspec

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats.base import Unsupported
from extproc.formats.converse.content import Drop
from extproc.formats.converse.models import Family
from extproc.formats.reasoning import EFFORTS, effort_of


class Thoughts(msgspec.Struct, frozen=True):
    """What the request says about thinking."""

    max_tokens: int | None = None
    fields: dict[str, Any] = {}
    """For ``additionalModelRequestFields``."""
    effort: str | None = None
    """For ``outputConfig``."""
    on: bool = False
    """Whether we ask for thinking; a model may think without being asked."""


def plan(request: canonical.Request, family: Family, drop: Drop) -> Thoughts:
    """Return what to ask of a model that is not Claude.

    Raises:
        Unsupported: the model cannot do what the client asks for.
        BadRequest: an effort that nobody has.
    """
    limit = request.max_output_tokens
    asked = request.thinking
    if asked is None:
        return Thoughts(limit)
    name = request.name_of("thinking")
    if asked.effort is not None and asked.effort not in EFFORTS:
        raise BadRequest(
            f"{asked.effort!r} is not an effort: use {', '.join(EFFORTS)}.", param=name
        )
    if asked.effort == "none" or asked.enabled is False:
        return Thoughts(limit, _off(family, name))
    effort = asked.effort
    if asked.budget_tokens is not None:
        effort = effort or effort_of(asked.budget_tokens)
    wanted = effort is not None or asked.enabled or asked.adaptive
    if not family.effort or not wanted:
        if asked.enabled or asked.adaptive or asked.budget_tokens is not None:
            raise Unsupported("This model cannot think.", param=name)
        if asked.effort is not None:
            drop(name)
        elif asked.display is not None:
            drop(f"{name}.display")  # of what is not asked for
        return Thoughts(limit)
    if asked.display is not None:
        drop(f"{name}.display")
    if asked.budget_tokens is not None:
        drop(f"{name}.budget_tokens")
    return Thoughts(limit, _on(effort or "medium", family, name), on=True)


def _on(effort: str, family: Family, name: str) -> dict[str, Any]:
    word = "low" if effort == "minimal" else effort
    if word not in family.efforts:
        raise Unsupported(
            f"This model has no effort {effort!r}: use {', '.join(family.efforts)}.",
            param=name,
        )
    return _spell(word, family)


def _off(family: Family, name: str) -> dict[str, Any]:
    if not family.off:
        raise Unsupported(
            "This model always thinks; ask for a low effort instead.", param=name
        )
    match family.effort:
        case "nova":
            return {"reasoningConfig": {"type": "disabled"}}
        case "nested":
            return _spell("none", family)
        case _:
            return {}


def _spell(word: str, family: Family) -> dict[str, Any]:
    match family.effort:
        case "nova":
            config = {"type": "enabled", "maxReasoningEffort": word}
            return {"reasoningConfig": config}
        case "flat":
            return {"reasoning_effort": word}
        case "nested":
            return {"reasoning": {"effort": word}}
        case "config":
            return {"reasoning_config": word}
        case "":
            return {}
