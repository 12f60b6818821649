"""Where an object ends that comes in pieces."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, strategies as st

from extproc.formats.openai_chat.wholeness import Wholeness

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='a"\\{}[]é\n '),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet='"\\{}a'), inner),
    max_leaves=8,
)


def seen(*pieces: str) -> bool:
    wholeness = Wholeness()
    for piece in pieces:
        wholeness.feed(piece)
    return bool(wholeness)


@given(st.dictionaries(st.text(), JSON), st.sampled_from([None, 1]), st.booleans())
def test_an_object_is_whole_at_its_last_bracket_and_no_sooner(
    value, indent, ascii_only
):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    wholeness = Wholeness()
    for end, piece in enumerate(text, 1):
        assert not wholeness
        wholeness.feed(piece)
        assert bool(wholeness) == seen(text[:end])
    assert wholeness
    assert seen(f" {text}\n")


@given(st.dictionaries(st.text(), JSON), st.lists(st.integers(0, 200)))
def test_no_split_changes_what_is_seen(value, cuts):
    text = json.dumps(value)
    at = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    pieces = [text[i:j] for i, j in itertools.pairwise(at)]
    assert seen(*pieces)


@pytest.mark.parametrize(
    "text",
    ["", " ", "null", "[]", '"{}"', "{", '{"a":"}', '{"a":"\\', "{}{}", "{} x", "x{}", "[{}]"],
)  # fmt: skip
def test_what_is_no_whole_object(text):
    assert not seen(text)
    assert not seen(*text)
