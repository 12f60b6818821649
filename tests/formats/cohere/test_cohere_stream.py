"""Cohere's answers, whole and streamed: every event in every state, every finish reason."""

from __future__ import annotations

import itertools
import json
from typing import Any, get_args

import pytest
from cohere.types.chat_finish_reason import ChatFinishReason
from cohere.v2.types import V2ChatStreamResponse
from hypothesis import given, strategies as st

from extproc import canonical
from extproc.errors import ProtocolViolation, TruncatedStream, UpstreamError
from extproc.formats.base import State
from extproc.formats.cohere import PROVIDER, wire
from extproc.formats.cohere.answer import FAILED, FINISH
from extproc.formats.cohere.stream import EventStream
from extproc.framing.sse import SSEDecoder
from extproc.usage import Usage

Json = dict[str, Any]
BILLED = {"billed_units": {"input_tokens": 5.0, "output_tokens": 2.0}}
COUNTED = {"tokens": {"input_tokens": 70.0, "output_tokens": 4.0}}


def content(index: int, kind: str, *pieces: str) -> list[Json]:
    def piece(text: str) -> Json:
        return {"message": {"content": {"type": kind, kind: text}}}

    return [
        {"type": "content-start", "index": index, "delta": piece("")},
        *({"type": "content-delta", "index": index, "delta": piece(p)} for p in pieces),
        {"type": "content-end", "index": index},
    ]


def call(index: int, name: str, *pieces: str) -> list[Json]:
    def said(**function: str) -> Json:
        calls = {"id": f"{name}_1", "type": "function", "function": function}
        return {"message": {"tool_calls": calls}}

    return [
        {
            "type": "tool-call-start",
            "index": index,
            "delta": said(name=name, arguments=""),
        },
        *(
            {"type": "tool-call-delta", "index": index, "delta": said(arguments=p)}
            for p in pieces
        ),
        {"type": "tool-call-end", "index": index},
    ]


