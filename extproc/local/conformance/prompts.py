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
PAPER: Final = (
    "JVBERi0xLjQKMSAwIG9iajw8L1R5cGUvQ2F0YWxvZy9QYWdlcyAyIDAgUj4+IGVuZG9iagoyIDAg"
    "b2JqPDwvVHlwZS9QYWdlcy9LaWRzWzMgMCBSXS9Db3VudCAxPj4gZW5kb2JqCjMgMCBvYmo8PC9U"
    "eXBlL1BhZ2UvUGFyZW50IDIgMCBSL01lZGlhQm94WzAgMCAyMDAgNTBdL0NvbnRlbnRzIDQgMCBS"
    "L1Jlc291cmNlczw8L0ZvbnQ8PC9GIDUgMCBSPj4+Pj4+IGVuZG9iago0IDAgb2JqPDwvTGVuZ3Ro"
    "IDMzPj5zdHJlYW0KQlQgL0YgMTggVGYgOSAxOCBUZCAoSGVsbG8pIFRqIEVUCmVuZHN0cmVhbSBl"
    "bmRvYmoKNSAwIG9iajw8L1R5cGUvRm9udC9TdWJ0eXBlL1R5cGUxL0Jhc2VGb250L0hlbHZldGlj"
    "YT4+IGVuZG9iagp4cmVmCjAgNgowMDAwMDAwMDAwIDY1NTM1IGYgCjAwMDAwMDAwMDkgMDAwMDAg"
    "biAKMDAwMDAwMDA1MyAwMDAwMCBuIAowMDAwMDAwMTAzIDAwMDAwIG4gCjAwMDAwMDAyMTIgMDAw"
    "MDAgbiAKMDAwMDAwMDI5MSAwMDAwMCBuIAp0cmFpbGVyPDwvU2l6ZSA2L1Jvb3QgMSAwIFI+Pgpz"
    "dGFydHhyZWYKMzUzCiUlRU9GCg=="
)
"""A PDF of one page that says hello, in base64."""
SOUND: Final = "UklGRiUAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQEAAACA"
"""A WAV of one sample, in base64."""

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
    cited: bool = False
    """The answer is to cite the PDF."""
    audio: bool = False
    web_search: bool = False
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
