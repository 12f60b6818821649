"""The mock's request tables against the official SDKs' parameter types.

Two ways: the tables and the types are walked side by side, and bodies made from the
types alone go through the tables.
"""

from __future__ import annotations

import collections.abc
import copy
import functools
import os
import types
import typing
from collections.abc import Iterator
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
)

import msgspec
import pydantic
import pytest
from anthropic.types.message_count_tokens_params import MessageCountTokensParams
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
)
from typing_extensions import is_typeddict

from extproc.local.mock.anthropic.api import Anthropic
from extproc.local.mock.anthropic.rules import (
    COUNT_TOKENS,
    MESSAGES,
    OLDER_MESSAGES,
)
from extproc.local.mock.openai.api import OpenAI
from extproc.local.mock.openai.rules import CHAT
from extproc.local.mock.reply import Provider, Request, Stream
from extproc.local.mock.rules import (
    Bool,
    Enum,
    FreeObj,
    Int,
    ListOf,
    Null,
    Num,
    Obj,
    OneOf,
    Rule,
    Str,
    Tagged,
    Violation,
    check,
)
from extproc.local.mock.state import Memory

TABLES: dict[str, tuple[Any, Obj]] = {
    "openai": (CompletionCreateParamsNonStreaming, CHAT),
    "anthropic": (MessageCreateParamsNonStreaming, MESSAGES),
    "anthropic 2023": (MessageCreateParamsNonStreaming, OLDER_MESSAGES),
    "count_tokens": (MessageCountTokensParams, COUNT_TOKENS),
}

HEADER_FIELDS = {"user_profile_id", "workspace_id"}
"""In Anthropic's types, but sent as headers: in a body they are unknown."""

OLDER_FIELDS = {"temperature", "top_k", "top_p"}
"""Not in Anthropic's types, which are of the newer API version."""

ANY_STRING = "srvtoolu_1"
"""Fits every pattern in all tables."""


def members(hint: Any) -> list[Any]:
    """Return what a hint may be: unions flattened, wrappers and non-JSON gone."""
    origin = get_origin(hint)
    if origin in (Required, NotRequired, Annotated):
        return members(get_args(hint)[0])
    if origin in (Union, types.UnionType):
        return [m for arg in get_args(hint) for m in members(arg)]
    if origin is typing.IO or hint in (os.PathLike, typing.IO[bytes]):
        return []  # a file: the SDK reads it, the wire has a string
    if origin is os.PathLike:
        return []
    if isinstance(hint, type) and issubclass(hint, pydantic.BaseModel):
        return []  # an answer's block given back: the same fields as its parameter
    return [hint]


def kind(hint: Any) -> str:
    """Return the JSON type of one member."""
    origin = get_origin(hint)
    if origin is Literal:
        return "boolean" if isinstance(get_args(hint)[0], bool) else "string"
    if hint is type(None):
        return "null"
    if is_typeddict(hint) or origin is dict or hint is dict:
        return "object"
    if origin in (list, collections.abc.Iterable, collections.abc.Sequence) or (
        getattr(origin, "__name__", "") == "SequenceNotStr"
    ):
        return "array"
    return {str: "string", int: "integer", float: "number", bool: "boolean"}[hint]


RULE_KINDS: dict[type, str] = {
    Str: "string",
    Enum: "string",
    Int: "integer",
    Num: "number",
    Bool: "boolean",
    Null: "null",
    FreeObj: "object",
    Obj: "object",
    Tagged: "object",
    ListOf: "array",
}


