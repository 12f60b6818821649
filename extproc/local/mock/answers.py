"""What the mock's model says: an `Ask` in, an `Answer` out, the same for every provider.

The answer is a function of the request alone. It repeats the last user text, word by
word; calls the tools that the text names; fills in the schema that is asked for; and
thinks, refuses, or stops early when the request says so. Providers render it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final, Literal

import msgspec

from extproc.local.mock import synthesis, tokens
from extproc.local.mock.directives import Conduct

HUGE_PIECE: Final = 16_384
"""Characters in a streamed piece of a `huge` answer."""
ARGUMENT_PIECE: Final = 12
"""Characters in a streamed piece of tool arguments."""


class Finish(Enum):
    """Why the model stopped, before a provider gives it a name."""

    DONE = auto()
    LENGTH = auto()
    STOP_SEQUENCE = auto()
    TOOLS = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the model may call."""

    name: str
    schema: Mapping[str, Any] = field(default_factory=dict)
    free_text: bool = False
    """Its input is text, not JSON (OpenAI's custom tools)."""


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call; `arguments` is "" when the model sends nothing at all."""

    tool: Tool
    arguments: str

    @property
    def pieces(self) -> list[str]:
        """The arguments as they are streamed."""
        return [
            self.arguments[i : i + ARGUMENT_PIECE]
            for i in range(0, len(self.arguments), ARGUMENT_PIECE)
        ]


@dataclass(frozen=True, slots=True)
class Ask:
    """What the request asks of the model."""

    text: str
    """The last turn's text, directives removed."""
    conduct: Conduct = field(default_factory=Conduct)
    tools: tuple[Tool, ...] = ()
    choice: Literal["auto", "any", "none"] = "auto"
    forced: str | None = None
    """The one tool that must be called."""
    parallel: bool = True
    after_tools: bool = False
    """The last turn brings tool results: the model answers them."""
    json: Literal["no", "any", "schema"] = "no"
    schema: Mapping[str, Any] = field(default_factory=dict)
    max_tokens: int | None = None
    stops: tuple[str, ...] = ()
    thinking: bool = False
    variant: int = 0
    """Which of `n` choices."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model says, in the order in which it says it."""

    thinking: str = ""
    redacted: bool = False
    text: str = ""
    refusal: str = ""
    calls: tuple[Call, ...] = ()
    finish: Finish = Finish.DONE
    stop_sequence: str | None = None
    pieces: tuple[str, ...] = ()
    """`text`, or `refusal`, cut as it is streamed."""
    thinking_tokens: int = 0
    output_tokens: int = 0
    """All of them, thinking included."""


REFUSAL: Final = "I can't help with that."


def answer(ask: Ask) -> Answer:
    """Return what the model says to this."""
    thinking = _thought(ask) if ask.thinking else ""
    redacted = ask.thinking and "redacted" in ask.text.lower()
    hidden = ask.conduct.reasoning_tokens
    spent = hidden if hidden is not None else tokens.count(thinking)
    if _mention("refuse", ask.text) >= 0:
        said = tokens.tokens_of(REFUSAL)
        return Answer(
            thinking=thinking,
            redacted=redacted,
            refusal=REFUSAL,
            finish=Finish.REFUSED,
            pieces=tuple(said),
            thinking_tokens=spent,
            output_tokens=spent + len(said),
        )
    calls = _calls(ask)
    whole = _preamble(ask) if calls else _text(ask)
    pieces, finish, stop = _limit(ask, whole, spent)
    if calls and finish is Finish.DONE:
        finish = Finish.TOOLS
    else:
        calls = ()
    said_tokens = (
        sum(map(tokens.count, pieces)) if ask.conduct.huge_bytes else len(pieces)
    )
    called = sum(tokens.count(c.tool.name) + tokens.count(c.arguments) for c in calls)
    return Answer(
        thinking=thinking,
        redacted=redacted,
        text="".join(pieces),
        calls=calls,
        finish=finish,
        stop_sequence=stop,
        pieces=tuple(pieces),
        thinking_tokens=spent,
        output_tokens=spent + said_tokens + called,
    )


def _mention(name: str, text: str) -> int:
    """Return where the text names this whole word; -1: nowhere."""
    pattern = rf"(?<![\w-]){re.escape(name)}(?![\w-])"
    found = re.search(pattern, text, re.IGNORECASE)
    return -1 if found is None else found.start()


def _thought(ask: Ask) -> str:
    return f"The user says: {_clip(ask.text)}\nI will answer in a few words."


def _clip(text: str, most: int = 2000) -> str:
    return text if len(text) <= most else text[:most] + "…"


def _text(ask: Ask) -> str:
    """Return the answer's words, before any limit."""
    conduct = ask.conduct
    if conduct.huge_bytes is not None:
        line = "All work and no play makes a dull mock. "
        return (line * (conduct.huge_bytes // len(line) + 1))[: conduct.huge_bytes]
    if conduct.answer is not None:
        return conduct.answer
    if ask.json == "schema":
        return msgspec.json.encode(synthesis.value_for(ask.schema)).decode()
    if ask.json == "any":
        return msgspec.json.encode({"answer": _clip(ask.text)}).decode()
    if ask.after_tools:
        said = f"The tool says: {_clip(ask.text)}\nThat is all I know."
    else:
        said = f"You said: {_clip(ask.text)}\nThis is a mock answer. It has no opinion."
    return said if ask.variant == 0 else f"{said} (choice {ask.variant})"


def _preamble(ask: Ask) -> str:
    if ask.conduct.preamble is not None:
        return ask.conduct.preamble
    return "Let me look that up." if "text before" in ask.text.lower() else ""


def _calls(ask: Ask) -> tuple[Call, ...]:
    if not ask.tools or ask.choice == "none":
        return ()
    by_name = {tool.name: tool for tool in ask.tools}
    if ask.forced is not None:
        chosen = [by_name[ask.forced]]
    elif ask.after_tools and ask.choice == "auto":
        chosen = []
    else:
        # In the order in which the text names them, as a model would.
        named = [(_mention(tool.name, ask.text), tool) for tool in ask.tools]
        named.sort(key=lambda pair: pair[0])
        chosen = [tool for at, tool in named if at >= 0]
    if not chosen and ask.choice == "any":
        chosen = [ask.tools[0]]
    if not ask.parallel:
        chosen = chosen[:1]
    return tuple(Call(tool, _arguments(tool, ask)) for tool in chosen)


def _arguments(tool: Tool, ask: Ask) -> str:
    if ask.conduct.tool_args is not None:
        return ask.conduct.tool_args
    if tool.free_text:
        return f"input for {tool.name}"
    return msgspec.json.encode(
        synthesis.value_for({"type": "object", **tool.schema})
    ).decode()


def _limit(ask: Ask, whole: str, spent: int) -> tuple[list[str], Finish, str | None]:
    """Cut the text at the first stop sequence, then at the token limit."""
    finish, stop = Finish.DONE, None
    hits = [(at, s) for s in ask.stops if s and (at := whole.find(s)) >= 0]
    if hits:
        at, stop = min(hits)
        whole, finish = whole[:at], Finish.STOP_SEQUENCE
    if ask.conduct.huge_bytes is not None:
        return _slices(whole), finish, stop
    pieces = tokens.tokens_of(whole)
    if ask.max_tokens is not None and len(pieces) + spent > ask.max_tokens:
        return pieces[: max(0, ask.max_tokens - spent)], Finish.LENGTH, None
    return pieces, finish, stop


def _slices(text: str) -> list[str]:
    return [text[i : i + HUGE_PIECE] for i in range(0, len(text), HUGE_PIECE)]
