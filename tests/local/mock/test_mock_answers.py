"""What the mock's model says, its tokens, and the values it makes up for a schema."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from extproc.local.mock import tokens
from extproc.local.mock.answers import Answer, Ask, Finish, Tool, answer
from extproc.local.mock.anthropic.signing import (
    is_sealed,
    is_signed,
    sealed,
    signature_of,
)
from extproc.local.mock.rules import FreeObj, Int, Obj, Str, Violation, check
from extproc.local.mock.synthesis import value_for


@given(st.text())
def test_tokens_are_the_text_cut_in_pieces(text: str) -> None:
    pieces = tokens.tokens_of(text)
    assert "".join(pieces) == text
    assert tokens.count(text) == len(pieces)
    assert all(pieces)


def test_a_long_text_and_an_image_are_estimated() -> None:
    assert tokens.count("word " * 100_000) == 100_000
    image = {"type": "base64", "data": "A" * 1000}
    assert tokens.count_tree(image) == tokens.IMAGE_TOKENS
    for inline in ({"bytes": "A" * 1000}, {"mimeType": "a/b", "data": "A" * 1000}):
        assert tokens.count_tree(inline) == tokens.IMAGE_TOKENS
    assert tokens.count_tree("data:image/png;base64,AAAA") == tokens.IMAGE_TOKENS
    assert tokens.count_tree([1, None, {"one": "two three"}]) == 4


@given(
    st.text(max_size=60), st.integers(0, 40), st.lists(st.text(min_size=1), max_size=2)
)
def test_limits_hold_whatever_is_asked(text: str, limit: int, stops: list[str]) -> None:
    said = answer(Ask(text, max_tokens=limit, stops=tuple(stops)))
    whole = answer(Ask(text))
    assert "".join(said.pieces) == said.text or said.refusal
    if said.finish is Finish.LENGTH:
        assert said.output_tokens == limit
    if said.finish is Finish.STOP_SEQUENCE:
        assert said.stop_sequence in stops
        assert whole.text.startswith(said.text + (said.stop_sequence or ""))
    if not said.refusal:
        assert len(said.pieces) <= limit
        assert not any(stop in said.text for stop in stops)


def test_a_tool_call_that_does_not_fit_is_not_made() -> None:
    said = answer(Ask("text before clock", tools=(Tool("clock"),), max_tokens=1))
    assert said == Answer(
        text="Let", pieces=("Let",), finish=Finish.LENGTH, output_tokens=1
    )


@pytest.mark.parametrize(
    ("text", "called"),
    [
        ("use get_time and get", ["get_time", "get"]),
        ("GET it", ["get"]),
        ("get_times", []),
        ("target", []),
    ],
)
def test_only_whole_names_are_calls(text: str, called: list[str]) -> None:
    said = answer(Ask(text, tools=(Tool("get"), Tool("get_time"))))
    assert [call.tool.name for call in said.calls] == called


SCHEMAS: list[tuple[dict[str, Any], Any]] = [
    ({"type": "string"}, "n value"),
    ({"type": "string", "format": "date"}, "2025-01-31"),
    ({"type": "string", "minLength": 9, "maxLength": 9}, "n valuexx"),
    ({"type": "string", "maxLength": 3}, "n v"),
    ({"type": "integer"}, 1),
    ({"type": "integer", "minimum": 5}, 5),
    ({"type": "number", "exclusiveMinimum": 0.5}, 1.5),
    ({"type": "integer", "maximum": -2}, -2),
    ({"type": "boolean"}, True),
    ({"type": "null"}, None),
    ({"type": ["null", "integer"]}, 1),
    ({"enum": ["b", "a"]}, "b"),
    ({"const": 7}, 7),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [1, 1]),
    ({"properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]}, {"a": "a value"}),
    ({"type": "object"}, {}),
    ({"$ref": "#/$defs/x~1y", "$defs": {"x/y": {"type": "integer"}}}, 1),
    ({"$ref": "#/nowhere"}, "n value"),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "value"), SCHEMAS)
def test_a_schema_is_filled_in(schema: dict[str, Any], value: Any) -> None:
    assert value_for(schema, name="n") == value


def test_a_recursive_schema_ends() -> None:
    schema = {
        "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["next"]}},
        "$ref": "#/$defs/node",
    }  # fmt: skip
    assert "next" in value_for(schema)


@given(st.text(), st.text())
def test_a_signature_fits_its_own_thought_only(thought: str, other: str) -> None:
    assert is_signed(thought, signature_of(thought))
    assert is_signed(other, signature_of(thought)) == (other == thought)
    assert is_sealed(sealed(thought))
    assert not is_sealed(other)
    assert not is_sealed("A" + sealed(thought)[1:])


@pytest.mark.parametrize(
    ("rule", "value", "fault"),
    [
        (FreeObj(max=1), {"a": 1, "b": 2}, "too_long"),
        (FreeObj(key_max=1), {"ab": 1}, "too_long"),
        (FreeObj(Str()), {"a": 1}, "type"),
        (Int(), True, "type"),
        (Int(), 1.0, "type"),
        (Str(min=1), "", "too_short"),
        (Obj({"a!": Str()}), {"a": "", "a!": ""}, "unknown"),
    ],
)
def test_a_broken_rule_is_named(rule: Any, value: Any, fault: str) -> None:
    with pytest.raises(Violation) as caught:
        check(rule, value)
    assert caught.value.fault == fault
