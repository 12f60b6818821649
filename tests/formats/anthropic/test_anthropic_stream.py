"""Anthropic's stream in, canonical events out: any split, any line end, no surprises."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, get_args

import msgspec
import pytest
from anthropic.types import (
    ContentBlock,
    RawContentBlockDelta,
    RawMessageStreamEvent,
    StopReason,
)
from hypothesis import given, strategies as st

from extproc import canonical as c
from extproc.errors import ProtocolViolation, TruncatedStream
from extproc.formats.anthropic import wire
from extproc.formats.anthropic.answer import FINISH
from extproc.formats.anthropic.passage import MessagePassage
from extproc.formats.anthropic.stream import MessageStream
from extproc.formats.base import State
from extproc.framing.sse import Frame, SSEDecoder
from extproc.usage import Usage

Json = dict[str, Any]


def start(**usage: Any) -> Json:
    return {
        "type": "message_start",
        "message": {
            "id": "msg_1", "type": "message", "role": "assistant", "content": [],
            "model": "claude-sonnet-4-5-20250929", "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 10, "output_tokens": 1, **usage},
        },
    }  # fmt: skip


def block(index: int, kind: str, **fields: Any) -> Json:
    content = {"type": kind, **fields}
    return {"type": "content_block_start", "index": index, "content_block": content}


def delta(index: int, kind: str, **fields: Any) -> Json:
    change = {"type": kind, **fields}
    return {"type": "content_block_delta", "index": index, "delta": change}


def end(index: int) -> Json:
    return {"type": "content_block_stop", "index": index}


def stop(
    reason: str | None = "end_turn", sequence: str | None = None, **usage: Any
) -> Json:
    return {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": sequence},
        "usage": {"output_tokens": 15, **usage},
    }


STOP = {"type": "message_stop"}
PING = {"type": "ping"}
ERROR = {
    "type": "error",
    "error": {"type": "overloaded_error", "message": "Overloaded"},
}

STARTED = c.Started("msg_1", "claude-sonnet-4-5-20250929", Usage(10, 1))
FINISHED: list[c.Event] = [c.Finished("stop"), c.Reported(Usage(10, 15)), c.Ended()]


@dataclasses.dataclass(frozen=True)
class Case:
    """A stream, and the events that it amounts to."""

    name: str
    said: list[Json]
    events: list[c.Event]
    skipped: int = 0
    unknown: int = 0


CASES = [
    Case(
        "text",
        [
            start(), block(0, "text", text=""), PING,
            delta(0, "text_delta", text="Hello"), delta(0, "text_delta", text=" é\n\r"),
            end(0), stop(), STOP,
        ],
        [
            STARTED, c.PartStarted(0, "text"), c.KeepAlive(), c.Delta(0, "Hello"),
            c.Delta(0, " é\n\r"), c.PartEnded(0), *FINISHED,
        ],
    ),
    Case(
        "thinking keeps its text and its signature",
        [
            start(), block(0, "thinking", thinking="", signature=""),
            delta(0, "thinking_delta", thinking="hm"),
            delta(0, "signature_delta", signature="c2ln"), end(0),
            block(1, "redacted_thinking", data="c2Vh"), end(1),
            block(2, "text", text=""), delta(2, "text_delta", text="a"), end(2),
            stop(output_tokens_details={"thinking_tokens": 9}), STOP,
        ],
        [
            STARTED, c.PartStarted(0, "reasoning"), c.Delta(0, "hm"),
            c.SignatureDelta(0, "c2ln"), c.PartEnded(0),
            c.PartStarted(1, "reasoning", encrypted="c2Vh"), c.PartEnded(1),
            c.PartStarted(2, "text"), c.Delta(2, "a"), c.PartEnded(2),
            c.Finished("stop"),
            c.Reported(Usage(10, 15, reasoning_output_tokens=9)), c.Ended(),
        ],
    ),
    Case(
        "parallel tool calls, one of them without arguments",
        [
            start(), block(0, "text", text="so"), end(0),
            block(1, "tool_use", id="toolu_1", name="weather", input={}),
            delta(1, "input_json_delta", partial_json=""),
            delta(1, "input_json_delta", partial_json='{"city": '),
            delta(1, "input_json_delta", partial_json='"Rome"}'), end(1),
            block(2, "tool_use", id="toolu_2", name="clock", input={}), end(2),
            stop("tool_use"), STOP,
        ],
        [
            STARTED, c.PartStarted(0, "text"), c.Delta(0, "so"), c.PartEnded(0),
            c.PartStarted(1, "tool_call", "toolu_1", "weather"),
            c.Delta(1, '{"city": '), c.Delta(1, '"Rome"}'), c.PartEnded(1),
            c.PartStarted(2, "tool_call", "toolu_2", "clock"), c.PartEnded(2),
            c.Finished("tool_calls"), c.Reported(Usage(10, 15)), c.Ended(),
        ],
    ),
    Case(
        "blocks that are whole at once",
        [
            start(), block(0, "tool_use", id="t", name="n", input={"a": 1}), end(0),
            block(1, "thinking", thinking="hm", signature="c2ln"), end(1),
            stop("pause_turn"), STOP,
        ],
        [
            STARTED, c.PartStarted(0, "tool_call", "t", "n"), c.Delta(0, '{"a":1}'),
            c.PartEnded(0), c.PartStarted(1, "reasoning"), c.Delta(1, "hm"),
            c.SignatureDelta(1, "c2ln"), c.PartEnded(1),
            c.Finished("pause"), c.Reported(Usage(10, 15)), c.Ended(),
        ],
    ),
    Case(
        "searches and citations are told, other server tools and news counted",
        [
            start(),
            block(0, "server_tool_use", id="srvtoolu_1", name="web_search", input={}),
            delta(0, "input_json_delta", partial_json='{"query":'),
            delta(0, "input_json_delta", partial_json='"x"}'), end(0),
            block(1, "web_search_tool_result", tool_use_id="srvtoolu_1", content=[]),
            end(1), block(3, "web_fetch_tool_result", content={}), end(3),
            block(2, "text", text="", citations=[]),
            delta(2, "citations_delta", citation={"type": "page_location"}),
            delta(2, "text_delta", text="a"), delta(2, "sound_delta", sound="b"),
            {"type": "weather_report", "index": 1}, end(2), stop("compaction"), STOP,
        ],
        [
            STARTED, c.Searched(c.Search("srvtoolu_1", ("x",))),
            c.Unsaid("web_fetch_tool_result"), c.PartStarted(0, "text"),
            c.Cited(0, c.Citation()), c.Delta(0, "a"), c.PartEnded(0), *FINISHED,
        ],
        skipped=2,
        unknown=2,
    ),
    Case(
        "absent and zero counts keep their last value; the cache's are added",
        [
            start(cache_read_input_tokens=100, cache_creation_input_tokens=20),
            stop(None, output_tokens=5),
            stop(
                "stop_sequence", "END", input_tokens=0, cache_read_input_tokens=0,
                cache_creation_input_tokens=None, output_tokens=7,
            ),
            stop(None, output_tokens=0), stop("end_turn", output_tokens=8), STOP,
        ],
        [
            c.Started("msg_1", STARTED.model, Usage(130, 1, 100, 20)),
            c.Finished("stop_sequence", "END"),
            c.Reported(Usage(130, 7, 100, 20)), c.Reported(Usage(130, 7, 100, 20)),
            c.Reported(Usage(130, 8, 100, 20)), c.Ended(),
        ],
    ),
    Case(
        "no usage in the end",
        [start(), {"type": "message_delta", "delta": {"stop_reason": "refusal"}}, STOP],
        [STARTED, c.Finished("refusal"), c.Reported(Usage(10, 1)), c.Ended()],
    ),
]  # fmt: skip


def sse(said: list[Json], line_end: str = "\n", *, named: bool = True) -> bytes:
    frames = []
    for event in said:
        if named:
            frames += [f"event: {event['type']}"]
        frames += ["data: " + msgspec.json.encode(event).decode(), ""]
    return (line_end.join(frames) + line_end).encode()


def read(chunks: Any, reader: MessageStream | None = None) -> list[c.Event]:
    reader = reader or MessageStream()
    decoder = SSEDecoder()
    frames = [frame for chunk in chunks for frame in decoder.feed(chunk)]
    frames += decoder.close()
    return [e for frame in frames for e in reader.feed(frame)] + reader.close()


def cut(stream: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(at), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_stream_means_the_same_in_every_split(case, line_end):
    stream = sse(case.said, line_end)
    whole = MessageStream()
    assert read([stream], whole) == case.events
    assert (whole.skipped, whole.unknown) == (case.skipped, case.unknown)
    assert read([stream[i : i + 1] for i in range(len(stream))]) == case.events


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_events_names_are_not_needed(case):
    assert read([sse(case.said, named=False)]) == case.events


@given(st.data())
def test_any_split_gives_the_same_events(data):
    case = data.draw(st.sampled_from(CASES))
    stream = sse(case.said, data.draw(st.sampled_from(["\n", "\r\n", "\r"])))
    at = data.draw(st.lists(st.integers(0, len(stream)), max_size=9))
    assert read(cut(stream, at)) == case.events


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_any_truncation_is_noticed(case):
    """But behind the stop reason, where everything has been said."""
    stream = sse(case.said)
    last = stream.index(b"event: message_stop")
    stopped = stream.index(b"\n\n", stream.index(b"event: message_delta"))
    for length in range(stopped):
        with pytest.raises((TruncatedStream, ProtocolViolation)):
            read([stream[:length]])
    for length in (len(stream[:last].rstrip()), last, len(stream) - 1):
        assert read([stream[:length]]) == case.events


def test_an_error_in_the_stream_ends_it_and_is_told():
    events = read([sse([start(), PING, ERROR])])
    assert events[:2] == [STARTED, c.KeepAlive()]
    assert isinstance(events[2], c.Failed)
    error = events[2].error
    assert (error.status, error.code, error.message) == (
        529,
        "overloaded",
        "Overloaded",
    )


@pytest.mark.parametrize("before", [[], [start()], [start(), stop()]], ids=len)
def test_an_error_may_come_at_any_time(before):
    assert isinstance(read([sse([*before, ERROR])])[-1], c.Failed)


# ---------------------------------------------------------------- the SDK's unions


def names(union: Any) -> set[str]:
    """Return the `type` literals of an annotated union of the SDK's models."""
    members = get_args(get_args(union)[0])
    return {get_args(m.model_fields["type"].annotation)[0] for m in members}


