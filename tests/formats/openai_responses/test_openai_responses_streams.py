"""Events written for the SDK, events of any server read, and both one after the other."""

from __future__ import annotations

import itertools
import json
from typing import Any, get_args

import httpx2
import openai
import pytest
from hypothesis import given, strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

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
)
from extproc.errors import Overloaded, ProtocolViolation, TruncatedStream, UpstreamError
from extproc.formats import proofs
from extproc.formats.base import State, WriterContext
from extproc.formats.openai_responses import CLIENT, PROVIDER, answer_wire
from extproc.formats.openai_responses.event_reader import EventReader
from extproc.framing.members import read_members
from extproc.framing.sse import Frame, SSEDecoder
from extproc.usage import Usage

CONTEXT = WriterContext(id="gw1", created=1700, model="asked", include_usage=True)
LINE_ENDS = [b"\n", b"\r\n", b"\r"]
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
ASKED: Any = {"model": "m", "input": "hi"}

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
    PartStarted(3, "text"),
    Delta(3, "More."),
    PartEnded(3),
    PartStarted(4, "tool_call", "c1", "f"),
    PartEnded(4),
    PartStarted(5, "tool_call", "c2", "g"),
    Delta(5, '{"a":'),
    Delta(5, "1}"),
    SignatureDelta(5, "thought"),
    PartEnded(5),
    PartStarted(6, "tool_call", "c3", "h", custom=True),
    Delta(6, "free"),
    PartEnded(6),
    Finished("tool_calls"),
    Reported(Usage(1, 1)),
    Reported(Usage(10, 5, 3, 2, 1)),
    Ended(),
]

PARTS = (
    canonical.Reasoning("Hm\n", "sig"),
    canonical.Reasoning(encrypted="opaque"),
    canonical.Text('Hi "ü"\n.'),
    canonical.Text("More."),
    canonical.ToolCall("c1", "f", "{}"),
    canonical.ToolCall("c2", "g", '{"a":1}', signature="thought"),
    canonical.ToolCall("c3", "h", "free", custom=True),
)
"""What `STREAM` says, whole."""


def written(events) -> bytes:
    return CLIENT.stream_writer(CONTEXT).write(events)


def said(stream: bytes) -> list[dict[str, Any]]:
    """Return the events of a stream: each valid to the SDK, numbered without a gap."""
    frames = SSEDecoder().feed(stream)
    for number, frame in enumerate(frames):
        event = EVENT.validate_json(frame.data, strict=True)
        assert (event.type, event.sequence_number) == (frame.name, number)
    assert b"[DONE]" not in stream
    return [json.loads(frame.data) for frame in frames]


def types(stream: bytes) -> list[str]:
    return [event["type"].removeprefix("response.") for event in said(stream)]


def text_stream(finish: canonical.Finish, kind="text") -> bytes:
    return written(
        [
            Started("a", "m"), PartStarted(0, kind), Delta(0, "x"), PartEnded(0),
            Finished(finish), Ended(),
        ]
    )  # fmt: skip


# ---------------------------------------------------------------- writing


def test_the_events_come_in_the_order_that_openai_sends_them():
    assert types(written(STREAM)) == [
        "created", "in_progress",
        "output_item.added", "reasoning_summary_part.added",
        "reasoning_summary_text.delta", "reasoning_summary_text.delta",
        "reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done",
        "output_item.added", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta",
        "output_text.delta", "output_text.done", "content_part.done",
        "content_part.added", "output_text.delta", "output_text.done",
        "content_part.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta",
        "function_call_arguments.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta",
        "function_call_arguments.delta", "function_call_arguments.done",
        "output_item.done", "output_item.added", "output_item.done",
        "output_item.added", "custom_tool_call_input.delta",
        "custom_tool_call_input.done", "output_item.done",
        "completed",
    ]  # fmt: skip


def test_ids_are_of_the_exchange_and_no_two_items_share_one():
    events = said(written(STREAM))
    whole = events[-1]["response"]
    assert {e["response"]["id"] for e in events if "response" in e} == {"resp_gw1"}
    assert [item["id"] for item in whole["output"]] == [
        "rs_gw1_0", "rs_gw1_1", "msg_gw1_2", "fc_gw1_3", "fc_gw1_4", "rs_gw1_5",
        "ctc_gw1_6",
    ]  # fmt: skip
    for event in events:
        if "item_id" in event:
            assert event["item_id"] == whole["output"][event["output_index"]]["id"]
    done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    assert done == whole["output"]


