"""Legacy completions to servers that have them: the bytes pass, both ways."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st
from openai.types import Completion

from extproc.errors import TruncatedStream
from extproc.formats.openai_completions import CLIENT, PROVIDER
from extproc.framing.members import patch, read_members
from extproc.framing.sse import SSEDecoder
from extproc.local.mock.openai.api import OpenAI
from extproc.local.mock.reply import Reply, Request, Stream
from extproc.local.mock.state import Memory
from extproc.providers import PROVIDERS

INSTRUCT = "gpt-3.5-turbo-instruct"
ASKED: dict[str, Any] = {
    "model": INSTRUCT, "prompt": ["one", "two"], "suffix": None, "echo": True,
    "logprobs": 2, "max_tokens": 20, "n": 2, "best_of": 2, "seed": 7,
}  # fmt: skip
HEADERS = (("authorization", "Bearer sk-mock"), ("content-type", "application/json"))


def ask(body: bytes) -> Reply | Stream:
    mock = OpenAI(Memory(lambda: 1.7e9), ("sk-mock",))
    return mock.respond(Request("POST", "/v1/completions", HEADERS, body))


@pytest.mark.parametrize(
    ("type_", "model", "path"),
    [
        ("openai", INSTRUCT, "/completions"),
        ("openai", "davinci-002", "/completions"),
        ("openai", "gpt-4o", "/chat/completions"),
        ("vllm", "llama-3", "/completions"),
        ("ollama", "llama-3", "/completions"),
        ("anthropic", "claude-sonnet-4-5", "/messages"),
    ],
)
def test_who_has_completions_is_asked_for_them(type_, model, path):
    dialect = PROVIDERS[type_].dialect(CLIENT.name, CLIENT.operation, model)
    assert dialect is not None
    assert dialect.path == path
    assert (dialect.format is PROVIDER) == (path == "/completions")


def test_usage_is_asked_for_and_taken_out_again():
    body = msgspec.json.encode({**ASKED, "best_of": 1, "n": 1, "stream": True})
    members = read_members(body)
    changes = PROVIDER.usage_request(members)
    assert json.loads(changes["stream_options"]) == {"include_usage": True}
    stream = ask(patch(body, members, changes))
    assert isinstance(stream, Stream)
    raw = b"".join(b"data: " + event.payload + b"\n\n" for event in stream.events)
    silent = b"".join(part + b"\n\n" for part in raw.split(b"\n\n") if part and b'"choices":[]' not in part)  # fmt: skip
    for size in (len(raw), 1):
        passage = PROVIDER.passage(False)
        reads = [raw[at : at + size] for at in range(0, len(raw), size)]
        out = b"".join(passage.feed(read) for read in reads) + passage.close()
        assert out == silent
        assert passage.usage is not None
        assert passage.usage.output_tokens > 0
        assert passage.model == INSTRUCT
    for frame in SSEDecoder().feed(raw):
        if frame.data != b"[DONE]":
            chunk = json.loads(frame.data)
            for choice in chunk["choices"]:
                # The SDK's type is of whole answers too, which always have a reason.
                choice["finish_reason"] = choice["finish_reason"] or "stop"
            Completion.model_validate(chunk, strict=True)


@given(cuts=st.lists(st.integers(0, 5000)))
def test_no_split_changes_what_passes(cuts):
    stream = ask(msgspec.json.encode({**ASKED, "best_of": 1, "n": 1, "stream": True}))
    assert isinstance(stream, Stream)
    raw = b"".join(b"data: " + event.payload + b"\n\n" for event in stream.events)
    bounds = [0, *sorted(cut % len(raw) for cut in cuts), len(raw)]
    passage = PROVIDER.passage(False)
    out = [passage.feed(raw[a:b]) for a, b in itertools.pairwise(bounds)]
    assert b"".join(out) + passage.close() == raw
    short = PROVIDER.passage(False)
    short.feed(raw[: raw.index(b'"finish_reason":"') - 1])
    with pytest.raises(TruncatedStream):
        short.close()


def test_a_whole_answer_tells_its_usage():
    reply = ask(msgspec.json.encode(ASKED))
    assert isinstance(reply, Reply)
    assert reply.status == 200, reply.body
    said = Completion.model_validate_json(reply.body, strict=True)
    assert [choice.text[:3] for choice in said.choices] == ["one", "one", "two", "two"]
    seen = PROVIDER.overview(reply.body)
    assert (seen.model, seen.finish) == (INSTRUCT, said.choices[0].finish_reason)
    assert seen.usage is not None
    assert said.usage is not None
    assert seen.usage.total_tokens == said.usage.total_tokens


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({"model": "gpt-4o"}, 404),
        ({"prompt": []}, 400),
        ({"best_of": 1}, 400),
        ({"logprobs": 6}, 400),
        ({"stream_options": {"include_usage": True}}, 400),
        ({"messages": []}, 400),
        ({"model": "nobody"}, 404),
    ],
)
def test_the_mock_refuses_what_openai_refuses(members, status):
    reply = ask(msgspec.json.encode({**ASKED, **members}))
    assert isinstance(reply, Reply)
    assert reply.status == status
    assert PROVIDER.read_error(reply.status, reply.body).status == status


def test_nobody_is_translated_to_completions():
    with pytest.raises(Exception, match="completion"):
        PROVIDER.write_request(None, "m", 1)
    assert CLIENT.name == PROVIDER.name
