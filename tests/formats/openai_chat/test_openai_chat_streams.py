"""Chunks written for the SDK, chunks of any server read, and both one after the other."""

from __future__ import annotations

import dataclasses
import itertools
import json
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given, strategies as st
from openai.types.chat import ChatCompletionChunk

from extproc import canonical
from extproc.canonical import (
    Delta,
    Ended,
    Failed,
    Finished,
    KeepAlive,
    PartEnded,
    PartStarted,
    Reported,
    SignatureDelta,
    Started,
    Unsaid,
)
from extproc.errors import Overloaded, ProtocolViolation, TruncatedStream, UpstreamError
from extproc.formats.base import State, WriterContext
from extproc.formats.openai_chat import CLIENT, PROVIDER, answer_wire
from extproc.formats.openai_chat.chunk_reader import ChunkReader
from extproc.framing.members import read_members
from extproc.framing.sse import Frame, SSEDecoder
from extproc.usage import Usage

CONTEXT = WriterContext(id="gw-1", created=1700, model="asked", include_usage=True)
LINE_ENDS = [b"\n", b"\r\n", b"\r"]

STREAM: list[canonical.Event] = [
    Started("msg_1", "claude", created=5),
    PartStarted(0, "reasoning"),
    Delta(0, "H"),
    Delta(0, "m\n"),
    SignatureDelta(0, "sig"),
    PartEnded(0),
    PartStarted(1, "reasoning", encrypted="opaque"),
    PartEnded(1),
    KeepAlive(),
    PartStarted(2, "text"),
    Delta(2, 'Hi "ü"\n'),
    Delta(2, "."),
    Delta(2, ""),
    PartEnded(2),
    PartStarted(3, "tool_call", "c1", "f"),
    PartEnded(3),
    PartStarted(4, "tool_call", "c2", "g"),
    Delta(4, '{"a":'),
    Delta(4, "1}"),
    SignatureDelta(4, "thought"),
    PartEnded(4),
    Finished("tool_calls"),
    Reported(Usage(1, 1)),
    Reported(Usage(10, 5, 3, 2, 1)),
    Ended(),
]


def written(events, context=CONTEXT) -> bytes:
    return CLIENT.stream_writer(context).write(events)


def chunks(stream: bytes) -> list[dict[str, Any]]:
    """Return the chunks of a stream, each of them valid to the SDK."""
    frames = SSEDecoder().feed(stream)
    assert all(not frame.name for frame in frames)
    said = [frame.data for frame in frames if frame.data != b"[DONE]"]
    for data in said:
        ChatCompletionChunk.model_validate_json(data, strict=True)
    return [json.loads(data) for data in said]


def deltas(stream: bytes) -> list[dict[str, Any]]:
    return [c["choices"][0]["delta"] for c in chunks(stream) if c["choices"]]


# ---------------------------------------------------------------- writing


def test_every_chunk_has_one_id_and_the_parts_in_order():
    said = chunks(written(STREAM))
    assert {(c["id"], c["object"], c["created"], c["model"]) for c in said} == {
        ("msg_1", "chat.completion.chunk", 5, "claude")
    }
    call = {"type": "function"}
    assert deltas(written(STREAM)) == [
        {"role": "assistant", "content": None},
        {
            "reasoning_content": "H",
            "thinking_blocks": [{"index": 0, "type": "thinking", "thinking": "H"}],
        },
        {
            "reasoning_content": "m\n",
            "thinking_blocks": [{"index": 0, "type": "thinking", "thinking": "m\n"}],
        },
        {
            "thinking_blocks": [
                {"index": 0, "type": "thinking", "thinking": "", "signature": "sig"}
            ]
        },
        {
            "thinking_blocks": [
                {"index": 1, "type": "redacted_thinking", "data": "opaque"}
            ]
        },
        {"content": 'Hi "ü"\n'},
        {"content": "."},
        {
            "tool_calls": [
                {"index": 0, "id": "c1", "function": {"name": "f", "arguments": ""}, **call}
            ]
        },
        {"tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]},
        {
            "tool_calls": [
                {"index": 1, "id": "c2", "function": {"name": "g", "arguments": ""}, **call}
            ]
        },
        {"tool_calls": [{"index": 1, "function": {"arguments": '{"a":'}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "1}"}}]},
        {
            "tool_calls": [
                {
                    "index": 1,
                    "function": {"arguments": ""},
                    "extra_content": {"google": {"thought_signature": "thought"}},
                }
            ]
        },
        {},
    ]  # fmt: skip
    assert [c["choices"][0]["finish_reason"] for c in said[:-1]] == [
        *[None] * 13,
        "tool_calls",
    ]