def test_the_last_event_is_the_response_whole_with_its_usage():
    whole = said(written(STREAM))[-1]["response"]
    Response.model_validate(whole, strict=True)
    assert whole["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 15,
    }
    assert (whole["model"], whole["created_at"], whole["status"]) == (
        "claude", 5, "completed",
    )  # fmt: skip


def test_a_stream_ends_in_the_answer_that_is_written_whole():
    answer = canonical.Answer(
        "msg_1", "claude", (canonical.Choice(PARTS, "tool_calls"),),
        Usage(10, 5, 3, 2, 1), created=5,
    )  # fmt: skip
    whole = json.loads(CLIENT.write_answer(answer, CONTEXT))
    assert said(written(STREAM))[-1]["response"] == whole


def test_one_event_at_a_time_gives_the_same_bytes():
    writer = CLIENT.stream_writer(CONTEXT)
    assert b"".join(writer.write([event]) for event in STREAM) == written(STREAM)


@pytest.mark.parametrize(
    ("kind", "finish", "status", "reason"),
    [
        ("text", "stop", "completed", None),
        ("text", "stop_sequence", "completed", None),
        ("text", "pause", "completed", None),
        ("text", "tool_calls", "completed", None),
        ("text", "length", "incomplete", "max_output_tokens"),
        ("text", "context_length", "incomplete", "max_output_tokens"),
        ("text", "content_filter", "incomplete", "content_filter"),
        ("text", "refusal", "incomplete", "content_filter"),
        ("refusal", "refusal", "completed", None),
        ("refusal", "length", "incomplete", "max_output_tokens"),
    ],
)
def test_a_finish_has_openais_word(kind, finish, status, reason):
    *_, item, last = said(text_stream(finish, kind))
    assert last["type"] == f"response.{status}"
    assert last["response"]["status"] == item["item"]["status"] == status
    details = last["response"]["incomplete_details"]
    assert (details and details["reason"]) == reason
    part: Any = canonical.Text("x") if kind == "text" else canonical.Refusal("x")
    answer = canonical.Answer("a", "m", (canonical.Choice((part,), finish),))
    assert json.loads(CLIENT.write_answer(answer, CONTEXT)) == last["response"]


def test_every_finish_is_one_of_those():
    for finish in get_args(canonical.Finish):
        assert types(text_stream(finish))[-1] in {"completed", "incomplete"}


def test_parts_that_interleave_stay_apart():
    stream = written(
        [
            Started("a", "m"),
            PartStarted(0, "text"),
            PartStarted(1, "tool_call", "c1", "f"),
            PartStarted(2, "tool_call", "c2", "g"),
            Delta(0, "a"), Delta(2, "[2"), Delta(1, "{1"), Delta(0, "b"), Delta(2, "]"),
            Delta(1, "}"),
            PartEnded(2), PartEnded(0), PartEnded(1),
            Finished("tool_calls"), Ended(),
        ]
    )  # fmt: skip
    message, first, second = said(stream)[-1]["response"]["output"]
    assert message["content"][0]["text"] == "ab"
    assert (first["arguments"], second["arguments"]) == ("{1}", "[2]")


def test_text_behind_a_call_is_a_message_of_its_own():
    stream = written(
        [
            Started("a", "m"),
            PartStarted(0, "text"), Delta(0, "a"), PartEnded(0),
            PartStarted(1, "tool_call", "c", "f"), PartEnded(1),
            PartStarted(2, "text"), Delta(2, "b"), PartEnded(2),
            Finished("stop"), Ended(),
        ]
    )  # fmt: skip
    output = said(stream)[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "message"]


def test_an_answer_of_nothing_is_complete():
    assert types(written([Started("a", "m"), Ended()]))[-1] == "completed"
    stream = written([Started("", ""), Finished("stop"), Ended()])
    assert said(stream)[-1]["response"]["model"] == "asked"


