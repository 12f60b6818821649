"""Bytes of UTF-8 as characters, without the text."""

from __future__ import annotations

import sys

from hypothesis import given, settings, strategies as st

from extproc.formats.gemini.ruler import MOST_BITS, Ruler

PIECES = st.lists(st.text(max_size=40) | st.just("日本" * 900), max_size=12)


@settings(max_examples=150, deadline=None)
@given(PIECES, st.floats(0, 1))
def test_every_place_is_told_in_characters(pieces, where):
    ruler = Ruler()
    for piece in pieces:
        ruler.feed(piece)
    text = "".join(pieces)
    place = int(where * len(text))
    encoded = len(text[:place].encode("utf-8", "surrogatepass"))
    assert ruler.characters(encoded) == place


def test_a_place_outside_is_none():
    ruler = Ruler()
    ruler.feed("aé")
    assert [ruler.characters(at) for at in (-1, 3, 4)] == [None, 2, None]


def test_it_stays_small_and_says_what_it_does_not_know():
    ruler = Ruler()
    for _ in range(100_000):
        ruler.feed("語語語")
    held = sum(map(sys.getsizeof, (ruler._packed, ruler._recent)))
    assert held < 20_000
    assert ruler.characters(3 * 7000) == 7000
    assert ruler.characters(2 * MOST_BITS) is None
