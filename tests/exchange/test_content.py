"""What is said is heard where that is switched on, whole or in pieces, and never too much."""

from __future__ import annotations

import json

import pytest

from extproc.exchange import events
from extproc.exchange.commands import Complete
from extproc.exchange.content import WIDTH, Content, Spoken
from tests.exchange.test_account import ask, runtime
from tests.exchange.test_exchange import ANSWER, MESSAGE, answered
from tests.exchange.test_priced import PATHS, STREAMS, sse

ANSWERS = {"gpt": ANSWER, "claude": MESSAGE}
CALL = sse(
    {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Well"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "t1", "name": "look", "input": {}}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"a":'}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "1}"}},
    {"type": "content_block_stop", "index": 1},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
)  # fmt: skip


def on(size: int = 1000, **more):
    return runtime(content_size=size, **more)


def heard(commands) -> Content | None:
    [complete] = [one for one in commands if isinstance(one, Complete)]
    return complete.content


def whole(model, *, rt=None, path="/v1/chat/completions", **more):
    ex, _ = ask(rt or on(), model, path=path, **PATHS[path], **more)
    ex.receive(answered(), 1.0)
    raw = json.dumps(ANSWERS[model]).encode()
    return heard(ex.receive(events.ResponseBody(raw, end=True), 1.1))


def streamed(model, pieces, *, rt=None, path="/v1/chat/completions"):
    ex, _ = ask(rt or on(), model, path=path, stream=True, **PATHS[path])
    ex.receive(answered(kind="text/event-stream"), 1.0)
    for piece in pieces:
        ex.receive(events.ResponseBody(piece, end=False), 1.1)
    return heard(ex.receive(events.ResponseBody(b"", end=True), 1.2))


@pytest.mark.parametrize("model", ANSWERS)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_whole_answer_is_heard_translated_or_not(model, path):
    content = whole(model, path=path)
    assert content is not None
    assert content.id == "gw-1"
    assert json.loads(content.asked)["messages"] == [{"role": "user", "content": "Hi"}]
    assert content.asked_bytes == len(content.asked)
    assert content.spoken == (Spoken("text", "Hello"),)
    assert content.finishes == ((0, "stop"),)


@pytest.mark.parametrize("model", ANSWERS)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_stream_is_heard_however_it_is_cut(model, path):
    said = STREAMS[model]
    at_once = streamed(model, [said], path=path)
    assert at_once is not None
    assert at_once.finishes == ((0, "stop"),)
    assert [one.kind for one in at_once.spoken] == ["text"]
    bytewise = [said[i : i + 1] for i in range(len(said))]
    assert streamed(model, bytewise, path=path) == at_once


def test_thoughts_and_calls_are_heard():
    content = streamed("claude", [CALL])
    assert content is not None
    assert content.spoken == (
        Spoken("reasoning", "Well"),
        Spoken("tool_call", '{"a":1}', "t1", "look"),
    )
    assert content.finishes == ((0, "tool_calls"),)


@pytest.mark.parametrize(
    "rt",
    [on(0), on(grant={"private": True})],
    ids=["by default", "of a key that is private"],
)
def test_nothing_is_heard(rt):
    assert whole("gpt", rt=rt) is None
    assert streamed("gpt", [STREAMS["gpt"]], rt=rt) is None


def test_of_embeddings_nothing_is_heard():
    ex, _ = ask(on(), "gpt", path="/v1/embeddings", input="Hi")
    ex.receive(answered(), 1.0)
    assert heard(ex.receive(events.Closed(), 1.1)) is None


def test_no_more_is_held_than_is_wanted():
    long = "x" * 500
    content = streamed(
        "claude", [CALL.replace(b"Well", long.encode())], rt=on(300)
    )  # fmt: skip
    assert content is not None
    assert content.cut
    assert content.spoken == (Spoken("reasoning", "x" * 300),)
    assert content.finishes == ()
    assert content.weight == 300 + len(content.asked)

    content = whole("gpt", rt=on(300), user="y" * 300 * WIDTH)
    assert content is not None
    assert len(content.asked) == 300
    assert content.asked_bytes > 300 * WIDTH


def test_what_cannot_be_read_changes_nothing_for_the_client():
    """The rest passes, and of what was said that is kept which could be read."""
    first, broken = STREAMS["gpt"].split(b"\n\n", 1)[0], b"data: {]\n\n"
    content = streamed("gpt", [first + b"\n\n", broken])
    assert content is not None
    assert content.spoken == (Spoken("text", 'say "usage":{"a"'),)


def test_who_left_has_been_told_this_much():
    ex, _ = ask(on(), "gpt", stream=True)
    ex.receive(answered(kind="text/event-stream"), 1.0)
    ex.receive(events.ResponseBody(STREAMS["gpt"][:-200], end=False), 1.1)
    content = heard(ex.receive(events.Closed(), 1.2))
    assert content is not None
    assert content.spoken