def test_alternatives_are_left_out():
    stream = written(
        [
            Started("a", "m"), PartStarted(0, "text", choice=1), Delta(0, "x", choice=1),
            PartEnded(0, choice=1), Finished("length", choice=1), Finished("stop"),
            Ended(),
        ]
    )  # fmt: skip
    assert types(stream) == ["created", "in_progress", "completed"]


def test_usage_of_the_start_counts_where_no_other_came():
    stream = written([Started("a", "m", Usage(7, 0)), Finished("stop"), Ended()])
    assert said(stream)[-1]["response"]["usage"]["input_tokens"] == 7


@pytest.mark.parametrize("before", range(len(STREAM)))
def test_a_failure_ends_the_stream_in_order_wherever_it_comes(before):
    stream = written([*STREAM[:before], Failed(Overloaded("full")), *STREAM[before:]])
    events = said(stream)
    assert [e["type"] for e in events[:2]] == [
        "response.created", "response.in_progress",
    ]  # fmt: skip
    error, last = events[-2:]
    assert (error["type"], last["type"]) == ("error", "response.failed")
    assert error["message"] == error["error"]["message"] == "full"
    assert last["response"]["error"] == {"code": "server_error", "message": "full"}
    done = [e["item"] for e in events if e["type"] == "response.output_item.done"]
    assert last["response"]["output"] == done


@pytest.mark.parametrize(
    ("status", "code"), [(429, "rate_limit_exceeded"), (400, "invalid_prompt"), (502, "server_error")]
)  # fmt: skip
def test_a_failure_has_one_of_openais_codes(status, code):
    error = UpstreamError("no", status=status, code="whatever")
    failed = said(written([Failed(error)]))[-1]["response"]
    assert failed["error"]["code"] == code


def test_an_error_event_alone_is_one_that_the_sdk_knows():
    (event,) = said(CLIENT.write_error_event(Overloaded("full", param="model")))
    assert event["type"] == "error"
    assert event["error"]["param"] == "model"


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


@pytest.mark.parametrize("step", [1, 7, 10**6])
def test_openai_python_reads_the_stream(step):
    with sdk(written(STREAM), step) as client:
        got = list(client.responses.create(**ASKED, stream=True))
    assert [event.to_dict() for event in got] == said(written(STREAM))


def test_what_openai_python_accumulates_is_the_whole_answer():
    with (
        sdk(written(STREAM)) as client,
        client.responses.stream(**ASKED) as stream,
    ):
        snapshots = [
            e.snapshot for e in stream if e.type == "response.output_text.delta"
        ]
        final = stream.get_final_response()
    assert snapshots == ['Hi "ü"\n', 'Hi "ü"\n.', "More."]
    assert final.output_text == 'Hi "ü"\n.More.'


def test_what_the_sdk_has_of_an_answer_can_be_sent_back_with_all_its_proofs():
    with (
        sdk(written(STREAM)) as client,
        client.responses.stream(**ASKED) as stream,
    ):
        final = stream.get_final_response()
    items = [item.to_dict() for item in final.output]
    body = json.dumps({"model": "m", "input": items}).encode()
    (message,) = CLIENT.read_request(body, read_members(body)).messages
    assert (message.role, message.parts) == ("assistant", PARTS)


@pytest.mark.parametrize("before", range(len(STREAM)))
def test_openai_python_raises_our_error_wherever_it_comes(before):
    error = Overloaded("the provider is full", param="model")
    with (
        sdk(written([*STREAM[:before], Failed(error)])) as client,
        pytest.raises(openai.APIError, match="the provider is full") as caught,
    ):
        list(client.responses.create(**ASKED, stream=True))
    assert (caught.value.code, caught.value.param, caught.value.type) == (
        "gateway_unavailable", "model", "service_unavailable",
    )  # fmt: skip


# ---------------------------------------------------------------- reading


def read(frames) -> list[canonical.Event]:
    reader = PROVIDER.stream_reader()
    events = [event for frame in frames for event in reader.feed(frame)]
    return events + reader.close()