def test_every_stop_reason_of_the_sdk_is_known():
    assert set(FINISH) == set(get_args(StopReason))


def test_every_event_and_delta_of_the_sdk_is_known():
    assert names(RawMessageStreamEvent) | {"ping", "error"} == wire.EVENT_NAMES
    assert names(RawContentBlockDelta) == wire.DELTA_NAMES
    assert names(ContentBlock) > wire.BLOCK_NAMES


@pytest.mark.parametrize("kind", sorted(names(ContentBlock) - wire.BLOCK_NAMES))
def test_every_other_block_of_the_sdk_is_skipped_whole(kind):
    reader = MessageStream()
    said = [start(), block(0, kind), delta(0, "input_json_delta", partial_json="1")]
    events = read([sse([*said, end(0), stop(), STOP])], reader)
    assert events == [STARTED, c.Unsaid(kind), *FINISHED]
    assert reader.skipped == 2


def test_the_names_that_we_know_are_those_of_the_structs():
    def tags(union: Any) -> set[str]:
        return {member.__struct_config__.tag for member in get_args(union)}

    assert tags(wire.WireEvent) == wire.EVENT_NAMES
    assert tags(wire.AnswerBlock) == wire.BLOCK_NAMES
    assert tags(wire.BlockDeltaBody) == wire.DELTA_NAMES


