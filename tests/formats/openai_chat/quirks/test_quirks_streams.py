"""What each kind does to answers: chunks that pass, chunks that are read, whole answers."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import Any

import pytest
from hypothesis import given, strategies as st
from openai.types.chat import ChatCompletionChunk

from extproc import canonical
from extproc.errors import ProtocolViolation, TruncatedStream, UpstreamError
from extproc.formats import openai_chat
from extproc.formats.base import AnyProviderFormat, Passage
from extproc.formats.openai_chat.quirks import KINDS, quirky
from extproc.framing.sse import MAX_FRAME, SSEDecoder
from extproc.usage import Usage

Json = dict[str, Any]
HEAD = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
LESS = {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}
DONE = "[DONE]"


def chunk(delta: Json | None = None, finish: str | None = None, **more: Any) -> Json:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {**HEAD, "choices": [choice], **more}


def call(name: str | None = None, arguments: Any = "", **more: Any) -> Json:
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {**more, "function": function}


def calls(*several: Json) -> Json:
    return {"tool_calls": list(several)}


def only_usage(usage: Json) -> Json:
    return {**HEAD, "choices": [], "usage": usage}


Stream = list[Any]
"""Chunks, and ``[DONE]``."""

# kind, what the server sends, what a client sees that asked for usage
REFERENCE = {"type": "reference", "reference_ids": [0, 3]}


def cited(ids: list[Any], start: int, end: int) -> Json:
    """Return the span that our clients are told of."""
    return {"reference_ids": ids, "start_index": start, "end_index": end}


def signed(words: str, signature: str) -> Json:
    """Return a chunk of thoughts that bear a proof."""
    thinking = [{"type": "text", "text": words}]
    return {"type": "thinking", "thinking": thinking, "signature": signature}


STREAMS: list[tuple[str, Stream, Stream]] = [
    (
        "no_tool_index",
        [
            chunk({"role": "assistant"}),
            chunk(calls(call("f", '{"a"', id="x"))),
            chunk(calls(call(None, ":1}"))),
            chunk(calls(call("g", "{}", id="y"), call(None, "", id="x"))),
            chunk({}, "tool_calls"),
            DONE,
        ],
        [
            chunk({"role": "assistant"}),
            chunk(calls(call("f", '{"a"', id="x", index=0))),
            chunk(calls(call(None, ":1}", index=0))),
            chunk(calls(call("g", "{}", id="y", index=1), call(None, id="x", index=0))),
            chunk({}, "tool_calls"),
            DONE,
        ],
    ),
    (
        "no_tool_index",
        [chunk(calls(call("f", "{}"))), chunk(calls(call("g", "{}"))), chunk({}, "stop")],
        [
            chunk(calls(call("f", "{}", index=0))),
            chunk(calls(call("g", "{}", index=1))),
            chunk({}, "stop"),
        ],
    ),
    (
        "no_tool_index",
        [chunk(calls(call("f", "{}", index=3, id="x"))), chunk({}, "stop"), DONE],
        [chunk(calls(call("f", "{}", index=3, id="x"))), chunk({}, "stop"), DONE],
    ),
    (
        "stop_for_tool_calls",
        [chunk(calls(call("f", "{}", index=0, id="x"))), chunk({}, "stop"), DONE],
        [chunk(calls(call("f", "{}", index=0, id="x"))), chunk({}, "tool_calls"), DONE],
    ),
    (
        "stop_for_tool_calls",
        [chunk({"content": "a"}), chunk({}, "stop"), DONE],
        [chunk({"content": "a"}), chunk({}, "stop"), DONE],
    ),
    (
        "reasoning",
        [chunk({"reasoning": "why"}), chunk({"content": "a"}, "stop"), DONE],
        [
            chunk({"reasoning": "why", "reasoning_content": "why"}),
            chunk({"content": "a"}, "stop"),
            DONE,
        ],
    ),
    (
        "thinking_chunks",
        [
            chunk(
                {
                    "content": [
                        {"type": "thinking", "thinking": [{"type": "text", "text": "w"}]}
                    ]
                }
            ),
            chunk({"content": [{"type": "text", "text": "a"}]}),
            chunk({"content": "b"}, "stop"),
            DONE,
        ],
        [
            chunk({"content": "", "reasoning_content": "w"}),
            chunk({"content": "a"}),
            chunk({"content": "b"}, "stop"),
            DONE,
        ],
    ),
    (
        "thinking_chunks",
        [
            chunk({"content": "It is "}),
            chunk({"content": [{"type": "text", "text": "18"}, REFERENCE]}),
            chunk({"content": [{"type": "reference", "reference_ids": ["b"]}]}),
            chunk({"content": ""}, "stop"),
            DONE,
        ],
        [
            chunk({"content": "It is "}),
            chunk({"content": "18", "references": [cited([0, 3], 0, 8)]}),
            chunk({"content": "", "references": [cited(["b"], 8, 8)]}),
            chunk({"content": ""}, "stop"),
            DONE,
        ],
    ),
    (
        "thinking_chunks",
        [chunk({"content": [signed("w", "proof")]}), chunk({"content": "a"}, "stop"), DONE],
        [
            chunk({"content": "", "reasoning_content": "w", "thinking_blocks": [
                {"index": 0, "type": "thinking", "thinking": "w", "signature": "mistral:proof"}
            ]}),
            chunk({"content": "a"}, "stop"),
            DONE,
        ],
    ),
    (
        "thinking_chunks",
        [
            chunk({"content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "one "}]}
            ]}),
            chunk({"content": [signed("two", "p")]}),
            chunk({"content": [signed("three", "q")]}),
            chunk({"content": "a"}, "stop"),
            DONE,
        ],
        [
            chunk({"content": "", "reasoning_content": "one "}),
            chunk({"content": "", "reasoning_content": "two", "thinking_blocks": [
                {"index": 0, "type": "thinking", "thinking": "one two", "signature": "mistral:p"}
            ]}),
            chunk({"content": "", "reasoning_content": "three", "thinking_blocks": [
                {"index": 1, "type": "thinking", "thinking": "three", "signature": "mistral:q"}
            ]}),
            chunk({"content": "a"}, "stop"),
            DONE,
        ],
    ),
    (
        "failed_finish",
        [chunk({"content": 'an "error"'}), chunk({}, "stop"), DONE],
        [chunk({"content": 'an "error"'}), chunk({}, "stop"), DONE],
    ),
    (
        "argument_objects",
        [chunk(calls(call("f", {"a": [1]}, index=0, id="x"))), chunk({}, "tool_calls"), DONE],
        [chunk(calls(call("f", '{"a": [1]}', index=0, id="x"))), chunk({}, "tool_calls"), DONE],
    ),
    (
        "usage_in_every_chunk",
        [
            chunk({"content": "a"}, usage=LESS),
            chunk({"content": "b"}, "stop", usage=USAGE),
            DONE,
        ],
        [chunk({"content": "a"}), chunk({"content": "b"}, "stop"), only_usage(USAGE), DONE],
    ),
    (
        "usage_in_every_chunk",
        [chunk({"content": "a"}, "stop", usage=None), only_usage(USAGE)],
        [chunk({"content": "a"}, "stop"), only_usage(USAGE)],
    ),
    (
        "x_groq_usage",
        [
            chunk({"content": "a"}, x_groq={"id": "req_1"}),
            chunk({}, "stop", x_groq={"id": "req_1", "usage": USAGE}),
            DONE,
        ],
        [
            chunk({"content": "a"}, x_groq={"id": "req_1"}),
            chunk({}, "stop", x_groq={"id": "req_1", "usage": USAGE}),
            only_usage(USAGE),
            DONE,
        ],
    ),
    (
        "base_resp",
        [chunk({"content": "a"}, "stop", base_resp={"status_code": 0}), DONE],
        [chunk({"content": "a"}, "stop", base_resp={"status_code": 0}), DONE],
    ),
]  # fmt: skip


def server(*kinds: str) -> AnyProviderFormat:
    return quirky(openai_chat.PROVIDER, kinds, "Acme")


def wire(stream: Stream, end: str = "\n") -> bytes:
    lines = (one if one == DONE else json.dumps(one) for one in stream)
    return "".join(f"data: {line}{end}{end}" for line in lines).encode()


def spoken(data: bytes) -> Stream:
    decoder = SSEDecoder()
    frames = [*decoder.feed(data), *decoder.close()]
    return [DONE if f.data == b"[DONE]" else json.loads(f.data) for f in frames]


def passed(passage: Passage, pieces: list[bytes]) -> bytes:
    return b"".join(map(passage.feed, pieces)) + passage.close()


def ids(case: tuple[str, Stream, Stream]) -> str:
    return case[0]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("case", STREAMS, ids=ids)
def test_a_stream_that_passes_is_set_right_at_any_split(case, end):
    kind, sent, expected = case
    data = wire(sent, end)
    whole = passed(server(kind).passage(True), [data])
    assert spoken(whole) == expected
    bytewise = [data[i : i + 1] for i in range(len(data))]
    assert spoken(passed(server(kind).passage(True), bytewise)) == expected


@given(case=st.sampled_from(STREAMS), cuts=st.lists(st.integers(0, 2000), max_size=5))
def test_a_stream_is_the_same_however_it_is_cut(case, cuts):
    kind, sent, _ = case
    data = wire(sent)
    edges = sorted({0, *(c % (len(data) + 1) for c in cuts), len(data)})
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    once = passed(server(kind).passage(True), [data])
    assert passed(server(kind).passage(True), pieces) == once


@pytest.mark.parametrize("case", STREAMS, ids=ids)
def test_the_sdk_reads_what_passes(case):
    kind, sent, _ = case
    for one in spoken(passed(server(kind).passage(True), [wire(sent)])):
        if one != DONE:
            # Of a call's first piece OpenAI's own type wants an index above all.
            ChatCompletionChunk.model_validate(one)


@pytest.mark.parametrize("kind", ["usage_in_every_chunk", "x_groq_usage"], ids=str)
def test_who_did_not_ask_for_usage_sees_no_chunk_of_it(kind):
    (sent,) = [c[1] for c in STREAMS if c[0] == kind and len(c[1]) == 3]
    passage = server(kind).passage(False)
    seen = spoken(passed(passage, [wire(sent)]))
    assert not [one for one in seen if one != DONE and one["choices"] == []]
    assert passage.usage == Usage(input_tokens=5, output_tokens=2)
    assert passage.model == "m"


@pytest.mark.parametrize("case", STREAMS, ids=ids)
def test_a_stream_that_is_read_has_the_same_meaning(case):
    """Read for a client of another format, it is what the stream set right is."""
    kind, sent, expected = case

    def events(form: AnyProviderFormat, stream: Stream) -> list[canonical.Event]:
        reader, frames = form.stream_reader(), SSEDecoder()
        out = [e for f in frames.feed(wire(stream)) for e in reader.feed(f)]
        return out + reader.close()

    read = events(server(kind), sent)
    plain = events(openai_chat.PROVIDER, expected)
    assert [e for e in read if not isinstance(e, canonical.Reported)] == [
        e for e in plain if not isinstance(e, canonical.Reported)
    ]
    reported = [e for e in read if isinstance(e, canonical.Reported)]
    assert reported[-1:] == [e for e in plain if isinstance(e, canonical.Reported)][-1:]
    if kind == "usage_in_every_chunk":
        assert len(reported) == 1


def test_usage_is_known_when_a_stream_breaks_off():
    passage = server("usage_in_every_chunk").passage(True)
    passage.feed(wire([chunk({"content": "a"}, usage=LESS)]))
    assert passage.usage == Usage(input_tokens=5, output_tokens=1)
    with pytest.raises(TruncatedStream):
        passage.close()


def test_chunks_that_concern_no_kind_keep_their_bytes():
    odd = b'event: message\ndata: {"choices" : [ {"delta":{"content":"\\u0041"}} ]}\n\n'
    for name, kind in KINDS.items():
        if kind.stream is not None and name != "thinking_chunks":
            assert server(name).passage(True).feed(odd) == odd


@pytest.mark.parametrize("kind", [n for n, k in KINDS.items() if k.stream is not None])
@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"[]",
        b"null",
        b'{"choices":7}',
        b'{"choices":[{"delta":7}]}',
        b"\xff",
        b'{"choices":[{"delta":{"content":7,"tool_calls":7,"reasoning":7}}]}',
        b'{"choices":[{"delta":{"tool_calls":[7]}}],"usage":7,"x_groq":7}',
        b'{"choices":[{"finish_reason":"stop"}],"usage":{},"base_resp":7}',
    ],
)
def test_no_chunk_breaks_a_kind(kind, payload):
    """What it cannot read it leaves to the client, or to the reader's judgement."""
    passage = server(kind).passage(True)
    passage.feed(b"data: " + payload + b"\n\n")
    reader = server(kind).stream_reader()
    for frame in SSEDecoder().feed(b"data: " + payload + b"\n\n"):
        with contextlib.suppress(ProtocolViolation):
            reader.feed(frame)