def ev(kind: str, **members) -> Frame:
    name = kind if kind in {"error", "keepalive"} else f"response.{kind}"
    event = {"type": name, "sequence_number": 0, **members}
    return Frame(name, json.dumps(event).encode())


def item(kind: str, at: int, **members) -> Frame:
    return ev(f"output_item.{kind}", output_index=at, item=members)


def delta(name: str, text: str, at: int = 0, **members) -> Frame:
    return ev(f"{name}.delta", output_index=at, delta=text, item_id="i", **members)


def resp(kind: str, **members) -> Frame:
    base = {"id": "resp_1", "model": "m", "created_at": 5.0, "output": []}
    status = {"created": "in_progress"}.get(kind, kind)
    return ev(kind, response={**base, "status": status, **members})


CREATED = resp("created")
USAGE = {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11}
COMPLETED = resp("completed", usage=USAGE)
MESSAGE = {"type": "message", "id": "msg_1", "role": "assistant"}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f"}
CUSTOM = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c1", "name": "g"}
REASONING = {"type": "reasoning", "id": "rs_1"}
PROOF = proofs.mark_openai("rs_1", "gAAA")


def text(of: str, **members) -> dict[str, Any]:
    return {"type": "output_text", "text": of, "annotations": [], **members}


def content(kind: str, part: dict[str, Any], at: int = 0, place: int = 0) -> Frame:
    return ev(f"content_part.{kind}", output_index=at, content_index=place, part=part)


def texts(of: str, part: int = 0) -> list[canonical.Event]:
    return [PartStarted(part, "text"), Delta(part, of), PartEnded(part)]


def calls(*pieces: str, custom=False, part: int = 0) -> list[canonical.Event]:
    name = "g" if custom else "f"
    return [
        PartStarted(part, "tool_call", "c1", name, custom=custom),
        *(Delta(part, piece) for piece in pieces),
        PartEnded(part),
    ]


