"""A tiny schema language: the shape of a request body as a table.

A provider's request is one `Obj` of fields; a field name that ends in `!` is
required. `check(rule, value)` raises the first `Violation` it finds, in words that
belong to no provider: each provider's `errors.py` spells it as the real API does.
The tables are our own (the mock ships without the official SDKs); the tests walk
them beside the SDKs' parameter types and refuse any difference.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from typing import Any, Final, Literal

Path = tuple[str | int, ...]
"""Where in the body: field names, list positions, and `<tag>` of a tagged object."""

Fault = Literal[
    "missing",
    "unknown",
    "type",
    "enum",
    "tag_missing",
    "tag_unknown",
    "below",
    "above",
    "too_short",
    "too_long",
    "pattern",
]


class Violation(Exception):
    """The body breaks a rule: which fault, where, and what would have been right."""

    def __init__(
        self,
        fault: Fault,
        path: Path,
        *,
        value: object = None,
        expected: object = None,
        rule: Rule | None = None,
    ) -> None:
        super().__init__(f"{fault} at {path}")
        self.fault = fault
        self.path = path
        self.value = value
        self.expected = expected
        """The bound, the allowed values, the pattern, or the wanted JSON types."""
        self.rule = rule


@dataclass(frozen=True, slots=True)
class Str:
    """A string; lengths are in characters."""

    min: int = 0
    max: int | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Enum:
    """One of some strings."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Int:
    """An integer; `1.0` is none."""

    min: int | None = None
    max: int | None = None


@dataclass(frozen=True, slots=True)
class Num:
    """Any number."""

    min: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class Bool:
    """True or false."""


@dataclass(frozen=True, slots=True)
class Null:
    """Null, as one choice of `OneOf`."""


@dataclass(frozen=True, slots=True)
class FreeObj:
    """An object that the provider hands on, such as a JSON schema."""

    value: Rule | None = None
    """The rule of every value; None: anything."""
    max: int | None = None
    """Most entries."""
    key_max: int | None = None
    """Longest key, in characters."""


@dataclass(frozen=True, slots=True)
class ListOf:
    """An array; lengths are in items."""

    item: Rule
    min: int = 0
    max: int | None = None


@dataclass(frozen=True, slots=True)
class Obj:
    """An object with exactly these fields; `name!` must be present."""

    fields: Mapping[str, Rule]


@dataclass(frozen=True, slots=True)
class Tagged:
    """One of several objects, told apart by the string in `tag`."""

    members: Mapping[str, Obj]
    tag: str = "type"
    default: str | None = None
    """The member meant when the tag is absent or null."""
    shown: bool = True
    """Whether paths name the chosen member (`<text>`)."""


@dataclass(frozen=True, slots=True)
class OneOf:
    """Alternatives of different JSON types: a string or an array, say."""

    choices: tuple[Rule, ...]


Rule = Str | Enum | Int | Num | Bool | Null | FreeObj | ListOf | Obj | Tagged | OneOf

JSON_TYPE: Final[dict[type, str]] = {
    Str: "string",
    Enum: "string",
    Int: "integer",
    Num: "number",
    Bool: "boolean",
    Null: "null",
    FreeObj: "object",
    ListOf: "array",
    Obj: "object",
    Tagged: "object",
}


JSON_NAMES: Final[dict[type, str]] = {
    type(None): "null",
    bool: "boolean",
    str: "string",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
}


def enum(*values: str) -> Enum:
    """Return the rule for one of `values`."""
    return Enum(values)


def one_of(*choices: Rule) -> OneOf:
    """Return the rule for any of `choices`."""
    return OneOf(choices)


def nullable(rule: Rule) -> OneOf:
    """Return the rule for `rule` or null."""
    if isinstance(rule, OneOf):
        return OneOf((*rule.choices, Null()))
    return OneOf((rule, Null()))


def json_type(value: object) -> str:
    """Return the JSON type name of a decoded value."""
    return JSON_NAMES.get(type(value), "object")


