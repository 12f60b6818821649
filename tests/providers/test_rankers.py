"""Services without a chat: each does what it is for, and refuses the rest by name."""

from __future__ import annotations

import json

import pytest

from extproc.exchange import events
from extproc.exchange.commands import Respond, Route
from extproc.exchange.exchange import Exchange
from extproc.providers import PROVIDERS
from extproc.runtime import ModelSpec, Runtime, Snapshot
from tests.exchange.test_exchange import KEY, grant, headers, target

RUNTIME = Runtime.of(
    Snapshot(
        generation=1,
        grants=(grant("all", KEY),),
        models=tuple(
            ModelSpec(type_, (target(type_),)) for type_ in ("voyage", "jina", "tei")
        ),
    )
)


def ask(path, model, **fields):
    ex = Exchange(RUNTIME, id="gw-1", started=1.0, now=1.0)
    assert ex.receive(headers(path), 1.0) == []
    body = json.dumps({"model": model, **fields}).encode()
    return ex.receive(events.RequestBody(body, end=True), 1.0)[0]


@pytest.mark.parametrize(
    ("path", "model", "fields", "there", "sent"),
    [
        (
            "/v1/embeddings", "voyage", {"input": "a", "dimensions": 256}, "/v1/embeddings",
            {"model": "voyage", "input": ["a"], "output_dimension": 256},
        ),
        (
            "/v2/rerank", "voyage", {"query": "q", "documents": ["a"], "top_n": 1},
            "/v1/rerank",
            {"model": "voyage", "query": "q", "documents": ["a"], "top_k": 1},
        ),
        (
            "/v1/rerank", "jina", {"query": "q", "documents": ["a"], "truncation": True},
            "/v1/rerank",
            {"model": "jina", "query": "q", "documents": ["a"], "truncation": True},
        ),
        (
            "/v1/rerank", "tei", {"query": "q", "documents": ["a"], "top_n": 1},
            "/v1/rerank", {"query": "q", "texts": ["a"]},
        ),
        (
            "/v1/embeddings", "tei", {"input": "a"}, "/v1/v1/embeddings",
            {"model": "tei", "input": "a"},
        ),
    ],
)  # fmt: skip
def test_each_is_asked_in_its_own_words(path, model, fields, there, sent):
    route = ask(path, model, **fields)
    assert isinstance(route, Route), route
    (attempt,) = route.chain
    assert attempt.heading.path == there  # the tests' targets live under /v1
    assert json.loads(attempt.body) == sent


THEIRS = [
    (
        "/v1/embeddings", {"input": ["the sun", "the moon"]}, "/v1/embeddings",
        {
            "input": ["the sun", "the moon"], "model": "voyage", "input_type": None,
            "truncation": True, "output_dtype": None, "output_dimension": None,
            "encoding_format": "base64",
        },
    ),
    (
        "/v1/embeddings",
        {
            "input": ["the sun"], "dimensions": 256, "input_type": "query",
            "truncation": False,
        },
        "/v1/embeddings",
        {
            "input": ["the sun"], "model": "voyage", "input_type": "query",
            "truncation": False, "output_dtype": None, "output_dimension": 256,
            "encoding_format": "base64",
        },
    ),
    (
        "/v2/rerank", {"query": "sun", "documents": ["the sun", "the moon"], "top_n": 1},
        "/v1/rerank",
        {
            "query": "sun", "documents": ["the sun", "the moon"], "model": "voyage",
            "top_k": 1, "truncation": True,
        },
    ),
    (
        "/v2/rerank", {"query": "sun", "documents": ["the sun", "the moon"]},
        "/v1/rerank",
        {
            "query": "sun", "documents": ["the sun", "the moon"], "model": "voyage",
            "top_k": None, "truncation": True,
        },
    ),
]  # fmt: skip
"""What a client asks, and what voyageai 0.5.0 (PyPI) has sent a recorder for the same."""

UNSAID = {"truncation": True, "encoding_format": "base64"}
"""Voyage's default, and how the SDK has vectors sent, which ours takes as numbers."""


@pytest.mark.parametrize(("path", "fields", "there", "theirs"), THEIRS)
def test_voyage_is_asked_as_its_own_sdk_asks_it(path, fields, there, theirs):
    route = ask(path, "voyage", **fields)
    assert isinstance(route, Route), route
    (attempt,) = route.chain
    assert attempt.heading.path == there
    said = {
        name: value
        for name, value in theirs.items()
        if value is not None and UNSAID.get(name) != value
    }
    assert json.loads(attempt.body) == said
    headers = dict(attempt.heading.set_headers)
    assert headers.get("content-type", "application/json") == "application/json"
    voyage = PROVIDERS["voyage"]
    assert (voyage.credential_header, voyage.credential_prefix) == (
        "authorization", "Bearer ",
    )  # fmt: skip


@pytest.mark.parametrize("model", ["voyage", "jina", "tei"])
def test_none_of_them_chats(model):
    answer = ask(
        "/v1/chat/completions", model, messages=[{"role": "user", "content": "x"}]
    )
    assert isinstance(answer, Respond)
    assert answer.status == 400
    error = json.loads(answer.body)["error"]
    assert (error["code"], error["param"]) == ("unsupported_operation", "model")


def test_jina_is_not_asked_for_embeddings():
    assert isinstance(ask("/v1/embeddings", "jina", input="a"), Respond)
