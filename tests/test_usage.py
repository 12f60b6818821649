"""What may be a count, and what of a provider's words is none."""

from __future__ import annotations

import pytest

from extproc.usage import MOST_COUNTED, Usage, believed, counted


@pytest.mark.parametrize("count", [-1, MOST_COUNTED + 1, 1 << 63, 10**30])
@pytest.mark.parametrize("name", Usage.__struct_fields__)
def test_a_count_that_cannot_be_is_nobodys(name, count):
    assert believed(Usage(**{name: count})) is None
    assert believed(Usage(**{name: MOST_COUNTED})) == Usage(**{name: MOST_COUNTED})


def test_what_was_not_said_is_not_believed_either():
    assert believed(None) is None


@pytest.mark.parametrize(
    ("header", "tokens"),
    [
        ("7", 7),
        ("", None),
        ("-7", None),
        ("7.5", None),
        ("²", None),
        ("9" * 5_000, None),
    ],
)
def test_a_header_counts_where_it_is_a_number(header, tokens):
    said = counted(header)
    assert (said and said.input_tokens) == tokens