# ---------------------------------------------------------------- what may not happen

EVENTS: dict[type, Json] = {
    wire.MessageStart: start(),
    wire.BlockStart: block(0, "text", text=""),
    wire.OtherBlockStart: block(0, "code_execution_tool_result"),
    wire.BlockDelta: delta(7, "text_delta", text="a"),
    wire.OtherDelta: delta(7, "sound_delta"),
    wire.BlockStop: end(7),
    wire.MessageDelta: stop(),
    wire.UsageUpdate: stop(None),
    wire.MessageStop: STOP,
    wire.Ping: PING,
    wire.Error: ERROR,
}


def frame(event: Json) -> Frame:
    return Frame(event["type"], msgspec.json.encode(event))


def in_state(state: State) -> MessageStream:
    reader = MessageStream()
    said = {
        State.IDLE: [],
        State.OPEN: [start()],
        State.FINISHED: [start(), stop()],
        State.DONE: [start(), stop(), STOP],
    }[state]
    for event in said:
        reader.feed(frame(event))
    if state is State.OPEN:
        reader.feed(frame(block(7, "text", text="")))
    assert reader.state is state
    return reader


def test_every_event_is_in_the_table_of_the_test():
    assert set(EVENTS) == set(get_args(wire.Event))


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_what_is_not_in_the_table_is_a_violation(state, kind):
    reader = in_state(state)
    if kind is wire.MessageDelta and state is State.OPEN:
        reader.feed(frame(end(7)))
    if (state, kind) in MessageStream.NEXT:
        reader.feed(frame(EVENTS[kind]))
        assert reader.state is MessageStream.NEXT[state, kind]
    else:
        with pytest.raises(ProtocolViolation, match=f"{kind.__name__} while"):
            reader.feed(frame(EVENTS[kind]))


