"""Estimates: never below nothing, and the most is the most."""

from __future__ import annotations

import base64
import json
import os

from hypothesis import given, strategies as st

from extproc.local.mock.tokens import count_tree
from extproc.policy.estimate import answer_tokens, produced_tokens, prompt_tokens


def body(content):
    return json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": content}]}
    ).encode()


@given(st.text(max_size=2_000))
def test_the_most_is_no_less_than_what_is_expected_by_words(text):
    estimate = prompt_tokens(body(text))
    assert 0 < estimate.expected <= estimate.most


@given(st.lists(st.text("abcdefghij", min_size=1, max_size=9), max_size=300))
def test_words_are_never_more_than_the_most(words):
    said = body(" ".join(words))
    assert count_tree(json.loads(said)["messages"]) <= prompt_tokens(said).most


def test_english_is_estimated_within_a_half():
    said = body("The quick brown fox jumps over the lazy dog. " * 200)
    assert 1_800 < prompt_tokens(said).expected < 2_700


@given(st.lists(st.integers(0, 999), max_size=50))
def test_digits_and_the_spaces_before_them_may_be_a_token_each(numbers):
    text = " ".join(map(str, numbers))
    # One for up to three digits, and one for each space.
    assert prompt_tokens(text.encode()).most >= 2 * len(numbers) - 1


def test_other_scripts_may_have_a_token_a_byte():
    said = json.dumps({"content": "\u6f22\u5b57" * 500}, ensure_ascii=False).encode()
    assert prompt_tokens(said).most >= 3_000


def test_a_picture_is_not_its_base64():
    picture = base64.b64encode(os.urandom(60_000)).decode()
    inline = body(
        [
            {
                "type": "image_url",
                "image_url": {"url": f"data:image/png;base64,{picture}"},
            }
        ]
    )
    assert 1_500 < prompt_tokens(inline).expected < 5_000
    document = base64.b64encode(os.urandom(3_000_000)).decode()
    assert prompt_tokens(body(document)).expected > 90_000


def test_a_picture_elsewhere_counts_too():
    said = body([{"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}])
    assert prompt_tokens(said).expected > 1_500


def test_a_stream_has_a_token_a_frame_or_what_its_bytes_say():
    assert produced_tokens("openai_chat", 102, 102 * 250) == 100
    assert produced_tokens("anthropic", 12, 12 * 115 + 400) == 100
    assert produced_tokens("anything", 0, 0) == 0
    assert answer_tokens(500) == 100
