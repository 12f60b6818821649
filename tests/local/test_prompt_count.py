"""The tokens of a prompt: OpenAI's own number, or the estimate and why."""

from __future__ import annotations

import json
import sys

import bpe_openai
import pytest
from hypothesis import given, settings, strategies as st

from extproc.local import prompt_count
from extproc.local.prompt_count import PromptCount, count, said
from extproc.policy.estimate import prompt_tokens

CHAT = "/v1/chat/completions"

# Of https://developers.openai.com/cookbook/examples/how_to_count_tokens_with_tiktoken,
# which prints beside each of its counts what the API said: the same.
JARGON = [
    ("system", None, "You are a helpful, pattern-following assistant that translates corporate jargon into plain English."),
    ("system", "example_user", "New synergies will help drive top-line growth."),
    ("system", "example_assistant", "Things working well together will increase revenue."),
    ("system", "example_user", "Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage."),
    ("system", "example_assistant", "Let's talk later when we're less busy about how to do better."),
    ("user", None, "This late pivot means we don't have time to boil the ocean for the client deliverable."),
]  # fmt: skip
MESSAGES = [
    {"role": role, "content": text, **({"name": name} if name else {})}
    for role, name, text in JARGON
]
HI = {"role": "user", "content": "Hi"}
PICTURE = {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}
TOOL = {"type": "function", "function": {"name": "clock", "parameters": {}}}


def counted(body, path=CHAT, provider="openai"):
    return count(provider, path, json.dumps(body).encode())


def chat(*messages, model="gpt-4o", **more):
    return {"model": model, "messages": list(messages), **more}


@pytest.mark.parametrize(
    ("model", "tokens", "encoding"),
    [
        ("gpt-3.5-turbo", 129, "cl100k_base"),
        ("gpt-4-0613", 129, "cl100k_base"),
        ("gpt-4", 129, "cl100k_base"),
        ("gpt-4o", 124, "o200k_base"),
        ("gpt-4o-mini", 124, "o200k_base"),
        ("ft:gpt-4o-mini-2024-07-18:acme::id", 124, "o200k_base"),
    ],
)
def test_openais_published_example_has_what_its_api_said(model, tokens, encoding):
    assert counted(chat(*MESSAGES, model=model)) == PromptCount(tokens, encoding)


def test_a_chat_is_its_texts_and_what_stands_around_them():
    encode = bpe_openai.get_encoding("o200k_base").encode_ordinary

    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.text(max_size=40), min_size=1, max_size=4), st.booleans())
    def holds(texts, named):
        name = {"name": "ann"} if named else {}
        sent = [{"role": "user", "content": text, **name} for text in texts]
        around = 3 + len(encode("user")) + (1 + len(encode("ann"))) * named
        tokens = 3 + sum(around + len(encode(text)) for text in texts)
        assert counted(chat(*sent)) == PromptCount(tokens, "o200k_base")

    holds()


def test_a_special_tokens_name_is_text_like_any_other():
    encode = bpe_openai.get_encoding("o200k_base").encode_ordinary
    text = "<|endoftext|>"
    found = counted(chat({"role": "user", "content": text}))
    assert found.tokens == 7 + len(encode(text)) > 8


@pytest.mark.parametrize(
    "more",
    [
        {"max_tokens": 9, "temperature": 0, "stream": True, "tools": None},
        {"response_format": {"type": "text"}},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]},
    ],
)
def test_what_the_model_is_not_told_changes_nothing(more):
    assert counted({**chat(HI), **more}) == counted(chat(HI))
    assert counted(chat(HI)) == PromptCount(8, "o200k_base")


def test_text_that_is_sent_as_it_is_has_nothing_around_it():
    encode = bpe_openai.get_encoding("cl100k_base").encode_ordinary
    asked = {"model": "gpt-3.5-turbo-instruct", "prompt": "Say this"}
    assert counted(asked, "/v1/completions") == PromptCount(
        len(encode("Say this")), "cl100k_base"
    )
    several = {"model": "text-embedding-3-small", "input": ["tiktoken is great!", "a"]}
    # The first has 6 in OpenAI's cookbook.
    assert counted(several, "/v1/embeddings") == PromptCount(7, "cl100k_base")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (chat(HI, tools=[TOOL]), "tools in the request"),
        (chat(HI, functions=[], function_call="auto"),
         "function_call, functions in the request"),
        (chat(HI, response_format={"type": "json_object"}),
         "response_format in the request"),
        (chat({"role": "user", "content": [PICTURE]}), "a message that is not one text"),
        (chat({"role": "user", "content": [{"type": "text", "text": "a"}] * 2}),
         "a message that is not one text"),
        (chat({"role": "assistant", "content": None, "tool_calls": [{}]}),
         "tool_calls in a message"),
        (chat({"role": "tool", "content": "12"}), "a message of role tool"),
        (chat("Hi"), "a message is no object"),
        (chat(HI, messages="Hi"), "the request has no messages"),
        (chat(HI, model="gpt-5"), "OpenAI has not published how gpt-5 is told a prompt"),
        (chat(HI, model="gpt-4o-audio-preview"),
         "OpenAI has not published how gpt-4o-audio-preview is told a prompt"),
        (chat({"role": "user", "content": "a " * 500_000}),
         "a text is too long for bpe-openai"),
    ],
)  # fmt: skip
def test_elsewhere_it_is_the_estimate_and_says_why(body, why):
    estimate = prompt_tokens(json.dumps(body).encode()).expected
    assert counted(body) == PromptCount(estimate, why=why)


@pytest.mark.parametrize(
    ("provider", "path", "body", "why"),
    [
        ("anthropic", "/v1/messages", chat(HI), "only OpenAI's tokenizers are public"),
        ("openai", "/v1/responses", {"model": "gpt-4o", "input": "Hi"},
         "OpenAI has published it of chats, completions and embeddings alone"),
        ("openai", "/v1/completions",
         {"model": "davinci-002", "prompt": "a", "suffix": "b"},
         "suffix in the request"),
        ("openai", "/v1/embeddings", {"model": "text-embedding-3-large", "input": [1]},
         "what is asked is not text"),
    ],
)  # fmt: skip
def test_another_provider_or_api_has_the_estimate(provider, path, body, why):
    found = counted(body, path, provider)
    assert (found.encoding, found.why) == (None, why)
    assert said(found) == f"about {found.tokens} tokens in, an estimate: {why}"


def test_without_bpe_openai_it_is_the_estimate_and_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "bpe_openai", None)
    prompt_count._loaded.cache_clear()
    assert said(counted(chat(HI))).endswith(
        "an estimate: bpe-openai is not installed (pip install 'extproc[counting]')"
    )
    monkeypatch.undo()
    assert said(counted(chat(HI))) == "8 tokens in, exactly (o200k_base)"