@pytest.mark.parametrize(
    "said",
    [
        [block(0, "text", text=""), block(0, "text", text="")],
        [block(0, "server_tool_use"), block(0, "text", text="")],
        [delta(0, "text_delta", text="a")],
        [delta(0, "sound_delta")],
        [end(0)],
        [block(0, "text", text=""), end(0), end(0)],
        [block(0, "text", text=""), stop()],
        [block(0, "server_tool_use"), stop()],
        [block(0, "tool_use", id="t", name="n", input={}),
         delta(0, "text_delta", text="a")],
        [block(0, "text", text=""), delta(0, "thinking_delta", thinking="a")],
        [block(0, "redacted_thinking", data=""), delta(0, "text_delta", text="a")],
        [block(0, "tool_use", id="t", name="n")],
        [block(0, "text")],
        [delta(0, "text_delta")],
        [{"type": "content_block_stop"}],
        [{"type": "content_block_start", "index": 0}],
        [{"type": "message_delta", "delta": None}],
    ],
    ids=str,
)  # fmt: skip
def test_a_disorder_of_blocks_is_a_violation(said):
    with pytest.raises(ProtocolViolation):
        read([sse([start(), *said])])


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[DONE]", b"\xff\xfe", b"[]", b'{"no":"type"}',
        b'{"type":"ping","deep":' + b"[" * 100_000,
        b'{"type":"ping","text":"\xff"}',
        (b'{"type":"content_block_start","index":0,"content_block":'
        b'{"type":"tool_use","id":"a","name":"b","input":{"a":"\xff"}}}'),
    ],
    ids=lambda data: data[:30],
)  # fmt: skip
def test_what_cannot_be_read_is_a_violation(data):
    reader = in_state(State.IDLE)
    reader.feed(frame(start()))
    with pytest.raises(ProtocolViolation):
        reader.feed(Frame("ping", data))