READ: dict[str, tuple[list[Frame], list[canonical.Event]]] = {
    "text": (
        [
            ev("in_progress", response={}), item("added", 0, **MESSAGE, content=[]),
            content("added", text("")), delta("output_text", "a", content_index=0),
            delta("output_text", "b", content_index=0), ev("output_text.done", text="ab"),
            content("done", text("ab")), item("done", 0, **MESSAGE, content=[text("ab")]),
        ],
        [
            KeepAlive(), PartStarted(0, "text"), Delta(0, "a"), Delta(0, "b"),
            PartEnded(0), Finished("stop"),
        ],
    ),
    "text in two parts": (
        [
            item("added", 0, **MESSAGE, content=[]), content("added", text("")),
            delta("output_text", "a", content_index=0), content("done", text("a")),
            content("added", text(""), place=1),
            delta("output_text", "b", content_index=1),
            item("done", 0, **MESSAGE, content=[text("a"), text("b")]),
        ],
        [*texts("a"), *texts("b", 1), Finished("stop")],
    ),
    "deltas alone": (
        [delta("output_text", "a")], [*texts("a"), Finished("stop")],
    ),
    "an item that comes whole": (
        [item("done", 0, **MESSAGE, content=[text("a"), {"type": "refusal", "refusal": "no"}])],
        [
            *texts("a"), PartStarted(1, "refusal"), Delta(1, "no"), PartEnded(1),
            Finished("refusal"),
        ],
    ),
    "a refusal": (
        [
            item("added", 0, **MESSAGE, content=[]),
            content("added", {"type": "refusal", "refusal": ""}),
            delta("refusal", "no", content_index=0), ev("refusal.done", refusal="no"),
            item("done", 0, **MESSAGE, content=[{"type": "refusal", "refusal": "no"}]),
        ],
        [PartStarted(0, "refusal"), Delta(0, "no"), PartEnded(0), Finished("refusal")],
    ),
    "a call": (
        [
            item("added", 0, **CALL, arguments=""),
            delta("function_call_arguments", '{"a"'),
            delta("function_call_arguments", ":1}"),
            ev("function_call_arguments.done", arguments='{"a":1}'),
            item("done", 0, **CALL, arguments='{"a":1}'),
        ],
        [*calls('{"a"', ":1}"), Finished("tool_calls")],
    ),
    "a call without pieces": (
        [item("added", 0, **CALL, arguments=""), item("done", 0, **CALL, arguments='{"a":1}')],
        [*calls('{"a":1}'), Finished("tool_calls")],
    ),
    "a call without arguments": (
        [item("added", 0, **CALL, arguments=""), item("done", 0, **CALL, arguments="")],
        [*calls(), Finished("tool_calls")],
    ),
    "a call that was never added": (
        [item("done", 0, **CALL, arguments={"a": 1})],
        [*calls('{"a": 1}'), Finished("tool_calls")],
    ),
    "a call without a call id": (
        [item("done", 0, type="function_call", id="c1", name="f", arguments="{}")],
        [*calls(), Finished("tool_calls")],
    ),
    "a custom call": (
        [
            item("added", 0, **CUSTOM, input=""), delta("custom_tool_call_input", "x"),
            ev("custom_tool_call_input.done", input="x"), item("done", 0, **CUSTOM, input="x"),
        ],
        [*calls("x", custom=True), Finished("tool_calls")],
    ),
    "calls that interleave": (
        [
            item("added", 0, **CALL), item("added", 1, **{**CALL, "call_id": "c2"}),
            delta("function_call_arguments", "{", 1), delta("function_call_arguments", "{"),
            delta("function_call_arguments", "}"), delta("function_call_arguments", "}", 1),
            item("done", 0, **CALL), item("done", 1, **CALL),
        ],
        [
            PartStarted(0, "tool_call", "c1", "f"), PartStarted(1, "tool_call", "c2", "f"),
            Delta(1, "{"), Delta(0, "{"), Delta(0, "}"), Delta(1, "}"), PartEnded(0),
            PartEnded(1), Finished("tool_calls"),
        ],
    ),
    "reasoning with its summary and proof": (
        [
            item("added", 0, **REASONING, summary=[]),
            ev("reasoning_summary_part.added", output_index=0, summary_index=0),
            delta("reasoning_summary_text", "h"),
            ev("reasoning_summary_part.added", output_index=0, summary_index=1),
            delta("reasoning_summary_text", "m"),
            item("done", 0, **REASONING, encrypted_content="gAAA", summary=[]),
        ],
        [
            PartStarted(0, "reasoning"), Delta(0, "h"), Delta(0, "\n\n"), Delta(0, "m"),
            PartEnded(0), PartStarted(1, "reasoning", encrypted=PROOF), PartEnded(1),
            Finished("stop"),
        ],
    ),
    "reasoning in full": (
        [
            item("added", 0, **REASONING),
            content("added", {"type": "reasoning_text", "text": ""}),
            delta("reasoning_text", "h", content_index=0),
            content("done", {"type": "reasoning_text", "text": "h"}),
            item("done", 0, **REASONING),
        ],
        [PartStarted(0, "reasoning"), Delta(0, "h"), PartEnded(0), Finished("stop")],
    ),
    "reasoning that comes whole": (
        [item("done", 0, **REASONING, summary=[{"text": "h"}, {"text": "m"}])],
        [PartStarted(0, "reasoning"), Delta(0, "h\n\nm"), PartEnded(0), Finished("stop")],
    ),
    "reasoning that says nothing": (
        [item("added", 0, **REASONING, summary=[]), item("done", 0, **REASONING, summary=[])],
        [Finished("stop")],
    ),
    "tools of OpenAI's own": (
        [
            item("added", 0, type="code_interpreter_call", id="ci"),
            ev("code_interpreter_call.interpreting", output_index=0),
            item("done", 0, type="code_interpreter_call", id="ci", content="?"),
            item("done", 1, **MESSAGE, content=[text("a")]),
        ],
        [
            canonical.Unsaid("code_interpreter_call"), KeepAlive(), KeepAlive(),
            *texts("a"), Finished("stop"),
        ],
    ),
    "signs of life and what nobody knows": (
        [ev("keepalive"), ev("brand_new"), Frame("", b""), ev("queued", response={})],
        [KeepAlive(), KeepAlive(), Finished("stop")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("frames", "events"), READ.values(), ids=READ)
def test_events_of_any_server_are_read(frames, events):
    start = Started("resp_1", "m", created=5)
    tail = [Reported(Usage(9, 2)), Ended()]
    assert read([CREATED, *frames, COMPLETED]) == [start, *events, *tail]


def test_what_only_the_last_event_says_is_read():
    output = [{**MESSAGE, "content": [text("a")]}, {**CALL, "arguments": "{}"}]
    start = Started("resp_1", "m", created=5)
    events = [*texts("a"), *calls(part=1), Finished("tool_calls"), Ended()]
    assert read([CREATED, resp("completed", output=output)]) == [start, *events]
    assert read([resp("completed", output=output)]) == [start, *events]


def test_a_done_that_openai_does_not_send_changes_nothing():
    done = Frame("", b"[DONE]")
    assert read([CREATED, COMPLETED, done]) == read([CREATED, COMPLETED])
    with pytest.raises(TruncatedStream):
        read([CREATED, done])


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("max_output_tokens", "length"),
        ("content_filter", "content_filter"),
        ("max_messages", "length"),
        ("steered", "pause"),
        ("brand_new", "length"),
        (None, "length"),
    ],
)
def test_the_reason_of_an_incomplete_response_is_kept(reason, finish):
    last = resp("incomplete", incomplete_details={"reason": reason})
    assert read([CREATED, last])[1:] == [Finished(finish), Ended()]


