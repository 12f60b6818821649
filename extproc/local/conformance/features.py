"""The features: a prompt and a check of its answer each. The order is the documents'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from extproc.local.conformance import checks
from extproc.local.conformance.checks import Check
from extproc.local.conformance.prompts import (
    CLOCK,
    PAPER,
    PICTURE,
    PICTURE_URL,
    POPULATION,
    SOUND,
    WEATHER,
    Prompt,
)
from extproc.local.mock.sources import PAGE

WHOLE: Final = (False,)
STREAMED: Final = (True,)
BOTH: Final = (False, True)


@dataclass(frozen=True, slots=True)
class Feature:
    """One row of the matrix."""

    name: str
    prompt: Prompt
    check: Check
    ways: tuple[bool, ...] = BOTH
    """Whether it is asked whole, streamed, or both."""
    result: str = ""
    """What the called tool gives back: a second turn, whose answer is told by `after`."""
    after: Check = checks.ok
    proves: bool = False
    """The second turn must bring back the first one's proofs of reasoning."""
    unplayed: str = ""
    """Why nobody is asked."""
    model: str = ""
    """Asked for in place of the provider's own."""


_LONG: Final = "word " * 40
_CITY: Final = '{"city":"city value"}'
SEED: Final = 4711
TEMPERATURE: Final = 0.375
_SAID: Final = checks.says("You said")
_TOOLS: Final = (WEATHER, POPULATION, CLOCK)

FEATURES: Final = (
    Feature("plain", Prompt("Hello"), checks.says("Hello"), WHOLE),
    Feature("streamed", Prompt("Hello"), checks.says("Hello"), STREAMED),
    Feature(
        "system prompt",
        Prompt("Hello", system="Speak like a pirate."),
        checks.carries("Speak like a pirate.", _SAID),
    ),
    Feature(
        "multi-turn",
        Prompt("And now?", earlier=(("My name is Ada.", "Good day, Ada."),)),
        checks.carries(
            "My name is Ada.",
            checks.carries("Good day, Ada.", checks.says("And now?")),
        ),
    ),
    Feature(
        "tool call",
        Prompt("The weather, please", tools=_TOOLS),
        checks.calls(("weather", _CITY)),
    ),
    Feature(
        "tool call without arguments",
        Prompt("The clock, please", tools=_TOOLS),
        checks.calls(("clock", "{}")),
    ),
    Feature(
        "parallel tool calls",
        Prompt("The weather and the population", tools=_TOOLS),
        checks.calls(("weather", _CITY), ("population", _CITY)),
    ),
    Feature(
        "forced tool",
        Prompt("Hello", tools=_TOOLS, tool_choice="population"),
        checks.calls(("population", _CITY)),
    ),
    Feature(
        "tool result",
        Prompt("The weather and the population", tools=_TOOLS),
        checks.calls(("weather", _CITY), ("population", _CITY)),
        result="18 degrees",
        after=checks.says("The tool says", "18 degrees"),
    ),
    Feature(
        "tool choice none",
        Prompt("The weather, please", tools=_TOOLS, tool_choice="none"),
        checks.calls_nothing,
    ),
    Feature(
        "image inline",
        Prompt("What is this?", image="inline"),
        checks.carries(PICTURE, _SAID),
    ),
    Feature(
        "image by URL",
        Prompt("What is this?", image="url"),
        checks.carries(PICTURE_URL, _SAID),
    ),
    Feature(
        "PDF",
        Prompt("What does it say?", pdf=True),
        checks.carries(PAPER, _SAID),
    ),
    Feature(
        "cited documents",
        Prompt("What does it say?", pdf=True, cited=True),
        checks.cites("document 0", "You said", checks.asks_to_cite(_SAID)),
    ),
    Feature(
        "audio in",
        Prompt("What is said?", audio=True),
        checks.carries(SOUND, _SAID),
    ),
    Feature("web search", Prompt("Hello", web_search=True), _SAID),
    Feature(
        "citations of a web search",
        # Not ASCII, so that bytes are no characters.
        Prompt("日本: search the web", web_search=True),
        checks.cites(PAGE, "This is a mock answer.", _SAID),
    ),
    Feature(
        "structured output",
        Prompt("The weather, please", json_schema=True),
        checks.is_json("city", "celsius"),
    ),
    Feature(
        "structured output beside tools",
        # Where it is bound by a tool, the mock's model has to hear that one's name.
        Prompt("A json_answer, please", json_schema=True, tools=(CLOCK,)),
        checks.is_json("city", "celsius"),
    ),
    Feature(
        "tool call beside structured output",
        Prompt("The weather, please", json_schema=True, tools=_TOOLS),
        checks.calls(("weather", _CITY)),
    ),
    Feature(
        "JSON mode",
        Prompt("The weather as JSON, please", json_mode=True),
        checks.is_json(),
    ),
    Feature(
        "stop sequence",
        Prompt("one HALT two", stop="HALT"),
        checks.stops_before("HALT"),
    ),
    Feature(
        "max tokens",
        Prompt(_LONG, max_tokens=16),
        checks.says("You said", finish="length"),
    ),
    Feature("usage", Prompt("Hello"), checks.counts, WHOLE),
    Feature(
        "usage in a stream", Prompt("Hello", stream_usage=True), checks.counts, STREAMED
    ),
    Feature(
        "reasoning over two turns",
        Prompt("The weather, please", tools=_TOOLS, thinking=True),
        checks.thinks,
        result="18 degrees",
        after=checks.says("The tool says"),
        proves=True,
    ),
    Feature(
        "temperature",
        Prompt("Hello", temperature=TEMPERATURE),
        checks.carries(TEMPERATURE, _SAID),
    ),
    Feature("seed", Prompt("Hello", seed=SEED), checks.carries(SEED, _SAID)),
    Feature("two choices", Prompt("Hello", n=2), checks.has_choices(2)),
    Feature("logprobs", Prompt("Hello", logprobs=True), checks.has_logprobs),
    Feature(
        "prompt caching",
        Prompt(
            "Hello [[mock: cached tokens=3]]",
            system="Speak like a pirate.",
            cache=True,
            stream_usage=True,
        ),
        checks.caches(3),
    ),
    Feature(
        "provider error",
        Prompt('Hello [[mock: status=429 retry-after=2 message="slow down"]]'),
        checks.fails_with(429, "2", "slow down"),
    ),
    Feature(
        "error inside a stream",
        Prompt("Hello [[mock: error-mid-stream after=3]]"),
        checks.breaks,
        STREAMED,
    ),
    Feature(
        "truncated stream",
        Prompt("Hello [[mock: truncate after=3]]"),
        checks.breaks,
        STREAMED,
    ),
)