def types_of(rule: Rule) -> tuple[str, ...]:
    """Return the JSON types that a rule accepts, in its own order."""
    if isinstance(rule, OneOf):
        return tuple(name for choice in rule.choices for name in types_of(choice))
    return (JSON_TYPE[type(rule)],)


def accepts(rule: Rule, value: object) -> bool:
    """Tell whether the value has a JSON type that the rule could accept."""
    have, want = json_type(value), types_of(rule)
    if have == "integer":
        return "integer" in want or "number" in want
    return have in want


def check(rule: Rule, value: Any, path: Path = ()) -> None:  # noqa: ANN401
    """Raise `Violation` for the first thing in `value` that breaks `rule`."""
    if not accepts(rule, value):
        raise Violation("type", path, value=value, expected=types_of(rule), rule=rule)
    match rule:
        case OneOf(choices):
            check(next(c for c in choices if accepts(c, value)), value, path)
        case Str() | Enum():
            _check_string(rule, value, path)
        case Int() | Num():
            _check_number(rule, value, path)
        case ListOf() | FreeObj():
            _check_members(rule, value, path)
        case Obj():
            _check_fields(rule, value, path)
        case Tagged():
            _check_tagged(rule, value, path)
        case Bool() | Null():
            pass


def _check_members(rule: ListOf | FreeObj, value: Any, path: Path) -> None:  # noqa: ANN401
    if isinstance(rule, ListOf):
        _check_length(value, path, rule, least=rule.min, most=rule.max)
        for i, member in enumerate(value):
            check(rule.item, member, (*path, i))
        return
    _check_length(value, path, rule, most=rule.max)
    for key, member in value.items():
        _check_length(key, (*path, key), Str(), most=rule.key_max)
        if rule.value is not None:
            check(rule.value, member, (*path, key))


def _check_string(rule: Str | Enum, value: str, path: Path) -> None:
    if isinstance(rule, Enum):
        if value not in rule.values:
            raise Violation("enum", path, value=value, expected=rule.values, rule=rule)
        return
    _check_length(value, path, rule, least=rule.min, most=rule.max)
    if rule.pattern is not None and re.search(rule.pattern, value) is None:
        raise Violation("pattern", path, value=value, expected=rule.pattern, rule=rule)


def _check_number(rule: Int | Num, value: float, path: Path) -> None:
    if rule.min is not None and value < rule.min:
        raise Violation("below", path, value=value, expected=rule.min, rule=rule)
    if rule.max is not None and value > rule.max:
        raise Violation("above", path, value=value, expected=rule.max, rule=rule)


def _check_length(
    value: Sized, path: Path, rule: Rule, *, least: int = 0, most: int | None = None
) -> None:
    if len(value) < least:
        raise Violation("too_short", path, value=value, expected=least, rule=rule)
    if most is not None and len(value) > most:
        raise Violation("too_long", path, value=value, expected=most, rule=rule)


def _check_fields(rule: Obj, value: Mapping[str, Any], path: Path) -> None:
    known = rule.fields
    for key, member in value.items():
        field = known.get(f"{key}!") or known.get(key)
        if field is None or key.endswith("!"):
            raise Violation("unknown", (*path, key), value=member, rule=rule)
        check(field, member, (*path, key))
    for name in known:
        if name.endswith("!") and name[:-1] not in value:
            raise Violation("missing", (*path, name[:-1]), rule=known[name])


def _check_tagged(rule: Tagged, value: Mapping[str, Any], path: Path) -> None:
    tag = value.get(rule.tag)
    if tag is None:
        tag = rule.default
    if tag is None:
        raise Violation(
            "tag_missing", path, value=rule.tag, expected=tuple(rule.members), rule=rule
        )
    member = rule.members.get(tag) if isinstance(tag, str) else None
    if member is None:
        raise Violation(
            "tag_unknown",
            path,
            value=tag,
            expected=tuple(rule.members),
            rule=rule,
        )
    _check_fields(member, value, (*path, f"<{tag}>") if rule.shown else path)