ERROR = {
    "type": "server_error",
    "code": "server_error",
    "message": "broke",
    "param": None,
}


@pytest.mark.parametrize(
    "frames",
    [
        [ev("error", message="broke", code="server_error", param=None)],
        [ev("error", error=ERROR)],
        [Frame("", json.dumps({"error": ERROR}).encode())],
        [resp("failed", error=ERROR)],
        [ev("error", error=ERROR), resp("failed", error=ERROR)],
    ],
)
def test_an_error_is_told_once(frames):
    _, failed = read([CREATED, *frames])
    assert isinstance(failed, Failed)
    assert (failed.error.message, failed.error.code) == ("broke", "server_error")


@pytest.mark.parametrize(
    ("code", "status"), [("rate_limit_exceeded", 429), ("content_filter", 400)]
)
def test_an_error_keeps_the_status_that_its_code_stands_for(code, status):
    told = {"code": code, "message": "slow"}
    *_, reported, failed = read([CREATED, resp("failed", error=told, usage=USAGE)])
    assert reported == Reported(Usage(9, 2))
    assert isinstance(failed, Failed)
    assert failed.error.status == status


def test_every_event_of_the_sdk_has_its_place():
    known = {
        name
        for member in get_args(get_args(ResponseStreamEvent)[0])
        for name in get_args(member.model_fields["type"].annotation)
    }
    ours = answer_wire.TRANSLATED | answer_wire.REPEATED | answer_wire.WAITING
    assert ours - {"keepalive"} == known


LEGAL = {
    "created": CREATED,
    "piece": delta("reasoning_text", "x"),
    "item": item("done", 0, **MESSAGE),
    "summary": ev("reasoning_summary_part.added", output_index=0),
    "completed": COMPLETED,
    "failed": resp("failed"),
    "error": ev("error", message="x"),
    "waiting": ev("keepalive"),
    "repeated": ev("refusal.done", refusal="x"),
    "done": Frame("", b"[DONE]"),
}
ALLOWED = {
    State.IDLE: set(LEGAL) - {"piece", "item", "summary"},
    State.OPEN: set(LEGAL) - {"created"},
    State.DONE: {"failed", "error", "waiting", "repeated", "done"},
}


@pytest.mark.parametrize("name", LEGAL)
@pytest.mark.parametrize("state", ALLOWED)
def test_only_what_the_table_allows_may_happen(state, name):
    reader = EventReader()
    reader.state = state
    if name in ALLOWED[state]:
        reader.feed(LEGAL[name])
    else:
        with pytest.raises(ProtocolViolation, match=f"while {state.name}"):
            reader.feed(LEGAL[name])