def by_kind(hint: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for member in members(hint):
        found.setdefault(kind(member), []).append(member)
    return found


def rules_by_kind(rule: Rule) -> dict[str, Rule]:
    choices = rule.choices if isinstance(rule, OneOf) else (rule,)
    return {RULE_KINDS[type(choice)]: choice for choice in choices}


@functools.cache
def fields_of(typed: Any) -> tuple[dict[str, Any], set[str]]:
    """Return a typed dict's hints and its required keys."""
    hints = typing.get_type_hints(typed, include_extras=True)
    required = {
        name
        for name, hint in hints.items()
        if name in typed.__required_keys__
        or get_origin(hint) is Required
        or (get_origin(hint) is Annotated and get_origin(get_args(hint)[0]) is Required)
    }
    return hints, required


def rule_fields(rule: Obj) -> tuple[dict[str, Rule], set[str]]:
    required = {name[:-1] for name in rule.fields if name.endswith("!")}
    return {name.removesuffix("!"): field for name, field in rule.fields.items()}, (
        required
    )


def tags_of(typed: Any, tag: str) -> tuple[str, ...]:
    hints, _ = fields_of(typed)
    found = [get_args(m) for m in members(hints[tag]) if get_origin(m) is Literal]
    return tuple(value for values in found for value in values)


def objects(
    hint_members: list[Any], rule: Rule, path: str
) -> Iterator[tuple[Any, Obj, str]]:
    """Pair the typed dicts of a hint with the table's objects."""
    typed = [m for m in hint_members if is_typeddict(m)]
    if isinstance(rule, Obj):
        assert len(typed) == 1, path
        yield typed[0], rule, path
    elif isinstance(rule, Tagged):
        for one in typed:
            for tag in tags_of(one, rule.tag):
                assert tag in rule.members, f"{path}: no {tag}"
                yield one, rule.members[tag], f"{path}<{tag}>"
        known = {tag for one in typed for tag in tags_of(one, rule.tag)}
        assert known == set(rule.members), path


def differences(hint: Any, rule: Rule, path: str, seen: set[Any]) -> Iterator[str]:
    """Yield every place where the table and the types disagree."""
    hints, choices = by_kind(hint), rules_by_kind(rule)
    if set(hints) != set(choices):
        yield f"{path}: types say {sorted(hints)}, the table {sorted(choices)}"
        return
    for name, options in hints.items():
        choice = choices[name]
        if name == "string":
            yield from string_differences(options, choice, path)
        elif isinstance(choice, ListOf):
            yield from differences(
                get_args(options[0])[0], choice.item, f"{path}[]", seen
            )
        elif isinstance(choice, FreeObj):
            # A union of a typed dict and a plain one is open, as `input_schema` is.
            plain = [o for o in options if not is_typeddict(o)]
            assert plain, path
            value = get_args(plain[0])[1]
            if choice.value is None:
                if value is not object:
                    yield f"{path}: values should be {value}"
            else:
                yield from differences(value, choice.value, f"{path}{{}}", seen)
        elif name == "object":
            for typed, obj, at in objects(options, choice, path):
                if (typed, id(obj)) not in seen:
                    seen.add((typed, id(obj)))
                    yield from field_differences(typed, obj, at, seen)


def string_differences(options: list[Any], rule: Rule, path: str) -> Iterator[str]:
    values = {v for o in options if get_origin(o) is Literal for v in get_args(o)}
    if str in options:
        if not isinstance(rule, Str):
            yield f"{path}: any string will do"
    elif not isinstance(rule, Enum):
        yield f"{path}: only {values} will do"
    elif set(rule.values) != values and not (
        # One tag of a typed dict that has two.
        len(rule.values) == 1 and rule.values[0] in values and path.endswith(".type")
    ):
        yield f"{path}: {set(rule.values) ^ values}"


def field_differences(
    typed: Any, rule: Obj, path: str, seen: set[Any]
) -> Iterator[str]:
    hints, required = fields_of(typed)
    fields, needed = rule_fields(rule)
    for name in sorted(set(hints) ^ set(fields)):
        yield f"{path}.{name}: only in the {'types' if name in hints else 'table'}"
    for name in sorted((required ^ needed) & set(hints) & set(fields)):
        yield f"{path}.{name}: required only in the {'types' if name in required else 'table'}"
    for name in sorted(set(hints) & set(fields)):
        yield from differences(hints[name], fields[name], f"{path}.{name}", seen)


EXPECTED_DIFFERENCES = {
    "openai": {
        "$.messages[]<assistant>.annotations: only in the table",
        "$.messages[]<tool>.name: only in the table",
    },
    "anthropic": {f"$.{name}: only in the types" for name in HEADER_FIELDS},
    "anthropic 2023": {
        *(f"$.{name}: only in the types" for name in HEADER_FIELDS),
        *(f"$.{name}: only in the table" for name in OLDER_FIELDS),
    },
    "count_tokens": {f"$.{name}: only in the types" for name in HEADER_FIELDS},
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_the_fields_kinds_and_enums_of_the_sdk(name: str) -> None:
    hint, rule = TABLES[name]
    assert set(differences(hint, rule, "$", set())) == EXPECTED_DIFFERENCES[name]


def samples(hint: Any, rule: Rule) -> Iterator[Any]:
    """Yield values that the types allow, each alternative at least once."""
    choices = rules_by_kind(rule)
    for name, options in by_kind(hint).items():
        choice = choices[name]
        if name == "string":
            values = [
                v for o in options if get_origin(o) is Literal for v in get_args(o)
            ]
            yield from [ANY_STRING] if str in options else values
        elif isinstance(choice, (Int, Num)):
            yield 1 if choice.min is None else choice.min or 1
        elif name == "boolean":
            yield False
        elif name == "null":
            yield None
        elif isinstance(choice, ListOf):
            for item in samples(get_args(options[0])[0], choice.item):
                yield [item]
        elif isinstance(choice, FreeObj):
            yield {"a": 1} if choice.value is None else {}
        else:
            for typed, obj, _ in objects(options, choice, "$"):
                yield from object_samples(typed, obj)


def object_samples(typed: Any, rule: Obj) -> Iterator[dict[str, Any]]:
    hints, _ = fields_of(typed)
    fields, _ = rule_fields(rule)
    rows = {
        name: list(samples(hint, fields[name]))
        for name, hint in hints.items()
        if name not in HEADER_FIELDS
    }
    if isinstance(tag := fields.get("type"), Enum) and len(tag.values) == 1:
        rows["type"] = list(tag.values)
    full = {name: values[0] for name, values in rows.items()}
    yield full
    for name, values in rows.items():
        for value in values[1:]:
            yield {**full, name: value}


def nested(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every object in a body."""
    if isinstance(value, dict):
        yield path
        for key, member in value.items():
            yield from nested(member, (*path, key))
    elif isinstance(value, list):
        for i, member in enumerate(value):
            yield from nested(member, (*path, i))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


FREE = {"parameters", "input_schema", "input", "schema", "logit_bias", "metadata"}
"""Fields whose objects are the caller's own."""


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_what_the_types_allow_is_accepted_and_nothing_else(name: str) -> None:
    """Every key of every typed dict passes; an unknown key beside it never does."""
    hint, rule = TABLES[name]
    tried = refused = 0
    shapes: set[tuple[Any, ...]] = set()
    for body in samples(hint, rule):
        check(rule, body)
        tried += 1
        for path in nested(body):
            inside = at(body, path)
            shape = (
                *(s for s in path if isinstance(s, str)),
                str(inside.get("type")),
                *inside,
            )
            free = FREE - ({"metadata"} if name != "openai" else set())
            if free & set(path) or "a" in inside or shape in shapes:
                continue
            shapes.add(shape)
            wrong = copy.deepcopy(body)
            at(wrong, path)["no_such_field"] = 1
            with pytest.raises(Violation) as caught:
                check(rule, wrong)
            assert caught.value.fault == "unknown"
            assert caught.value.path[-1] == "no_such_field"
            refused += 1
    assert tried > 60
    assert refused > 25


MEMORY = Memory(lambda: 0.0)
PROVIDERS: dict[str, tuple[Provider, str, str, tuple[tuple[str, str], ...]]] = {
    "openai": (
        OpenAI(MEMORY, ["sk-mock"]),
        "/v1/chat/completions",
        "gpt-4o",
        (("authorization", "Bearer sk-mock"),),
    ),
    "anthropic": (
        Anthropic(MEMORY, ["sk-mock"]),
        "/v1/messages",
        "claude-sonnet-5",
        (("x-api-key", "sk-mock"), ("anthropic-version", "2026-10-21")),
    ),
    "count_tokens": (
        Anthropic(MEMORY, ["sk-mock"]),
        "/v1/messages/count_tokens",
        "claude-sonnet-5",
        (("x-api-key", "sk-mock"), ("anthropic-version", "2026-10-21")),
    ),
}
USER = {"role": "user", "content": "call srvtoolu_1"}


@pytest.mark.parametrize("name", PROVIDERS)
def test_whatever_the_types_allow_is_answered_or_refused(name: str) -> None:
    """No well formed body, sensible or not, may make the mock itself fail."""
    provider, path, model, headers = PROVIDERS[name]
    headers = (*headers, ("content-type", "application/json"))
    least: dict[str, Any] = {"model": model, "messages": [USER]}
    if name == "anthropic":
        least["max_tokens"] = 900
    statuses: set[int] = set()
    tried: set[bytes] = set()
    seen: dict[tuple[str, int], Any] = {}
    for sample in samples(*TABLES[name]):
        for field in sample.keys() - {"model", "stream"}:
            value = sample[field]
            if (field, id(value)) in seen:
                continue
            seen[field, id(value)] = value
            if field == "messages":
                value = [USER, *value, USER]
            for more in ({}, {"stream": True}) if name != "count_tokens" else ({},):
                raw = msgspec.json.encode({**least, field: value, **more})
                if raw in tried:
                    continue
                tried.add(raw)
                answer = provider.respond(Request("POST", path, headers, raw))
                statuses.add(answer.status)
                if isinstance(answer, Stream):
                    assert len(list(answer.events)) > 2
    assert statuses == {200, 400}
    assert len(tried) > 60


@pytest.mark.parametrize("name", TABLES)
def test_a_missing_required_field_is_named(name: str) -> None:
    hint, rule = TABLES[name]
    _, required = fields_of(hint)
    body = next(samples(hint, rule))
    for field in required:
        with pytest.raises(Violation) as caught:
            check(rule, {k: v for k, v in body.items() if k != field})
        assert (caught.value.fault, caught.value.path) == ("missing", (field,))
