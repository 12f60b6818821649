"""The models that the mock of Gemini serves, and what each of them can do.

Facts from https://ai.google.dev/gemini-api/docs/models and …/docs/thinking.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BUDGET: Final = "budget"
LEVEL: Final = "level"
NO_MINIMAL: Final = ("LOW", "MEDIUM", "HIGH")
FOUR_LEVELS: Final = ("MINIMAL", "LOW", "MEDIUM", "HIGH")


@dataclass(frozen=True, slots=True)
class Model:
    """One model: its name, its limits in tokens, and its capabilities."""

    id: str
    display_name: str
    thinking: str | None = LEVEL
    """How thinking is asked for; None: it does not think."""
    budgets: tuple[int, int] = (0, 0)
    """The least and the most of a thinking budget, besides 0 and -1."""
    stops_thinking: bool = False
    """A budget of 0 is allowed."""
    levels: tuple[str, ...] = ()
    signs: bool = True
    """Signs its calls, gives them ids, and wants the signatures back."""
    json_with_tools: bool = True
    urls: bool = True
    media_results: bool = True
    modern: bool = False
    """Takes no penalties and no conversation that ends with the model's words."""
    max_output: int = 65_536
    context: int = 1_048_576


def _before_3(id_: str, name: str, budgets: tuple[int, int], *, off: bool) -> Model:
    return Model(
        id_,
        name,
        thinking=BUDGET,
        budgets=budgets,
        stops_thinking=off,
        signs=False,
        json_with_tools=False,
        media_results=False,
    )


_ALL: Final = (
    Model(
        "gemini-2.0-flash",
        "Gemini 2.0 Flash",
        thinking=None,
        signs=False,
        json_with_tools=False,
        urls=False,
        media_results=False,
        max_output=8192,
    ),
    _before_3("gemini-2.5-pro", "Gemini 2.5 Pro", (128, 32_768), off=False),
    _before_3("gemini-2.5-flash", "Gemini 2.5 Flash", (1, 24_576), off=True),
    _before_3(
        "gemini-2.5-flash-lite", "Gemini 2.5 Flash-Lite", (512, 24_576), off=True
    ),
    Model("gemini-3-pro-preview", "Gemini 3 Pro Preview", levels=("LOW", "HIGH")),
    Model("gemini-3-flash-preview", "Gemini 3 Flash Preview", levels=FOUR_LEVELS),
    Model("gemini-3.1-pro-preview", "Gemini 3.1 Pro Preview", levels=NO_MINIMAL),
    Model("gemini-3.5-flash", "Gemini 3.5 Flash", levels=FOUR_LEVELS),
    Model(
        "gemini-3.5-flash-lite",
        "Gemini 3.5 Flash-Lite",
        levels=FOUR_LEVELS,
        modern=True,
    ),
    Model("gemini-3.8-flash", "Gemini 3.8 Flash", levels=NO_MINIMAL, modern=True),
    Model("gemini-4-argon", "Gemini 4 Argon", levels=NO_MINIMAL, modern=True),
)

MODELS: Final[dict[str, Model]] = {model.id: model for model in _ALL}