def test_an_error_with_status_200_is_one_in_a_stream():
    said = {"base_resp": {"status_code": 1002, "status_msg": "rate limit"}}
    passage = server("base_resp").passage(True)
    out = passed(passage, [wire([said])])
    assert spoken(out) == [
        {"error": {"message": "rate limit", "type": "rate_limit_error"}}
    ]
    assert passage.error is not None
    reader = server("base_resp").stream_reader()
    (frame,) = SSEDecoder().feed(wire([said]))
    (failed,) = reader.feed(frame)
    assert isinstance(failed, canonical.Failed)
    assert failed.error.message == "rate limit"


@pytest.mark.parametrize(
    ("code", "status"),
    [(1002, 429), (1004, 502), (2013, 400), (1000, 502), (1001, 504)],
)
def test_an_error_with_status_200_is_one_in_a_whole_answer(code, status):
    body = json.dumps({"base_resp": {"status_code": code, "status_msg": "no"}}).encode()
    form = server("base_resp")
    assert form.rewrite_answer is not None
    with pytest.raises(UpstreamError) as failed:
        form.rewrite_answer(body)
    assert failed.value.status == status
    with pytest.raises(UpstreamError):
        form.read_answer(body)


ANSWERS: list[tuple[str, Json, Json]] = [
    (
        "reasoning",
        {"role": "assistant", "content": "a", "reasoning": "w"},
        {"role": "assistant", "content": "a", "reasoning": "w", "reasoning_content": "w"},
    ),
    (
        "thinking_chunks",
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "w"}]},
                {"type": "text", "text": "a"},
            ],
        },
        {"role": "assistant", "content": "a", "reasoning_content": "w"},
    ),
    (
        "thinking_chunks",
        {"role": "assistant", "content": [{"type": "image_url", "image_url": "u"}]},
        {"role": "assistant", "content": [{"type": "image_url", "image_url": "u"}]},
    ),
    (
        "thinking_chunks",
        {"content": [signed("w", "p"), {"type": "text", "text": "a"}, REFERENCE]},
        {
            "content": "a",
            "references": [cited([0, 3], 0, 1)],
            "reasoning_content": "w",
            "thinking_blocks": [
                {"type": "thinking", "thinking": "w", "signature": "mistral:p"}
            ],
        },
    ),
    (
        "argument_objects",
        calls(call("f", {"a": 1}, id="x")),
        calls(call("f", '{"a": 1}', id="x")),
    ),
    ("argument_objects", calls(call("f", "{}")), calls(call("f", "{}"))),
    ("base_resp", {"content": "a"}, {"content": "a"}),
]  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS, ids=lambda case: str(case[0]))
def test_a_whole_answer_is_set_right(case):
    kind, sent, expected = case
    form = server(kind)
    assert form.rewrite_answer is not None

    def answer(message: Json) -> Json:
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {**HEAD, "choices": [choice], "usage": USAGE, "x": 1.50}

    body = json.dumps(answer(sent)).encode()
    assert json.loads(form.rewrite_answer(body)) == answer(expected)
    if sent == expected:
        assert form.rewrite_answer(body) is body