def plan(text: str) -> Json:
    return {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": text}}}


START: Json = {
    "type": "message-start",
    "id": "m1",
    "delta": {"message": {"role": "assistant"}},
}
CITED: list[Json] = [
    {"type": "citation-start", "index": 0},
    {"type": "citation-end", "index": 0},
]


def end(reason: str = "COMPLETE", **more: Any) -> Json:
    return {"type": "message-end", "delta": {"finish_reason": reason, **more}}


FULL = [
    START,
    *content(0, "thinking", "hm"),
    plan("I "), plan("look."),
    *call(0, "f", '{"a"', ":1}"),
    *call(1, "g"),
    {"type": "debug", "prompt": "…"},
    end("TOOL_CALL", usage={**BILLED, **COUNTED, "cached_tokens": 3.0}),
]  # fmt: skip

MEANS = [
    canonical.Started("m1", ""),
    canonical.PartStarted(0, "reasoning"),
    canonical.Delta(0, "hm"),
    canonical.PartEnded(0),
    canonical.PartStarted(1, "text"),
    canonical.Delta(1, "I "),
    canonical.Delta(1, "look."),
    canonical.PartEnded(1),
    canonical.PartStarted(2, "tool_call", "f_1", "f"),
    canonical.Delta(2, '{"a"'),
    canonical.Delta(2, ":1}"),
    canonical.PartEnded(2),
    canonical.PartStarted(3, "tool_call", "g_1", "g"),
    canonical.Delta(3, "{}"),
    canonical.PartEnded(3),
    canonical.Finished("tool_calls"),
    canonical.Reported(Usage(5, 2, cache_read_input_tokens=3)),
    canonical.Ended(),
]


def framed(events: list[Json]) -> bytes:
    return b"".join(
        b"event: %s\ndata: %s\n\n" % (e["type"].encode(), json.dumps(e).encode())
        for e in events
    )


def read(pieces: list[bytes]) -> list[canonical.Event]:
    reader, frames = EventStream(), SSEDecoder()
    out = [e for p in pieces for f in frames.feed(p) for e in reader.feed(f)]
    out += [e for f in frames.close() for e in reader.feed(f)]
    return out + reader.close()


def test_a_stream_means_what_it_says_at_any_split():
    data = framed(FULL)
    assert read([data]) == MEANS
    assert read([data[i : i + 1] for i in range(len(data))]) == MEANS
    assert read([data.replace(b"\n", b"\r\n")]) == MEANS


@given(st.lists(st.integers(0, len(framed(FULL))), max_size=6))
def test_nor_do_random_cuts_change_it(cuts):
    data, edges = framed(FULL), sorted({0, *cuts, len(framed(FULL))})
    assert read([data[a:b] for a, b in itertools.pairwise(edges)]) == MEANS


@pytest.mark.parametrize("kept", range(len(FULL) - 1))
def test_every_truncation_is_noticed(kept):
    with pytest.raises(TruncatedStream):
        read([framed(FULL[:kept])])


def test_the_events_are_those_of_the_sdk():
    union, _ = get_args(V2ChatStreamResponse)
    known = {one.model_fields["type"].default for one in get_args(union)}
    assert known == wire.NAMES


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("kind", sorted(wire.NAMES))
def test_an_event_out_of_turn_is_a_violation_that_names_both(state, kind):
    reader = EventStream()
    reader.state = state
    (frame,) = SSEDecoder().feed(framed([{"type": kind}]))
    event = reader.parse(frame)
    allowed = (state, type(event)) in EventStream.NEXT
    if allowed:
        # In its turn, but of a block that nobody began.
        try:
            reader.feed(frame)
        except ProtocolViolation as wrong:
            assert "open" in str(wrong) or "name" in str(wrong)  # noqa: PT017
        return
    with pytest.raises(ProtocolViolation, match=f"{type(event).__name__} while"):
        reader.feed(frame)


WRONG: dict[str, list[Json]] = {
    "a block twice": [START, content(0, "text")[0], content(0, "text")[0]],
    "a call twice": [START, call(0, "f")[0], call(0, "f")[0]],
    "a call without a name": [START, {"type": "tool-call-start", "index": 0}],
    "an end in a block": [START, content(0, "text")[0], end()],
    "an end in a call": [START, call(0, "f")[0], end()],
    "a delta of nothing": [START, content(0, "text", "a")[1]],
}


@pytest.mark.parametrize("name", WRONG)
def test_what_may_not_be_is_a_violation(name):
    with pytest.raises(ProtocolViolation):
        read([framed(WRONG[name])])


def test_what_is_unknown_is_counted_and_ignored():
    reader = EventStream()
    odd: list[Json] = [{"type": "tool-plan-end"}, *CITED]
    for frame in SSEDecoder().feed(framed([START, *odd]) + b"data: [DONE]\n\n"):
        reader.feed(frame)
    assert (reader.unknown, reader.skipped) == (2, 2)


def test_the_finish_reasons_are_total():
    literal, _ = get_args(ChatFinishReason)
    assert {*FINISH, *FAILED} == set(get_args(literal))


@pytest.mark.parametrize("reason", [*FINISH, "WHATEVER"])
def test_a_finish_reason_ends_answers_and_streams_alike(reason):
    events = read([framed([START, *content(0, "text", "a"), end(reason)])])
    (finished,) = [e for e in events if isinstance(e, canonical.Finished)]
    (choice,) = whole({"content": [{"type": "text", "text": "a"}]}, reason).choices
    assert finished.finish == choice.finish == FINISH.get(reason, "stop")


@pytest.mark.parametrize(("reason", "status"), [("ERROR", 502), ("TIMEOUT", 504)])
def test_a_failure_is_never_an_end(reason, status):
    events = read([framed([START, end(reason, error="out of memory")])])
    assert isinstance(events[-1], canonical.Failed)
    assert events[-1].error.status == status
    assert events[-1].error.message == "out of memory"
    with pytest.raises(UpstreamError) as failed:
        whole({"content": []}, reason)
    assert failed.value.status == status


def whole(message: Json, reason: str = "COMPLETE", **more: Any) -> canonical.Answer:
    body = {"id": "m1", "finish_reason": reason, "message": message, **more}
    return PROVIDER.read_answer(json.dumps(body).encode())


def test_a_whole_answer_has_the_parts_of_the_streamed_one():
    function = [
        {"id": "f_1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "g_1", "type": "function", "function": {"name": "g", "arguments": ""}},
    ]
    message = {
        "content": [{"type": "thinking", "thinking": "hm"}],
        "tool_plan": "I look.",
        "tool_calls": function,
    }
    (choice,) = whole(message, "TOOL_CALL").choices
    assert choice.parts == (
        canonical.Reasoning("hm"),
        canonical.Text("I look."),
        canonical.ToolCall("f_1", "f", "{}"),
        canonical.ToolCall("g_1", "g", "{}"),
    )


def test_citations_stay_with_their_text():
    citation = {"start": 0, "end": 1, "text": "a", "sources": []}
    said = {"content": [{"type": "text", "text": "a"}], "citations": [citation]}
    (choice,) = whole(said).choices
    (text,) = choice.parts
    assert isinstance(text, canonical.Text)
    assert text.citations == (canonical.Citation(start=0, end=1),)


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ({**BILLED, **COUNTED}, Usage(5, 2)),
        (COUNTED, Usage(70, 4)),
        ({**BILLED, "cached_tokens": 4.0}, Usage(5, 2, cache_read_input_tokens=4)),
        ({}, None),
        ({"billed_units": {"search_units": 1.0}}, None),
    ],
)
def test_what_is_billed_is_counted(said, counted):
    answer = whole({"content": []}, usage=said)
    assert answer.usage == counted
    body = {"finish_reason": "COMPLETE", "message": {}, "usage": said}
    assert PROVIDER.overview(json.dumps(body).encode()).usage == counted


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"message":7}', b"\xff"])
def test_what_is_no_answer_is_a_violation(body):
    with pytest.raises(ProtocolViolation):
        PROVIDER.read_answer(body)
    assert PROVIDER.overview(body).usage is None


