"""What Claude takes on Bedrock in Anthropic's own words.

How much to think and what each model can do are the same as at Anthropic, so they are told
by the same tables: this module is the one place where the two formats meet. Converse
passes ``additionalModelRequestFields`` on to the model as they are:
https://docs.aws.amazon.com/bedrock/latest/userguide/claude-messages-extended-thinking.html.
"""

from __future__ import annotations

from typing import Any

from extproc import canonical
from extproc.formats.anthropic.models import Abilities, abilities
from extproc.formats.anthropic.thinking import Plan, plan
from extproc.formats.base import Unsupported

__all__ = ["Abilities", "Plan", "abilities", "plan", "sampling", "tool_choice"]

LEAST_TOP_P_THINKING = 0.95


def sampling(
    request: canonical.Request, able: Abilities, *, thinks: bool
) -> tuple[float | None, float | None, int | None]:
    """Return temperature, top_p and top_k as the model can be told them.

    Raises:
        Unsupported: the model takes no such value, or not both of two.
    """
    temperature, top_p, top_k = request.temperature, request.top_p, request.top_k
    fixed = able.sampling == "none"
    if fixed or thinks:
        who = "This model takes" if fixed else "A model that thinks takes"
        least = 1.0 if fixed else LEAST_TOP_P_THINKING
        if temperature not in {None, 1}:
            raise Unsupported(f"{who} no temperature but 1.", param="temperature")
        if top_p is not None and top_p < least:
            raise Unsupported(f"{who} no top_p below {least:g}.", param="top_p")
        if top_k is not None:
            raise Unsupported(f"{who} no top_k.", param="top_k")
        return None, None if top_p == 1 else top_p, None
    both = temperature is not None and top_p is not None
    if able.sampling == "one" and both:
        # 1 is the default of either.
        if top_p == 1:
            return temperature, None, top_k
        if temperature == 1:
            return None, top_p, top_k
        raise Unsupported(
            "This model takes temperature or top_p, not both.", param="top_p"
        )
    return temperature, top_p, top_k


def tool_choice(choice: canonical.ToolChoice, *, one_call: bool) -> dict[str, Any]:
    """Return the choice in Anthropic's words, for what Converse's cannot say.

    These are ``none``, and that there be one call at most. The two must not both stand in
    a request, so all of the choice is here.
    """
    said: dict[str, Any] = {
        "auto": {"type": "auto"},
        "none": {"type": "none"},
        "required": {"type": "any"},
        "named": {"type": "tool", "name": "".join(choice.names[:1])},
    }[choice.mode]
    if one_call and choice.mode != "none":
        said["disable_parallel_tool_use"] = True
    return said