@given(
    st.lists(
        st.one_of(
            st.sampled_from(list(EVENTS.values())),
            st.sampled_from(
                [block(1, "thinking", thinking=""), delta(0, "text_delta", text="a"),
                 delta(1, "signature_delta", signature="a"), end(0), end(1),
                 {"type": "x"}]
            ),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_whatever_comes_parts_are_opened_and_closed_in_order(said):
    reader = MessageStream()
    events: list[c.Event] = []
    try:
        for event in [start(), *said]:
            events += reader.feed(frame(event))
    except ProtocolViolation:
        pass
    opened: set[int] = set()
    parts = 0
    for event in events:
        match event:
            case c.PartStarted(index=index):
                assert index == parts
                parts += 1
                opened.add(index)
            case c.Delta(index=index) | c.SignatureDelta(index=index):
                assert index in opened
            case c.PartEnded(index=index):
                opened.remove(index)
            case c.Finished() | c.Reported():
                assert not opened
            case _:
                pass


# ---------------------------------------------------------------- the stream that passes


def run(passage: MessagePassage, chunks: Any) -> bytes:
    return b"".join(map(passage.feed, chunks)) + passage.close()


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_stream_that_passes_is_not_touched(case, line_end):
    stream = sse(case.said, line_end)
    reported = [e.usage for e in case.events if isinstance(e, c.Reported)][-1]
    for size in (1, 7, len(stream)):
        passage = MessagePassage()
        chunks = [stream[i : i + size] for i in range(0, len(stream), size)]
        assert run(passage, chunks) == stream
        assert passage.usage == reported
        assert passage.model == STARTED.model
        assert passage.error is None


@given(st.data())
def test_only_whole_frames_pass(data):
    case = data.draw(st.sampled_from(CASES))
    line_end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    stream = sse(case.said, line_end)
    at = data.draw(st.lists(st.integers(0, len(stream)), max_size=9))
    passage = MessagePassage()
    passed = b""
    for chunk in cut(stream, at):
        passed += passage.feed(chunk)
        assert stream.startswith(passed)
        # Between the CR and the LF of an empty line a frame is whole already.
        assert passed == b"" or passed.endswith(
            (b"\n\n", b"\r\n\r", b"\n\r\n", b"\r\r")
        )
    assert passed + passage.close() == stream


def test_a_stream_that_passes_is_truncated_at_a_frame():
    stream = sse(CASES[0].said)
    cut_off = stream.index(b"message_delta") + 20
    passage = MessagePassage()
    passed = passage.feed(stream[:cut_off])
    assert passed.endswith(b"\n\n")
    with pytest.raises(TruncatedStream):
        passage.close()
    assert passage.usage is not None


@pytest.mark.parametrize("behind", [0, 5, 30, 44])
def test_a_stream_that_passes_gets_the_last_event_that_is_missing(behind):
    stream = sse(CASES[0].said)
    cut_off = stream.index(b"event: message_stop") + behind
    passage = MessagePassage()
    assert run(passage, [stream[:cut_off]]) == stream
    assert passage.usage == Usage(10, 15)


def test_a_last_frame_without_its_empty_line_passes():
    stream = sse(CASES[0].said)[:-1]
    passage = MessagePassage()
    assert run(passage, [stream]) == stream


def test_an_error_in_a_stream_that_passes_is_noted():
    stream = sse([start(), ERROR])
    passage = MessagePassage()
    assert run(passage, [stream]) == stream
    assert passage.error is not None
    assert passage.error.code == "overloaded"


def test_what_cannot_be_read_passes_too():
    stream = b"event: error\ndata: {message_\n\n" + sse(CASES[0].said)
    assert run(MessagePassage(), [stream]) == stream


def test_a_frame_without_end_is_a_violation():
    passage = MessagePassage()
    assert passage.feed(b"data: " + b"a" * (15 << 20)) == b""
    with pytest.raises(ProtocolViolation):
        passage.feed(b"a" * (2 << 20))


def test_a_long_frame_in_many_reads_is_not_searched_again_and_again():
    frames = [delta(0, "text_delta", text="a" * (4 << 20))]
    stream = sse([start(), block(0, "text", text=""), *frames, end(0), stop(), STOP])
    chunks = [stream[i : i + 1000] for i in range(0, len(stream), 1000)]
    assert run(MessagePassage(), chunks) == stream