def test_usage_comes_last_and_only_if_asked_for():
    stream = written(STREAM)
    *others, last = chunks(stream)
    assert stream.endswith(b"data: [DONE]\n\n")
    assert all(chunk["usage"] is None for chunk in others)
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], 15)
    assert last["usage"]["prompt_tokens_details"]["cached_tokens"] == 3
    unasked = written(STREAM, dataclasses.replace(CONTEXT, include_usage=False))
    assert b"usage" not in unasked
    assert len(chunks(unasked)) == len(others)


def test_usage_that_nobody_counted_is_not_made_up():
    stream = written([Started("a", "m"), Finished("stop"), Ended()])
    assert all(chunk["usage"] is None for chunk in chunks(stream))


def test_usage_of_the_start_counts_where_no_other_came():
    stream = written([Started("a", "m", Usage(7, 0)), Finished("stop"), Ended()])
    assert chunks(stream)[-1]["usage"]["prompt_tokens"] == 7


def test_what_the_provider_did_not_say_comes_from_the_exchange():
    stream = written([Started("", ""), Finished("stop"), Ended()])
    assert {(c["id"], c["model"], c["created"]) for c in chunks(stream)} == {
        ("gw-1", "asked", 1700)
    }


def test_one_event_at_a_time_gives_the_same_bytes():
    writer = CLIENT.stream_writer(CONTEXT)
    assert b"".join(writer.write([event]) for event in STREAM) == written(STREAM)