@pytest.mark.parametrize(
    ("status", "body", "seen", "code"),
    [
        (400, {"message": "invalid request"}, 400, None),
        (422, {"message": "no such tool"}, 422, None),
        (400, {"message": "too many tokens: 9"}, 400, "context_length_exceeded"),
        (401, {"message": "invalid api token"}, 502, "upstream_auth_error"),
        (402, {"message": "pay"}, 502, "upstream_auth_error"),
        (498, {"message": "blocked"}, 502, "upstream_auth_error"),
        (499, {"message": "canceled"}, 502, None),
        (501, {"message": "not implemented"}, 400, None),
        (429, {"message": "slow down"}, 429, None),
        (503, {"message": "down"}, 503, None),
    ],
)
def test_an_error_keeps_its_words_but_for_our_own_account(status, body, seen, code):
    error = PROVIDER.read_error(status, json.dumps(body).encode())
    assert (error.status, error.code) == (seen, code)
    assert (error.message == body["message"]) is (code != "upstream_auth_error")


def test_a_stream_that_passes_is_read_on_the_way():
    data = framed(FULL)
    passage = PROVIDER.passage(True)
    assert (
        b"".join(passage.feed(data[i : i + 7]) for i in range(0, len(data), 7)) == data
    )
    assert passage.close() == b""
    assert passage.usage == Usage(5, 2, cache_read_input_tokens=3)
    broken = PROVIDER.passage(True)
    broken.feed(framed([START]))
    with pytest.raises(TruncatedStream):
        broken.close()
    failed = PROVIDER.passage(True)
    failed.feed(framed([START, end("ERROR", error="no")]))
    assert failed.error is not None
