"""Schemas in the part of JSON schema that a model's API reads."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from anthropic import transform_schema
from hypothesis import given, settings, strategies as st

from extproc import canonical as c
from extproc.formats.base import Unsupported
from extproc.formats.gemini.schema import convert
from extproc.formats.json_schema import ANTHROPIC, GEMINI, closes, is_strict, narrow
from extproc.local.mock.anthropic.schemas import check_schema
from tests.formats.relay import PLACES

Json = dict[str, Any]


def raw(schema: object) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(schema).encode())


def narrowed(schema: object, subset: Any = ANTHROPIC) -> tuple[Json, list[str]]:
    dropped: list[str] = []
    made = narrow(raw(schema), subset, "s", dropped.append)
    return json.loads(bytes(made)), dropped


CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}  # fmt: skip


def test_a_schema_that_fits_is_sent_as_it_was_written():
    said = raw(CLOSED)
    assert narrow(said, ANTHROPIC, "s", print) is said


@pytest.mark.parametrize(
    ("subset", "said", "made", "dropped"),
    [
        (ANTHROPIC, {"type": "integer", "minimum": 1}, {"type": "integer", "description": "{minimum: 1}"}, ["s.minimum"]),
        (ANTHROPIC, {"type": "string", "description": "x", "maxLength": 2}, {"type": "string", "description": "x\n\n{maxLength: 2}"}, ["s.maxLength"]),
        (ANTHROPIC, {"type": "object"}, {"type": "object", "properties": {}, "additionalProperties": False}, []),
        (ANTHROPIC, {"$schema": "x", "oneOf": [{"type": "null"}]}, {"anyOf": [{"type": "null"}]}, []),
        (ANTHROPIC, {"type": "string", "pattern": "^a+$", "format": "uuid"}, {"type": "string", "pattern": "^a+$", "format": "uuid"}, []),
        (ANTHROPIC, {"type": "string", "pattern": "(?=a)"}, {"type": "string", "description": '{pattern: "(?=a)"}'}, ["s.pattern"]),
        (ANTHROPIC, {"const": 1}, {"const": 1}, []),
        (GEMINI, {"const": 1}, {"enum": [1]}, []),
        (GEMINI, {"const": True}, {"description": "{const: true}"}, ["s.const"]),
        (GEMINI, {"type": "integer", "minimum": 1, "multipleOf": 2}, {"type": "integer", "minimum": 1, "description": "{multipleOf: 2}"}, ["s.multipleOf"]),
        (GEMINI, {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}}, {"type": "object", "additionalProperties": {"type": "string", "description": "{minLength: 1}"}}, ["s.additionalProperties.minLength"]),
    ],
)  # fmt: skip
def test_what_has_no_word_is_left_out_told_in_the_description_and_reported(
    subset, said, made, dropped
):
    assert narrowed(said, subset) == (made, dropped)


LEAVES = st.one_of(
    st.fixed_dictionaries({"type": st.just("string")}, optional={"minLength": st.just(1), "format": st.sampled_from(["date", "regex"]), "pattern": st.sampled_from(["^a$", "(?!a)"])}),
    st.fixed_dictionaries({"type": st.sampled_from(["integer", "number"])}, optional={"minimum": st.integers(0, 3), "multipleOf": st.just(2)}),
    st.fixed_dictionaries({"enum": st.lists(st.sampled_from(["a", 1, None]), min_size=1, max_size=3)}),
    st.just({"type": "boolean"}),
)  # fmt: skip


def _inner(below: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    named = st.dictionaries(st.sampled_from(["a", "b", "c"]), below, min_size=1, max_size=3)  # fmt: skip
    return st.one_of(
        st.fixed_dictionaries({"type": st.just("object"), "properties": named}, optional={"required": st.just(["a"]), "maxProperties": st.just(3), "additionalProperties": st.booleans()}),
        st.fixed_dictionaries({"type": st.just("array"), "items": below}, optional={"minItems": st.integers(0, 3), "uniqueItems": st.just(True)}),
        st.fixed_dictionaries({"anyOf": st.lists(below, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"oneOf": st.lists(below, min_size=1, max_size=2)}),
    )  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(st.recursive(LEAVES, _inner, max_leaves=8))
def test_any_schema_becomes_one_that_the_api_takes(schema):
    made, _ = narrowed(schema)
    check_schema(made, "s")
    again, dropped = narrowed(made)
    assert (again, dropped) == (made, [])


def bare(schema: object) -> object:
    """Return a schema without its descriptions, which are put in other words."""
    if isinstance(schema, dict):
        return {k: bare(v) for k, v in schema.items() if k != "description"}
    return [bare(one) for one in schema] if isinstance(schema, list) else schema


@pytest.mark.parametrize(
    "schema",
    [
        CLOSED,
        {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}, "l": {"type": "array", "items": {"type": "string"}, "minItems": 3}}},
        {"$defs": {"D": {"type": "string", "minLength": 1}}, "$ref": "#/$defs/D"},
        {"type": "object", "properties": {"a": {"oneOf": [{"type": "string", "format": "regex"}, {"type": "null"}]}}},
    ],
)  # fmt: skip
def test_it_is_the_schema_that_anthropics_sdk_makes(schema):
    assert bare(narrowed(schema)[0]) == bare(transform_schema(schema))


@pytest.mark.parametrize(
    ("schema", "can"),
    [
        (CLOSED, True),
        ({"type": "string"}, True),
        ({"type": "object", "properties": {}}, True),
        ({"type": "object"}, False),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, False),
        ({"type": "array", "items": {"type": "object", "additionalProperties": True}}, False),
        ({"$defs": {"N": {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}}}, "$ref": "#/$defs/N"}, False),
        ({"$ref": "https://x.test/s"}, False),
        ({"type": "object", "properties": {"me": {"$ref": "#"}}}, False),
    ],
)  # fmt: skip
def test_objects_are_closed_only_where_that_means_the_same(schema, can):
    assert closes(raw(schema)) == can


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True),
        ({**CLOSED, "required": []}, False),
        ({**CLOSED, "additionalProperties": True}, False),
        ({"type": "array", "items": {"type": "object", "properties": {}}}, False),
    ],
)
@pytest.mark.parametrize("provider", ["openai_chat", "openai_responses"])
def test_openai_is_strict_only_about_a_schema_that_is_made_for_it(
    schema, strict, provider
):
    assert is_strict(raw(schema)) == strict
    request = c.Request(
        model="m",
        messages=(c.Message("user", (c.Text("a"),), where="messages[0]"),),
        output_format=c.OutputFormat("json_schema", schema=raw(schema), strict=True),
        names={"output_format": "output_config.format"},
    )
    rendered = PLACES[provider].format.write_request(request, "gpt-4o", 99)
    said = json.loads(rendered.body)
    shape = said.get("text", {}).get("format") or said["response_format"]["json_schema"]
    assert shape["strict"] is strict
    assert rendered.dropped == (() if strict else ("output_config.format.strict",))


def doubling(levels: int) -> dict[str, Any]:
    """A schema of a few KB that refers to its last part 2**levels times."""
    both = [
        {"properties": {side: {"$ref": f"#/$defs/d{n + 1}"} for side in "ab"}}
        for n in range(levels)
    ]
    defs = {f"d{n}": {"type": "object", **one} for n, one in enumerate(both)}
    defs[f"d{levels}"] = {"type": "string"}
    return {
        "type": "object",
        "$defs": defs,
        "properties": {"a": {"$ref": "#/$defs/d0"}},
    }


ODD: tuple[object, ...] = (
    0.5,
    -1,
    True,
    None,
    "s",
    [],
    [[1]],
    [None],
    [{}],
    {},
    {"a": None},
    {"a": []},
)
WORDS = sorted(ANTHROPIC.words | GEMINI.words | {"nullable", "multipleOf", "not"})


@pytest.mark.parametrize("word", WORDS)
def test_a_schema_may_say_anything_and_only_a_provider_minds(word):
    for said in ODD:
        inner = {**CLOSED, word: said}
        around = {"type": "object", "properties": {"x": inner}, "required": ["x"], "additionalProperties": False}  # fmt: skip
        for schema in (inner, around, {"type": "array", "items": inner}):
            assert is_strict(raw(schema)) in {True, False}
            assert closes(raw(schema)) in {True, False}
            for subset in (ANTHROPIC, GEMINI):
                assert narrowed(schema, subset)[0]


def test_references_are_followed_once_each():
    """Else this takes longer than the universe has."""
    assert closes(raw(doubling(60)))


def test_references_are_not_written_out_without_an_end():
    left_out: dict[str, None] = {}
    whole = json.loads(bytes(convert(raw(doubling(8)), "x", left_out.setdefault)))
    assert whole["properties"]["a"]["properties"]["b"]
    with pytest.raises(Unsupported, match="too large") as refused:
        convert(raw(doubling(60)), "x", left_out.setdefault)
    assert refused.value.param is not None
    assert refused.value.param.startswith("x.properties.a")
