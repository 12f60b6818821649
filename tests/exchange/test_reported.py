"""What a response's headers say of what was left out."""

from __future__ import annotations

from extproc.exchange.reported import MOST_REPORTED, reported


def test_a_report_is_a_list():
    assert reported(("a", "b.c[0]")) == "a, b.c[0]"


def test_nothing_of_a_client_breaks_out_of_the_header():
    assert reported(("s.a\r\nset-cookie: x", "é")) == "s.a??set-cookie: x, ?"


def test_a_long_report_is_cut_and_counted():
    text = reported(tuple(f"messages[{i}].name" for i in range(10_000)))
    assert len(text) <= MOST_REPORTED + 20
    assert text.endswith(" more")
