"""How long answers usually are."""

from __future__ import annotations

from extproc.policy import learned
from extproc.policy.books import Books
from extproc.policy.learned import Outputs


def test_little_is_nothing():
    outputs = Outputs()
    for _ in range(4):
        outputs.learn("k", "m", 10)
    assert outputs.expected("k", "m") is None
    outputs.learn("k", "m", 10)
    assert outputs.expected("k", "m") == 10
    assert outputs.expected("k", "other") is None


def test_it_is_the_95th_percentile_of_the_last():
    outputs = Outputs()
    for tokens in range(1, 101):
        outputs.learn("k", "m", tokens)
    # Of 37 to 100.
    assert outputs.expected("k", "m") == 97
    for _ in range(64):
        outputs.learn("k", "m", 5)
    assert outputs.expected("k", "m") == 5


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(learned, "PAIRS", 3)
    outputs = Books().outputs
    for key in "abcd":
        for _ in range(5):
            outputs.learn(key, "m", 1)
    assert [outputs.expected(key, "m") for key in "abcd"] == [None, 1, 1, 1]
