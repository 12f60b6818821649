"""The two spellings of a vector."""

from __future__ import annotations

import base64
import json
import struct

import msgspec
import pytest
from hypothesis import given, strategies as st

from extproc.embeddings import Packed
from extproc.errors import ProtocolViolation
from extproc.formats.embeddings.vectors import read, spell

FLOATS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False))


@given(FLOATS)
def test_numbers_survive_base64_and_back(numbers):
    raw = msgspec.Raw(json.dumps(numbers).encode())
    coded = spell(raw, "base64")
    packed = base64.b64decode(json.loads(bytes(coded)))
    assert packed == struct.pack(f"<{len(numbers)}f", *numbers)
    back = json.loads(bytes(spell(read(coded), "float")))
    assert back == numbers
    assert spell(read(coded), "base64") == coded


def test_numbers_pass_with_the_digits_that_they_came_with():
    raw = msgspec.Raw(b"[ 0.10, 1e-5,-0.0 ]")
    assert bytes(spell(read(raw), "float")) == b"[ 0.10, 1e-5,-0.0 ]"


@pytest.mark.parametrize("raw", [b'"%%%"', b'"AAAA=A"', b'"QQ"'])
def test_text_that_is_no_base64_is_the_providers_fault(raw):
    with pytest.raises(ProtocolViolation):
        read(msgspec.Raw(raw))


def test_a_cut_vector_is_the_providers_fault():
    with pytest.raises(ProtocolViolation, match="cut"):
        spell(Packed(b"12345"), "float")


@pytest.mark.parametrize("raw", [b"{}", b"[1e60]", b'["a"]', b"null"])
def test_what_is_no_vector_cannot_be_packed(raw):
    with pytest.raises(ProtocolViolation):
        spell(msgspec.Raw(raw), "base64")


@pytest.mark.parametrize("raw", [b"{}", b"null", b"1"])
def test_what_is_no_array_does_not_pass(raw):
    with pytest.raises(ProtocolViolation, match="not an array"):
        spell(msgspec.Raw(raw), "float")