@pytest.mark.parametrize(
    "frames",
    [
        [Frame("", b"{")],
        [Frame("", b'{"type":"response.created"}')],
        [COMPLETED, delta("output_text", "late")],
        [delta("output_text", "early")],
        [CREATED, item("added", 0, **MESSAGE), item("added", 0, **MESSAGE)],
        [CREATED, delta("function_call_arguments", "{")],
        [CREATED, item("done", 0, **MESSAGE, content=[]), delta("output_text", "late")],
        [CREATED, item("added", 0, type="function_call", call_id="c")],
        [CREATED, item("added", 0, **{**MESSAGE, "content": "?"})],
    ],
)
def test_what_may_not_come_is_a_violation(frames):
    with pytest.raises(ProtocolViolation):
        read(frames)


# ---------------------------------------------------------------- any split


def feed(data: bytes, cuts: list[int]) -> list[canonical.Event]:
    decoder, reader = SSEDecoder(), PROVIDER.stream_reader()
    events = []
    bounds = [0, *sorted(cuts), len(data)]
    for begin, end in itertools.pairwise(bounds):
        for frame in decoder.feed(data[begin:end]):
            events += reader.feed(frame)
    for frame in decoder.close():
        events += reader.feed(frame)
    return events + reader.close()


READABLE = written(STREAM)


@pytest.mark.parametrize("end", LINE_ENDS)
def test_byte_by_byte_under_every_line_end(end):
    data = READABLE.replace(b"\n", end)
    assert feed(data, list(range(len(data)))) == feed(READABLE, [])


@given(st.lists(st.integers(0, len(READABLE)), max_size=20))
def test_no_split_changes_what_is_read(cuts):
    assert feed(READABLE, cuts) == feed(READABLE, [])


def test_any_truncation_is_noticed():
    frames = SSEDecoder().feed(READABLE)
    for count in range(len(frames)):
        with pytest.raises(TruncatedStream):
            read(frames[:count])


# ---------------------------------------------------------------- there and back

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)


@st.composite
def streams(draw) -> list[canonical.Event]:
    events: list[canonical.Event] = [Started("resp_gw1", "m", created=5)]
    kinds = draw(st.lists(st.sampled_from(["text", "refusal", "tool_call", "custom"])))
    for index, kind in enumerate(kinds):
        if kind in {"text", "refusal"}:
            events.append(PartStarted(index, kind))
            pieces = draw(st.lists(TEXT))
        else:
            custom = kind == "custom"
            events.append(
                PartStarted(index, "tool_call", f"c{index}", "f", custom=custom)
            )
            pieces = draw(st.lists(TEXT)) if custom else ['{"a":', "1}"]
        events += [Delta(index, piece) for piece in pieces if piece]
        events.append(PartEnded(index))
    called = any(kind in {"tool_call", "custom"} for kind in kinds)
    finish: canonical.Finish
    finish = "tool_calls" if called else "refusal" if "refusal" in kinds else "stop"
    return [*events, Finished(finish), Reported(Usage(3, 2, 1, 1, 1)), Ended()]


@given(streams())
def test_what_is_written_is_read_again(events):
    said(written(events))
    seen = [
        event for event in feed(written(events), []) if not isinstance(event, KeepAlive)
    ]
    assert seen == events


def test_reasoning_of_openai_keeps_its_own_proof_and_id():
    events = [
        Started("a", "m"), PartStarted(0, "reasoning", encrypted=PROOF), PartEnded(0),
        Finished("stop"), Ended(),
    ]  # fmt: skip
    (thought,) = said(written(events))[-1]["response"]["output"]
    assert (thought["id"], thought["encrypted_content"]) == ("rs_1", "gAAA")
    assert PartStarted(0, "reasoning", encrypted=PROOF) in feed(written(events), [])


def test_the_cost_of_a_piece_does_not_grow():
    """All pieces together are joined once: 10 MB of arguments take no quadratic time."""
    piece = "x" * 100
    writer = CLIENT.stream_writer(CONTEXT)
    writer.write(
        [Started("a", "m"), PartStarted(0, "tool_call", "c", "f", custom=True)]
    )
    size = sum(len(writer.write([Delta(0, piece)])) for _ in range(100_000))
    end = writer.write([PartEnded(0), Finished("tool_calls"), Ended()])
    assert size > 10_000_000
    assert (
        end.count(b"x" * 10_000_000) == 3
    )  # the call's end, the item's, the response's
