"""What a feature asks for, in no API's words: each client dialect spells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from extproc.local.conformance.heard import Heard

Json = dict[str, Any]

MODEL_LIMIT: Final = 4096
"""Most output tokens, where a client must name a number and the feature names none."""

THINKING_BUDGET: Final = 1024
"""Tokens; the least that Anthropic takes."""

PICTURE: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    "awAAAABJRU5ErkJggg=="
)
"""A PNG of one pixel, in base64."""
PICTURE_URL: Final = "https://example.com/cat.png"
PAPER: Final = "JVBERi0xLjQKMSAwIG9iago8PD4+CmVuZG9iagp0cmFpbGVyCjw8Pj4KJSVFT0YK"
"""A PDF without pages, in base64."""

ANSWER_SCHEMA: Final[Json] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "celsius": {"type": "integer"}},
    "required": ["city", "celsius"],
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool; the mock's model calls it when the text says its name."""

    name: str
    parameters: Mapping[str, Any]


CITY: Final[Json] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
NOTHING: Final[Json] = {
    "type": "object",
    "properties": {},
    "additionalProperties": False,
}
WEATHER: Final = Tool("weather", CITY)
POPULATION: Final = Tool("population", CITY)
CLOCK: Final = Tool("clock", NOTHING)


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request. What is left at its default is not said at all."""

    text: str
    """The last user turn; the mock's directives may stand in it."""
    stream: bool = False
    stream_usage: bool = False
    system: str = ""
    earlier: tuple[tuple[str, str], ...] = ()
    """Turns before: what the user and the assistant said."""
    image: Literal["", "inline", "url"] = ""
    pdf: bool = False
    tools: tuple[Tool, ...] = ()
    tool_choice: str = ""
    """``none``, or the tool that must be called."""
    answered: Heard | None = None
    """The assistant's answer to `text`, with a call in it that `result` answers."""
    result: str = ""
    json_schema: bool = False
    json_mode: bool = False
    stop: str = ""
    max_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    n: int | None = None
    logprobs: bool = False
    thinking: bool = False
    cache: bool = False
    """The system prompt ends a prefix that shall be cached."""