def test_every_kind_of_answer_is_in_a_table():
    tried = {case[0] for case in STREAMS}
    assert tried == {name for name, kind in KINDS.items() if kind.stream is not None}
    changed = {n for n, kind in KINDS.items() if kind.answer or kind.fails_with_200}
    assert changed == {case[0] for case in ANSWERS}


@pytest.mark.parametrize("whole", [False, True])
def test_what_a_text_refers_to_is_a_citation(whole):
    form = server("thinking_chunks")
    content = [{"type": "text", "text": "18"}, REFERENCE]
    found: list[canonical.Citation] = []
    if whole:
        choice = {"index": 0, "message": {"content": content}, "finish_reason": "stop"}
        body = json.dumps({**HEAD, "choices": [choice]}).encode()
        (answered,) = form.read_answer(body).choices
        (text,) = answered.parts
        assert isinstance(text, canonical.Text)
        found += text.citations
    else:
        reader = form.stream_reader()
        sent = wire([chunk({"content": content}), chunk({}, "stop"), DONE])
        for frame in SSEDecoder().feed(sent):
            said = [e for e in reader.feed(frame) if isinstance(e, canonical.Cited)]
            found += [one.citation for one in said]
    assert found == [canonical.Citation(title="0, 3", start=0, end=2)]


@pytest.mark.parametrize("said", [7, [7], [{"url": "u"}], [{"reference_ids": []}]])
def test_references_of_another_kind_are_nobodys_citations(said):
    body = {"choices": [{"index": 0, "message": {"content": "a", "references": said}}]}
    (answered,) = server("reasoning").read_answer(json.dumps(body).encode()).choices
    assert answered.parts == (canonical.Text("a"),)


def test_a_finish_that_is_a_failure_is_an_error_of_the_stream():
    said: Stream = [chunk({"content": "so"}), chunk({"content": ""}, "error"), DONE]
    passage = server("failed_finish").passage(True)
    *_, error, done = spoken(passed(passage, [wire(said)]))
    assert isinstance(error, dict)
    assert "failed in the middle" in error["error"]["message"]
    assert done == DONE
    assert passage.error is not None
    reader = server("failed_finish").stream_reader()
    frames = SSEDecoder().feed(wire(said))
    read = [event for frame in frames for event in reader.feed(frame)]
    assert isinstance(read[-1], canonical.Failed)


def test_an_event_without_end_is_refused():
    passage = server("reasoning").passage(True)
    with pytest.raises(ProtocolViolation):
        passage.feed(b"data: " + b"x" * (MAX_FRAME + 1))