def test_alternatives_each_have_their_role_finish_and_indexes():
    stream = written(
        [
            Started("a", "m"),
            PartStarted(0, "text"),
            PartStarted(0, "tool_call", "c1", "f", choice=1),
            Delta(0, "x"),
            Delta(0, "{}", choice=1),
            PartEnded(0),
            PartEnded(0, choice=1),
            Finished("stop"),
            Finished("tool_calls", choice=1),
            Ended(),
        ]
    )
    said = [c["choices"][0] for c in chunks(stream)]
    assert [(c["index"], next(iter(c["delta"]), c["finish_reason"])) for c in said] == [
        (0, "role"), (1, "role"), (1, "tool_calls"), (0, "content"), (1, "tool_calls"),
        (0, "stop"), (1, "tool_calls"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kinds", "finish", "reason"),
    [
        (["text"], "stop_sequence", "stop"),
        (["text"], "context_length", "length"),
        (["text"], "pause", "stop"),
        (["text"], "refusal", "content_filter"),
        (["refusal"], "refusal", "stop"),
        (["refusal"], "length", "length"),
    ],
)
def test_a_finish_has_openais_word(kinds, finish, reason):
    events: list[canonical.Event] = [Started("a", "m")]
    for index, kind in enumerate(kinds):
        events += [PartStarted(index, kind), Delta(index, "x"), PartEnded(index)]
    stream = written([*events, Finished(finish), Ended()])
    assert chunks(stream)[-1]["choices"][0]["finish_reason"] == reason


def test_a_custom_call_streams_its_input():
    """The SDK's chunk model knows only function calls; OpenAI sends them all the same."""
    stream = written(
        [Started("a", "m"), PartStarted(0, "tool_call", "c", "g", custom=True), Delta(0, "x"), PartEnded(0)]
    )  # fmt: skip
    frames = [json.loads(frame.data) for frame in SSEDecoder().feed(stream)]
    assert [c["choices"][0]["delta"].get("tool_calls") for c in frames[1:]] == [
        [{"index": 0, "id": "c", "type": "custom", "custom": {"name": "g", "input": ""}}],
        [{"index": 0, "custom": {"input": "x"}}],
    ]  # fmt: skip


def test_nothing_follows_a_failure():
    writer = CLIENT.stream_writer(CONTEXT)
    out = writer.write([*STREAM[:3], Failed(Overloaded("full")), *STREAM[3:]])
    assert out.endswith(CLIENT.write_error_event(Overloaded("full")))
    assert writer.write(STREAM) == b""


# ---------------------------------------------------------------- the SDK reads it


def sdk(stream: bytes, step: int = 7) -> openai.OpenAI:
    def answer(_):
        pieces = (stream[i : i + step] for i in range(0, len(stream), step))
        return httpx2.Response(
            200, headers={"content-type": "text/event-stream"}, content=pieces
        )

    return openai.OpenAI(
        api_key="k",
        base_url="http://gateway.test/v1",
        max_retries=0,
        http_client=httpx2.Client(transport=httpx2.MockTransport(answer)),
    )


ASKED: Any = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize("step", [1, 7, 10**6])
def test_openai_python_reads_the_stream(step):
    with sdk(written(STREAM), step) as client:
        got = list(client.chat.completions.create(**ASKED, stream=True))
    assert [chunk.model_dump(exclude_unset=True) for chunk in got] == chunks(
        written(STREAM)
    )


@pytest.mark.parametrize("before", range(len(STREAM) - 1))
def test_openai_python_raises_our_error_wherever_it_comes(before):
    error = Overloaded("the provider is full", param="model")
    stream = written([*STREAM[:before], Failed(error)])
    with (
        sdk(stream) as client,
        pytest.raises(openai.APIError, match="the provider is full") as caught,
    ):
        list(client.chat.completions.create(**ASKED, stream=True))
    assert (caught.value.code, caught.value.param, caught.value.type) == (
        "gateway_unavailable", "model", "service_unavailable",
    )  # fmt: skip


def test_what_the_sdk_merges_of_a_stream_can_be_sent_back():
    """Its own helper merges thinking blocks by their index; both forms mean the same."""
    with (
        sdk(written(STREAM)) as client,
        client.chat.completions.stream(**ASKED) as stream,
    ):
        message = stream.get_final_completion().choices[0].message
    merged = {
        name: value for name, value in message.to_dict().items() if name != "parsed"
    }
    pieces: list[dict[str, Any]] = []
    for delta in deltas(written(STREAM)):
        pieces += delta.get("thinking_blocks", [])
    bare = [{k: v for k, v in piece.items() if k != "index"} for piece in pieces]
    for blocks in (merged["thinking_blocks"], pieces, bare):
        body = json.dumps(
            {"model": "m", "messages": [{**merged, "thinking_blocks": blocks}]}
        ).encode()
        (said,) = CLIENT.read_request(body, read_members(body)).messages
        assert said.parts == (
            canonical.Reasoning("Hm\n", "sig"),
            canonical.Reasoning(encrypted="opaque"),
            canonical.Text('Hi "ü"\n.'),
            canonical.ToolCall("c1", "f", "{}"),
            canonical.ToolCall("c2", "g", '{"a":1}', signature="thought"),
        )


# ---------------------------------------------------------------- reading


def read(frames) -> list[canonical.Event]:
    reader = PROVIDER.stream_reader()
    events = [event for frame in frames for event in reader.feed(frame)]
    return events + reader.close()


def frame(**members) -> Frame:
    return Frame("", json.dumps({"id": "a", "model": "m", **members}).encode())


def delta(finish=None, choice=0, **members) -> Frame:
    return frame(choices=[{"index": choice, "delta": members, "finish_reason": finish}])


def tool(index=0, **members):
    return delta(tool_calls=[{"index": index, **members}])


def fn(name=None, arguments=None):
    return {"name": name, "arguments": arguments}


def judged(**results) -> Frame:
    """Return what an asynchronous filter of Azure's says of a text: it has no delta.

    https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-streaming
    """
    choice = {"index": 0, "finish_reason": None, "content_filter_results": results}
    offsets = {"check_offset": 44, "start_offset": 44, "end_offset": 198}
    said = {"id": "", "object": "", "created": 0, "model": "",
            "choices": [{**choice, "content_filter_offsets": offsets}]}  # fmt: skip
    return Frame("", json.dumps(said).encode())


SAFE = {"hate": {"filtered": False, "severity": "safe"}}
UNJUDGED = {"error": {"code": "content_filter_error", "message": "not filtered"}}
DONE = Frame("", b"[DONE]")
FINISH = delta("stop")
CALLS = delta("tool_calls")
CALL = (
    PartStarted(0, "tool_call", "c1", "f"),
    Delta(0, "{}"),
    PartEnded(0),
    Finished("tool_calls"),
)

READ: dict[str, tuple[list[Frame], list[canonical.Event]]] = {
    "text": (
        [delta(role="assistant", content=""), delta(content="a"), delta(content="b"), FINISH],
        [PartStarted(0, "text"), Delta(0, "a"), Delta(0, "b"), PartEnded(0), Finished("stop")],
    ),
    "null content and empty deltas": (
        [delta(content=None), delta(), delta(content="a", tool_calls=None), FINISH],
        [PartStarted(0, "text"), Delta(0, "a"), PartEnded(0), Finished("stop")],
    ),
    "null delta": (
        [frame(choices=[{"index": 0, "delta": None}]), FINISH], [Finished("stop")],
    ),
    "reasoning_content": (
        [delta(reasoning_content="h"), delta(reasoning_content="m"), delta(content="a"), FINISH],
        [
            PartStarted(0, "reasoning"), Delta(0, "h"), Delta(0, "m"), PartEnded(0),
            PartStarted(1, "text"), Delta(1, "a"), PartEnded(1), Finished("stop"),
        ],
    ),
    "reasoning by its other name": (
        [delta(reasoning="h"), FINISH],
        [PartStarted(0, "reasoning"), Delta(0, "h"), PartEnded(0), Finished("stop")],
    ),
    "refusal": (
        [delta(refusal="no"), FINISH],
        [PartStarted(0, "refusal"), Delta(0, "no"), PartEnded(0), Finished("refusal")],
    ),
    "id and name once": (
        [tool(id="c1", function=fn("f", "")), tool(), tool(function=fn(None, "{}")), CALLS],
        [*CALL],
    ),
    "no index": (
        [
            delta(tool_calls=[{"id": "c1", "function": fn("f")}]),
            delta(tool_calls=[{"function": fn(None, "{}")}]),
            CALLS,
        ],
        [*CALL],
    ),
    "null index, id on every delta": (
        [
            tool(index=None, id="c1", function=fn("f")),
            tool(index=None, id="c1", function=fn("f", "{}")),
            CALLS,
        ],
        [*CALL],
    ),
    "a new id on every delta": (
        [tool(id="c1", function=fn("f")), tool(id="c9", function=fn(None, "{}")), CALLS],
        [*CALL],
    ),
    "no id at all": (
        [tool(function=fn("f", "{}")), CALLS],
        [
            PartStarted(0, "tool_call", "call_a_0", "f"), Delta(0, "{}"), PartEnded(0),
            Finished("tool_calls"),
        ],
    ),
    "no id and no index": (
        [
            tool(index=None, function=fn("f", "{}")),
            tool(index=None, function=fn("g", "{}")),
            CALLS,
        ],
        [
            PartStarted(0, "tool_call", "call_a_0", "f"), Delta(0, "{}"), PartEnded(0),
            PartStarted(1, "tool_call", "call_a_1", "g"), Delta(1, "{}"), PartEnded(1),
            Finished("tool_calls"),
        ],
    ),
    "one index for all calls": (
        [
            tool(id="c1", function=fn("f", "{}")),
            tool(id="c2", function=fn("g", '{"a"')),
            tool(function=fn(None, ":1}")),
            CALLS,
        ],
        [
            PartStarted(0, "tool_call", "c1", "f"), Delta(0, "{}"), PartEnded(0),
            PartStarted(1, "tool_call", "c2", "g"), Delta(1, '{"a"'), Delta(1, ":1}"),
            PartEnded(1), Finished("tool_calls"),
        ],
    ),
    "interleaved calls": (
        [
            tool(0, id="c1", function=fn("f", '{"a"')),
            tool(1, id="c2", function=fn("g", "{")),
            tool(0, function=fn(None, ":1}")),
            tool(1, function=fn(None, "}")),
            CALLS,
        ],
        [
            PartStarted(0, "tool_call", "c1", "f"), Delta(0, '{"a"'),
            PartStarted(1, "tool_call", "c2", "g"), Delta(1, "{"),
            Delta(0, ":1}"), Delta(1, "}"),
            PartEnded(0), PartEnded(1), Finished("tool_calls"),
        ],
    ),
    "the name later than the arguments": (
        [tool(id="c1", function=fn(None, "{")), tool(function=fn("f", "}")), CALLS],
        [
            PartStarted(0, "tool_call", "c1", "f"), Delta(0, "{}"), PartEnded(0),
            Finished("tool_calls"),
        ],
    ),
    "a call without arguments": (
        [tool(id="c1", function=fn("f", "")), CALLS],
        [PartStarted(0, "tool_call", "c1", "f"), PartEnded(0), Finished("tool_calls")],
    ),
    "white space behind a whole call": (
        [
            tool(0, id="c1", function=fn("f", "{}")),
            delta(content="a"),
            tool(0, function=fn(None, "\n")),
            CALLS,
        ],
        [
            PartStarted(0, "tool_call", "c1", "f"), Delta(0, "{}"), PartEnded(0),
            PartStarted(1, "text"), Delta(1, "a"), PartEnded(1), Finished("tool_calls"),
        ],
    ),
    "text, a call, text": (
        [
            delta(content="a"), tool(id="c1", function=fn("f", "{}")), delta(content="b"), FINISH,
        ],
        [
            PartStarted(0, "text"), Delta(0, "a"), PartEnded(0),
            PartStarted(1, "tool_call", "c1", "f"), Delta(1, "{}"), PartEnded(1),
            PartStarted(2, "text"), Delta(2, "b"), PartEnded(2), Finished("tool_calls"),
        ],
    ),
    "custom call": (
        [
            tool(id="c1", custom={"name": "g", "input": "x"}),
            tool(custom={"input": "y"}),
            CALLS,
        ],
        [
            PartStarted(0, "tool_call", "c1", "g", custom=True), Delta(0, "x"),
            Delta(0, "y"), PartEnded(0), Finished("tool_calls"),
        ],
    ),
    "deprecated call": (
        [
            delta(function_call=fn("f", "{")), delta(function_call=fn(None, "}")),
            delta("function_call"),
        ],
        [
            PartStarted(0, "tool_call", "call_a_0", "f"), Delta(0, "{"), Delta(0, "}"),
            PartEnded(0), Finished("tool_calls"),
        ],
    ),
    "sound": (
        [
            delta(audio={"id": "a", "transcript": "so "}),
            delta(audio={"data": "AAAA"}),
            delta(audio={"transcript": "it is"}),
            delta("stop", audio={"expires_at": 1}),
        ],
        [
            Unsaid("audio"), PartStarted(0, "text"), Delta(0, "so "), Delta(0, "it is"),
            PartEnded(0), Finished("stop"),
        ],
    ),
    "usage beside choices, and again": (
        [
            frame(
                choices=[{"index": 0, "delta": {"content": "a"}}],
                usage={"prompt_tokens": 1, "completion_tokens": 1},
            ),
            FINISH,
            frame(choices=[], usage={"prompt_tokens": 1, "completion_tokens": 2}),
        ],
        [
            PartStarted(0, "text"), Delta(0, "a"), Reported(Usage(1, 1)), PartEnded(0),
            Finished("stop"), Reported(Usage(1, 2)),
        ],
    ),
    "finished twice": (
        [delta("stop", content="a"), delta("stop", content="")],
        [PartStarted(0, "text"), Delta(0, "a"), PartEnded(0), Finished("stop")],
    ),
    "never finished, but done": (
        [delta(content="a")],
        [PartStarted(0, "text"), Delta(0, "a"), PartEnded(0), Finished("stop")],
    ),
    "Azure's verdict on the prompt first": (
        [Frame("", b'{"id":"","model":"","choices":[],"prompt_filter_results":[]}'), FINISH],
        [Finished("stop")],
    ),
    "unknown names and empty frames": (
        [Frame("ping", b"{}"), Frame("", b""), FINISH], [Finished("stop")],
    ),
    "thinking blocks without index": (
        [
            delta(thinking_blocks=[{"type": "thinking", "thinking": "h"}]),
            delta(thinking_blocks=[{"type": "thinking", "thinking": "", "signature": "s"}]),
            delta(thinking_blocks=[{"type": "thinking", "thinking": "m"}]),
            FINISH,
        ],
        [
            PartStarted(0, "reasoning"), Delta(0, "h"), SignatureDelta(0, "s"), PartEnded(0),
            PartStarted(1, "reasoning"), Delta(1, "m"), PartEnded(1), Finished("stop"),
        ],
    ),
    "what Azure's asynchronous filter says": (
        [
            delta(content="a"), judged(**SAFE), delta(content="b"), judged(**UNJUDGED),
            FINISH, judged(**SAFE),
        ],
        [
            PartStarted(0, "text"), Delta(0, "a"), Delta(0, "b"), PartEnded(0),
            Finished("stop"),
        ],
    ),
    "alternatives": (
        [
            delta(content="a"), delta(choice=1, content="b"), delta("length"),
            delta("stop", choice=1),
        ],
        [
            PartStarted(0, "text"), Delta(0, "a"),
            PartStarted(0, "text", choice=1), Delta(0, "b", choice=1),
            PartEnded(0), Finished("length"),
            PartEnded(0, choice=1), Finished("stop", choice=1),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("frames", "events"), READ.values(), ids=READ)
def test_chunks_of_any_server_are_read(frames, events):
    assert read([*frames, DONE]) == [Started("a", "m"), *events, Ended()]


@pytest.mark.parametrize(
    ("frames", "events"),
    [case for name, case in READ.items() if name != "never finished, but done"],
)
def test_a_stream_may_end_without_done(frames, events):
    assert read(frames) == [Started("a", "m"), *events, Ended()]


@pytest.mark.parametrize(
    "frames",
    [
        [Frame("", b"not json")],
        [Frame("", b"3")],
        [DONE],
        [frame(choices=[]), FINISH, DONE, FINISH],
        [Frame("", b"{}"), DONE],
        [FINISH, delta(content="a")],
        [tool(id="c1", function=fn(None, "{}")), CALLS],
        [delta(tool_calls=[{"function": fn(None, "{}")}])],
        [
            tool(0, id="c1", function=fn("f", "{}")),
            delta(content="a"),
            tool(0, function=fn(None, "x")),
        ],
        [delta(content=3)],
    ],
)
def test_what_may_not_be_is_a_violation(frames):
    with pytest.raises(ProtocolViolation):
        read(frames)


@pytest.mark.parametrize(
    "said", [b'{"error":{"message":"full","type":"x","code":7}}', b'{"error":"full"}']
)
@pytest.mark.parametrize("before", [[], [delta(content="a")], [FINISH]])
@pytest.mark.parametrize("after", [[], [DONE]])
@pytest.mark.parametrize("name", ["", "error"])
def test_an_error_in_the_stream_is_its_end(said, before, after, name):
    *_, last = read([*before, Frame(name, said), *after])
    assert isinstance(last, Failed)
    assert (last.error.message, last.error.status) == ("full", 502)


def test_a_model_that_fails_in_the_middle_is_no_end_of_its_own():
    *_, failed = read([delta(content="a"), delta("error"), DONE])
    assert isinstance(failed, canonical.Failed)
    assert failed.error.status == 502
    body = {"choices": [{"message": {"content": "a"}, "finish_reason": "error"}]}
    with pytest.raises(UpstreamError, match="failed in the middle"):
        PROVIDER.read_answer(json.dumps(body).encode())


def test_an_unknown_frame_is_counted():
    reader = ChunkReader()
    reader.feed(Frame("ping", b"{}"))
    assert reader.unknown == 1


def test_every_event_in_every_state_is_in_the_table_or_a_violation():
    samples: dict[type, bytes] = {
        answer_wire.Chunk: delta(content="a").data,
        answer_wire.LastChunk: FINISH.data,
        answer_wire.Failure: b'{"error":{"message":"x"}}',
        answer_wire.Done: b"[DONE]",
    }
    for state, kind in itertools.product(State, samples):
        reader = ChunkReader()
        reader.state = state
        reader._started = True
        if (state, kind) in ChunkReader.NEXT:
            reader.feed(Frame("", samples[kind]))
            assert reader.state is ChunkReader.NEXT[state, kind]
        else:
            with pytest.raises(ProtocolViolation):
                reader.feed(Frame("", samples[kind]))


def split(text: bytes, cuts) -> list[bytes]:
    bounds = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(bounds)]


def read_bytes(pieces) -> list[canonical.Event]:
    decoder = SSEDecoder()
    return read(
        [frame for piece in pieces for frame in decoder.feed(piece)] + decoder.close()
    )


@pytest.mark.parametrize("end", LINE_ENDS, ids=repr)
def test_bytes_of_any_split_give_the_same_events(end):
    stream = written(STREAM).replace(b"\n", end)
    whole = read_bytes([stream])
    assert read_bytes([stream[i : i + 1] for i in range(len(stream))]) == whole


def test_every_truncation_is_noticed():
    """With one choice the finish is enough; until then nothing is."""
    stream = written(STREAM)
    enough = stream.index(b'"finish_reason":"tool_calls"')
    enough = stream.index(b"\n", enough)
    for length in range(enough):
        with pytest.raises((TruncatedStream, ProtocolViolation)):
            read_bytes([stream[:length]])
    assert read_bytes([stream[: enough + 2]])[-1] == Ended()


def test_an_alternative_cut_short_is_noticed():
    with pytest.raises(TruncatedStream):
        read([delta(content="a"), delta(choice=1, content="b"), FINISH])


# ---------------------------------------------------------------- both ways


def assembled(events):
    """Return the parts, finish and usage that a stream amounts to."""
    parts: dict[tuple[int, int], dict[str, Any]] = {}
    finishes = {}
    usage = None
    for event in events:
        match event:
            case PartStarted():
                parts[event.choice, event.index] = {
                    "kind": event.kind,
                    "id": event.id,
                    "name": event.name,
                    "encrypted": event.encrypted,
                    "text": "",
                }
            case Delta():
                parts[event.choice, event.index]["text"] += event.text
            case SignatureDelta():
                parts[event.choice, event.index]["signature"] = event.signature
            case PartEnded():
                parts[event.choice, event.index]["ended"] = True
            case Finished():
                finishes[event.choice] = event.finish
            case Reported():
                usage = event.usage
            case _:
                pass
    return parts, finishes, usage


WORDS = st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=3)


@st.composite
def choice_events(draw, choice):
    """One choice; neighbors of one kind would be one part to a reader of deltas."""
    kinds = draw(
        st.lists(st.sampled_from(["text", "reasoning", "redacted", "tool_call"]), max_size=5)
    )  # fmt: skip
    events: list[canonical.Event] = []
    called = False
    index = 0
    for kind, before in zip(kinds, [None, *kinds], strict=False):
        if kind == before == "text":
            continue
        if kind == "redacted":
            events.append(PartStarted(index, "reasoning", encrypted="x", choice=choice))
        elif kind == "tool_call":
            called = True
            events.append(
                PartStarted(index, "tool_call", f"c{index}", "f", choice=choice)
            )
            text = draw(st.sampled_from(["", "{}", '{"a": [1, "ü\\n"]}']))
            at = draw(st.integers(0, len(text)))
            pieces = [piece for piece in (text[:at], text[at:]) if piece]
            events += [Delta(index, piece, choice=choice) for piece in pieces]
        else:
            events.append(PartStarted(index, kind, choice=choice))
            events += [Delta(index, word, choice=choice) for word in draw(WORDS)]
        if kind in ("reasoning", "tool_call") and draw(st.booleans()):
            events.append(SignatureDelta(index, "sig", choice=choice))
        events.append(PartEnded(index, choice=choice))
        index += 1
    finish = draw(st.sampled_from(["tool_calls" if called else "stop", "length"]))
    return [*events, Finished(finish, choice=choice)]


@given(
    st.data(), st.integers(1, 3), st.lists(st.integers(0, 5000)), st.sampled_from(LINE_ENDS)
)  # fmt: skip
def test_a_stream_survives_writing_and_reading(data, alternatives, cuts, end):
    events: list[canonical.Event] = [Started("a", "m", created=1)]
    for choice in range(alternatives):
        events += data.draw(choice_events(choice))
    events += [Reported(Usage(3, 2, 1, 1, 1)), Ended()]
    stream = written(events)
    chunks(stream)  # valid to the SDK
    parts, finishes, usage = assembled(events)
    for part in parts.values():
        if part["kind"] == "tool_call" and not part["text"]:
            part["text"] = "{}"
    again = read_bytes(split(stream.replace(b"\n", end), cuts))
    assert assembled(again) == (parts, finishes, usage)
    assert (again[0], again[-1]) == (events[0], Ended())
