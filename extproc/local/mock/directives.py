r"""`[[mock: …]]` in a text or a model name: how the mock is told to misbehave.

One bracket holds one directive: its name, then its parameters, as `name`, `name=value`
or `name="a value with spaces"` (`\n`, `\"` and `\\` are understood in quotes). Several
brackets may stand in one text. The package docstring lists them all. A name or a
parameter that is not in `TABLE` is refused: a typo must not make a test pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

BRACKET: Final = re.compile(r'\s*\[\[mock:((?:[^"\]]|"(?:[^"\\]|\\.)*"|\](?!\]))*)\]\]')
WORD: Final = re.compile(r'([A-Za-z0-9_-]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*)))?')
ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r"}


class UnknownDirective(Exception):
    """The text asks for something that the mock cannot do."""


@dataclass(frozen=True, slots=True)
class Conduct:
    """How one exchange shall go; the defaults are a provider in good health."""

    status: int | None = None
    retry_after: float | None = None
    message: str | None = None
    context_length: bool = False
    filtered: bool = False
    fail_times: int = 0
    fail_key: str = ""
    fail_status: int = 500
    error_after: int | None = None
    error_type: str | None = None
    reset: bool = False
    reset_after: int | None = None
    cut_after: int | None = None
    silence: float | None = None
    delay: float = 0.0
    stall_after: int | None = None
    stall_seconds: float = 3600.0
    malformed_json: bool = False
    not_json: int | None = None
    empty_body: bool = False
    truncate_after: int | None = None
    huge_bytes: int | None = None
    no_usage: bool = False
    cached_tokens: int = 0
    reasoning_tokens: int | None = None
    answer: str | None = None
    preamble: str | None = None
    tool_args: str | None = None
    finish: str | None = None
    cut_every: int | None = None
    line_end: str = "\n"
    mark: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parameter:
    """Where a parameter's value goes, how it is read, and what it is if left out."""

    goes_to: str
    read: Callable[[str], Any]
    default: Any = None


@dataclass(frozen=True, slots=True)
class Directive:
    """One line of the table."""

    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    sets: Mapping[str, Any] = field(default_factory=dict)
    """Fields that the bare name sets."""


def _milliseconds(text: str) -> float:
    return float(text) / 1000


AFTER: Final = "after"

TABLE: Final[dict[str, Directive]] = {
    "status": Directive(
        {
            "status": Parameter("status", int),
            "retry-after": Parameter("retry_after", float),
            "message": Parameter("message", str),
        }
    ),
    "context-length": Directive(sets={"context_length": True}),
    "filtered": Directive(sets={"filtered": True}),
    "fail-first": Directive(
        {
            "n": Parameter("fail_times", int, 1),
            "key": Parameter("fail_key", str, ""),
            "status": Parameter("fail_status", int, 500),
            "retry-after": Parameter("retry_after", float),
        }
    ),
    "error-mid-stream": Directive(
        {
            AFTER: Parameter("error_after", int, 2),
            "type": Parameter("error_type", str),
        }
    ),
    "reset": Directive(sets={"reset": True}),
    "reset-mid-stream": Directive({AFTER: Parameter("reset_after", int, 2)}),
    "cut-mid-chunk": Directive({AFTER: Parameter("cut_after", int, 2)}),
    "silence": Directive({"seconds": Parameter("silence", float, 3600.0)}),
    "slow-first-token": Directive({"ms": Parameter("delay", _milliseconds, 1.0)}),
    "stall-mid-stream": Directive(
        {
            AFTER: Parameter("stall_after", int, 2),
            "seconds": Parameter("stall_seconds", float, 3600.0),
        }
    ),
    "malformed-json": Directive(sets={"malformed_json": True}),
    "not-json": Directive({"status": Parameter("not_json", int, 502)}),
    "empty-body": Directive(sets={"empty_body": True}),
    "truncate": Directive({AFTER: Parameter("truncate_after", int, 2)}),
    "huge": Directive({"bytes": Parameter("huge_bytes", int, 1 << 20)}),
    "no-usage": Directive(sets={"no_usage": True}),
    "cached": Directive({"tokens": Parameter("cached_tokens", int, 1)}),
    "reasoning": Directive({"tokens": Parameter("reasoning_tokens", int, 1)}),
    "answer": Directive({"answer": Parameter("answer", str)}),
    "preamble": Directive({"preamble": Parameter("preamble", str)}),
    "tool-args": Directive({"tool-args": Parameter("tool_args", str)}),
    "finish": Directive({"finish": Parameter("finish", str)}),
    "stop_reason": Directive({"stop_reason": Parameter("finish", str)}),
    "mark": Directive({"mark": Parameter("mark", str)}),
    "headers": Directive(),
}
"""Every directive but `split`, whose one value says three different things."""


def split(text: str, conduct: Conduct | None = None) -> tuple[str, Conduct]:
    """Return the text without its directives, and what they add to `conduct`.

    Raises:
        UnknownDirective: a name, parameter or value is not understood.
    """
    if "[[mock:" not in text:
        return text, conduct or Conduct()
    conduct = conduct or Conduct()
    for bracket in BRACKET.finditer(text):
        conduct = _apply(bracket.group(1).strip(), conduct)
    rest = BRACKET.sub("", text).strip()
    if "[[mock:" in rest:
        raise UnknownDirective(f"unreadable directive in {rest!r}")
    return rest, conduct


def _apply(source: str, conduct: Conduct) -> Conduct:
    words = [
        (m[1], _unquote(m[2]) if m[2] is not None else m[3])
        for m in WORD.finditer(source)
    ]
    if not words or WORD.sub("", source).strip():
        raise UnknownDirective(f"unreadable directive {source!r}")
    name = words[0][0]
    if name == "split":
        return _cutting(words[0][1], conduct)
    if name == "headers":
        return replace(
            conduct, headers={**conduct.headers, **{k: v or "" for k, v in words[1:]}}
        )
    entry = TABLE.get(name)
    if entry is None:
        raise UnknownDirective(f"unknown directive {name!r}")
    given = dict(words if name in entry.parameters else words[1:])
    changes: dict[str, Any] = dict(entry.sets)
    for parameter, spec in entry.parameters.items():
        raw = given.pop(parameter, None)
        if raw is None and spec.default is None and parameter == name:
            raise UnknownDirective(f"directive {name!r} needs a value")
        if raw is None and spec.default is None:
            continue
        try:
            changes[spec.goes_to] = spec.default if raw is None else spec.read(raw)
        except ValueError as exc:
            raise UnknownDirective(f"{name} {parameter}={raw!r}: {exc}") from exc
    if given:
        raise UnknownDirective(
            f"directive {name!r} has no parameter {next(iter(given))!r}"
        )
    return replace(conduct, **changes)


def _cutting(value: str | None, conduct: Conduct) -> Conduct:
    match value:
        case "byte":
            return replace(conduct, cut_every=1)
        case "crlf":
            return replace(conduct, line_end="\r\n")
        case "cr":
            return replace(conduct, line_end="\r")
        case str() if value.isdigit() and int(value) > 0:
            return replace(conduct, cut_every=int(value))
        case _:
            raise UnknownDirective(
                f"split={value!r}: expected byte, crlf, cr or a count"
            )


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", lambda m: ESCAPES.get(m[1], m[1]), text)
