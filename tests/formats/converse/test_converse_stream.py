"""Converse's stream in, canonical events out: botocore agrees on what the frames say."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import struct
import zlib
from typing import Any, get_args

import msgspec
import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.parsers import EventStreamJSONParser
from hypothesis import given, strategies as st

from extproc import canonical as c
from extproc.errors import GatewayError, ProtocolViolation, TruncatedStream
from extproc.formats import anthropic, openai_chat
from extproc.formats.base import State, WriterContext
from extproc.formats.converse import PROVIDER, wire
from extproc.formats.converse.answer import FINISH
from extproc.formats.converse.stream import ConverseStream
from extproc.framing.eventstream import EventStreamDecoder
from extproc.framing.sse import Frame, SSEDecoder
from extproc.usage import Usage

Json = dict[str, Any]
Said = tuple[str, Json]


def start() -> Said:
    return "messageStart", {"role": "assistant", "p": "abcdef"}


def begin(index: int, **union: Any) -> Said:
    return "contentBlockStart", {"start": union, "contentBlockIndex": index}


def tool(index: int, id_: str, name: str, **more: Any) -> Said:
    return begin(index, toolUse={"toolUseId": id_, "name": name, **more})


def delta(index: int, **union: Any) -> Said:
    return "contentBlockDelta", {"delta": union, "contentBlockIndex": index, "p": "ab"}


def thought(index: int, **union: Any) -> Said:
    return delta(index, reasoningContent=union)


def end(index: int) -> Said:
    return "contentBlockStop", {"contentBlockIndex": index}


def stop(reason: str = "end_turn", **more: Any) -> Said:
    return "messageStop", {"stopReason": reason, **more}


def metadata(given: int = 10, made: int = 15, **usage: Any) -> Said:
    counts = {"inputTokens": given, "outputTokens": made, "totalTokens": given + made}
    return "metadata", {"usage": {**counts, **usage}, "metrics": {"latencyMs": 5}}


THROTTLED: Said = (":exception throttlingException", {"message": "Too many requests"})

STARTED = c.Started("", "")
FINISHED: list[c.Event] = [c.Finished("stop"), c.Reported(Usage(10, 15)), c.Ended()]


def message(said: Said) -> bytes:
    name, payload = said
    kind = "event"
    if name.startswith(":exception "):
        kind, name = "exception", name.removeprefix(":exception ")
    pairs = [(f":{kind}-type", name), (":content-type", "application/json")]
    headers = b"".join(
        bytes([len(key)]) + key.encode() + struct.pack("!BH", 7, len(value))
        + value.encode()
        for key, value in [*pairs, (":message-type", kind)]
    )  # fmt: skip
    body = msgspec.json.encode(payload)
    prelude = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    whole = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + body
    return whole + struct.pack("!I", zlib.crc32(whole))


def frames(said: list[Said]) -> bytes:
    return b"".join(map(message, said))


@dataclasses.dataclass(frozen=True)
class Case:
    """A stream, and the events that it amounts to."""

    name: str
    said: list[Said]
    events: list[c.Event]
    skipped: int = 0
    unknown: int = 0


CASES = [
    Case(
        "text begins with its first delta",
        [
            start(), delta(0, text="Hello"), delta(0, text=" é\n"), end(0), stop(),
            metadata(),
        ],
        [
            STARTED, c.PartStarted(0, "text"), c.Delta(0, "Hello"), c.Delta(0, " é\n"),
            c.PartEnded(0), *FINISHED,
        ],
    ),
    Case(
        "announced text, empty text, and a block of nothing",
        [
            start(), begin(0), delta(0, text=""), delta(0, text="a"), end(0), end(1),
            begin(2), end(2), stop(), metadata(),
        ],
        [
            STARTED, c.PartStarted(0, "text"), c.Delta(0, "a"), c.PartEnded(0), *FINISHED,
        ],
    ),
    Case(
        "thoughts keep their text, their signature and their seal",
        [
            start(), thought(0, text="h"), thought(0, text="m"),
            thought(0, signature="c2"), thought(0, signature="ln"), end(0),
            thought(1, redactedContent="c2Vh"), end(1),
            thought(2, redactedContent="YQ=="), thought(2, redactedContent="YmI="),
            end(2), thought(3, signature="c2ln"), end(3),
            delta(4, text="a"), end(4), stop(), metadata(),
        ],
        [
            STARTED, c.PartStarted(0, "reasoning"), c.Delta(0, "h"), c.Delta(0, "m"),
            c.SignatureDelta(0, "c2ln"), c.PartEnded(0),
            c.PartStarted(1, "reasoning", encrypted="c2Vh"), c.PartEnded(1),
            c.PartStarted(2, "reasoning", encrypted="YWJi"), c.PartEnded(2),
            c.PartStarted(3, "reasoning"), c.SignatureDelta(3, "c2ln"), c.PartEnded(3),
            c.PartStarted(4, "text"), c.Delta(4, "a"), c.PartEnded(4), *FINISHED,
        ],
    ),
    Case(
        "parallel tool calls, one of them without arguments, and text behind",
        [
            start(), delta(0, text="so"), end(0), tool(1, "tooluse_1", "weather"),
            delta(1, toolUse={"input": ""}), delta(1, toolUse={"input": '{"city": '}),
            delta(1, toolUse={"input": '"Rome"}'}), end(1),
            tool(2, "tooluse_2", "clock"), end(2), delta(3, text="!"), end(3),
            stop("tool_use"), metadata(),
        ],
        [
            STARTED, c.PartStarted(0, "text"), c.Delta(0, "so"), c.PartEnded(0),
            c.PartStarted(1, "tool_call", "tooluse_1", "weather"),
            c.Delta(1, '{"city": '), c.Delta(1, '"Rome"}'), c.PartEnded(1),
            c.PartStarted(2, "tool_call", "tooluse_2", "clock"), c.PartEnded(2),
            c.PartStarted(3, "text"), c.Delta(3, "!"), c.PartEnded(3),
            c.Finished("tool_calls"), c.Reported(Usage(10, 15)), c.Ended(),
        ],
    ),
    Case(
        "citations are told, the provider's own tools, pictures and news counted",
        [
            start(), tool(0, "x", "search", type="server_tool_use"),
            delta(0, toolUse={"input": "{}"}), end(0),
            begin(1, toolResult={"toolUseId": "x"}), delta(1, toolResult=[{"text": "y"}]),
            end(1), begin(2, image={"format": "png"}),
            delta(2, image={"source": {"bytes": "AA=="}}), end(2),
            delta(3, text="a"), delta(3, citation={"title": "t"}), end(3),
            ("weatherReport", {"contentBlockIndex": 3}), stop("too_late"), metadata(),
        ],
        [
            STARTED, c.Unsaid("toolUse"), c.PartStarted(0, "text"), c.Delta(0, "a"),
            c.Cited(0, c.Citation(title="t")), c.PartEnded(0), *FINISHED,
        ],
        skipped=4,
        unknown=2,
    ),
    Case(
        "the cache's tokens are added to the input's",
        [
            start(), stop(),
            metadata(5, 7, cacheReadInputTokens=100, cacheWriteInputTokens=20),
        ],
        [STARTED, c.Finished("stop"), c.Reported(Usage(125, 7, 100, 20)), c.Ended()],
    ),
    Case(
        "which stop sequence it was",
        [
            start(),
            stop("stop_sequence", additionalModelResponseFields={"stop_sequence": "X"}),
            metadata(),
        ],
        [
            STARTED, c.Finished("stop_sequence", "X"), c.Reported(Usage(10, 15)),
            c.Ended(),
        ],
    ),
    Case(
        "no usage in the end",
        [start(), stop("max_tokens", additionalModelResponseFields=None)],
        [STARTED, c.Finished("length"), c.Ended()],
    ),
]  # fmt: skip


def read(chunks: Any, reader: ConverseStream | None = None) -> list[c.Event]:
    reader = reader or ConverseStream()
    decoder = EventStreamDecoder()
    found = [frame for chunk in chunks for frame in decoder.feed(chunk)]
    events = [e for frame in found for e in reader.feed(frame)]
    decoder.close()
    return events + reader.close()


def cut(stream: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(at), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_stream_means_the_same_in_every_split(case):
    stream = frames(case.said)
    whole = ConverseStream()
    assert read([stream], whole) == case.events
    assert (whole.skipped, whole.unknown) == (case.skipped, case.unknown)
    assert read([stream[i : i + 1] for i in range(len(stream))]) == case.events


@given(st.data())
def test_any_split_gives_the_same_events(data):
    case = data.draw(st.sampled_from(CASES))
    stream = frames(case.said)
    at = data.draw(st.lists(st.integers(0, len(stream)), max_size=9))
    assert read(cut(stream, at)) == case.events


@pytest.mark.parametrize("case", CASES[:-1], ids=lambda case: case.name)
def test_any_truncation_is_noticed(case):
    stream = frames(case.said)
    # Usage is all that may be missing.
    told = len(stream) - len(message(case.said[-1]))
    for length in range(len(stream)):
        if length == told:
            read([stream[:length]])
            continue
        with pytest.raises(TruncatedStream):
            read([stream[:length]])


@given(st.data())
def test_any_corruption_is_noticed(data):
    stream = bytearray(frames(data.draw(st.sampled_from(CASES)).said))
    stream[data.draw(st.integers(0, len(stream) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProtocolViolation):
        read([bytes(stream)])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_botocore_reads_the_same_payloads(case, service):
    stream = frames(case.said)
    buffer = EventStreamBuffer()
    buffer.add_data(stream)
    ours = EventStreamDecoder().feed(stream)
    theirs = list(buffer)
    assert [frame.name for frame in ours] == [m.headers[":event-type"] for m in theirs]
    assert [frame.data for frame in ours] == [m.payload for m in theirs]
    shape = service.operation_model("ConverseStream").output_shape.members["stream"]
    for frame, theirs_one in zip(ours, theirs, strict=True):
        if b'"start":{}' in frame.data:
            continue  # We are more lenient.
        parsed = EventStreamJSONParser().parse(theirs_one.to_response_dict(), shape)
        known = wire.EVENTS.get(frame.name)
        if known is not None:
            assert list(parsed) == [frame.name]
            known.decode(frame.data)


@pytest.mark.parametrize("before", [[], [start()], [start(), stop()]], ids=len)
def test_an_exception_may_come_at_any_time_and_ends_the_stream(before):
    events = read([frames([*before, THROTTLED])])
    failed = events[-1]
    assert isinstance(failed, c.Failed)
    assert (failed.error.status, failed.error.code) == (429, "rate_limit_exceeded")
    assert failed.error.message == "Too many requests"


STATUSES = {
    "internalServerException": 500, "modelStreamErrorException": 502,
    "validationException": 400, "throttlingException": 429,
    "serviceUnavailableException": 503,
}  # fmt: skip


@pytest.mark.parametrize("kind", STATUSES)
def test_every_exception_of_the_service_has_its_status(kind):
    failed = read([frames([start(), (f":exception {kind}", {"message": "m"})])])[-1]
    assert isinstance(failed, c.Failed)
    assert failed.error.status == STATUSES[kind]


def test_the_exceptions_are_those_of_the_service(service):
    stream = service.operation_model("ConverseStream").output_shape.members["stream"]
    exceptions = {
        name
        for name, shape in stream.members.items()
        if shape.metadata.get("exception")
    }
    assert exceptions == set(STATUSES)
    assert set(stream.members) - exceptions == set(wire.EVENTS)


def test_an_error_of_the_framing_and_a_strange_exception_are_told_as_faults():
    for frame in (
        Frame(":error InternalFailure", b"it broke"),
        Frame(":exception newException", b'{"message":"it broke"}'),
        Frame(":exception", b'{"Message":"it broke"}'),
        Frame(":exception badlySpelled", b"\xff"),
    ):
        failed = ConverseStream().feed(frame)[0]
        assert isinstance(failed, c.Failed)
        assert failed.error.status == 500
        assert failed.error.message


def test_every_stop_reason_of_the_service_is_known(service):
    assert set(FINISH) == set(service.shape_for("StopReason").enum)


@pytest.mark.parametrize("reason", FINISH)
def test_every_stop_reason_ends_a_stream_and_an_answer_alike(reason):
    finished = read([frames([start(), stop(reason), metadata()])])[1]
    assert finished == c.Finished(FINISH[reason])


# ---------------------------------------------------------------- what may not happen

EVENTS: dict[type, Said] = {
    wire.MessageStart: start(),
    wire.BlockStart: tool(8, "t", "n"),
    wire.BlockDelta: delta(7, text="a"),
    wire.BlockStop: end(7),
    wire.MessageStop: stop(),
    wire.Metadata: metadata(),
    wire.Failure: THROTTLED,
}


def frame_of(said: Said) -> Frame:
    return Frame(said[0], msgspec.json.encode(said[1]))


def in_state(state: State) -> ConverseStream:
    reader = ConverseStream()
    said = {
        State.IDLE: [],
        State.OPEN: [start()],
        State.FINISHED: [start(), stop()],
        State.DONE: [start(), stop(), metadata()],
    }[state]
    for one in said:
        reader.feed(frame_of(one))
    assert reader.state is state
    return reader


def test_every_event_is_in_the_table_of_the_test():
    assert set(EVENTS) == set(get_args(wire.Event))


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("state", State, ids=lambda state: state.name)
def test_what_is_not_in_the_table_is_a_violation(state, kind):
    reader = in_state(state)
    if (state, kind) in ConverseStream.NEXT:
        reader.feed(frame_of(EVENTS[kind]))
        assert reader.state is ConverseStream.NEXT[state, kind]
    else:
        with pytest.raises(ProtocolViolation, match=f"{kind.__name__} while"):
            reader.feed(frame_of(EVENTS[kind]))


@pytest.mark.parametrize(
    "said",
    [
        [tool(0, "t", "n"), tool(0, "t", "n")],
        [delta(0, text="a"), begin(0)],
        [end(0), begin(0)],
        [end(0), end(0)],
        [delta(0, text="a"), end(0), delta(0, text="b")],
        [delta(0, text="a"), stop()],
        [delta(0, toolUse={"input": "{}"})],
        [tool(0, "t", "n"), delta(0, text="a")],
        [delta(0, text="a"), thought(0, text="b")],
        [delta(0, text="a"), thought(0, redactedContent="YQ==")],
        [thought(0, redactedContent="YQ=="), thought(0, text="b")],
        [thought(0, redactedContent="YQ=="), thought(0, redactedContent="?"), end(0)],
        [("contentBlockDelta", {"delta": {"text": "a"}})],
        [("contentBlockDelta", {"contentBlockIndex": 0})],
        [delta(0, text=5)],
        [begin(0, toolUse={"name": "x"})],
        [("contentBlockStop", {})],
        [("messageStop", {})],
        [stop(), ("metadata", {"usage": None})],
    ],
    ids=str,
)
def test_a_disorder_is_a_violation(said):
    with pytest.raises(ProtocolViolation):
        read([frames([start(), *said])])


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"\xff\xfe", b"[]", b"null",
        b'{"contentBlockIndex":0,"x":' + b"[" * 100_000,
        b'{"contentBlockIndex":0,"x":"\xff"}',
    ],
    ids=lambda data: data[:30],
)  # fmt: skip
def test_what_cannot_be_read_is_a_violation(data):
    with pytest.raises(ProtocolViolation):
        in_state(State.OPEN).feed(Frame("contentBlockStop", data))


@given(
    st.lists(
        st.sampled_from(
            [*EVENTS.values(), delta(0, text="a"), thought(0, text="b"), end(0), end(1),
             thought(1, redactedContent="YQ=="), thought(1, signature="s"),
             tool(1, "a", "b"), delta(1, toolUse={"input": "{}"}), ("news", {})]
        ),
        max_size=12,
    )
)  # fmt: skip
def test_whatever_comes_parts_are_opened_and_closed_in_order(said):
    reader = ConverseStream()
    events: list[c.Event] = []
    try:
        for one in [start(), *said]:
            events += reader.feed(frame_of(one))
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
            case c.Finished() | c.Reported() | c.Ended():
                assert not opened
            case _:
                pass


# ---------------------------------------------------------------- to the client

CONTEXT = WriterContext("exchange-1", 1_700_000_000, "asked-model", True)


@pytest.mark.parametrize("client", [openai_chat.CLIENT, anthropic.CLIENT])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_client_sees_the_exchanges_id_and_model(case, client):
    out = client.stream_writer(CONTEXT).write(case.events)
    first = msgspec.json.decode(SSEDecoder().feed(out)[0].data)
    first = first.get("message", first)
    assert first["model"] == "asked-model"
    assert "exchange-1" in first["id"]


def anthropic_sse(case: Case) -> list[c.Event]:
    """Return what Anthropic's own stream of the same message amounts to."""
    said: list[Json] = [
        {
            "type": "message_start",
            "message": {
                "id": "", "type": "message", "model": "",
                "usage": {"input_tokens": 10, "output_tokens": 1},
            },
        }
    ]  # fmt: skip
    index = -1
    for event in case.events:
        match event:
            case c.PartStarted(kind="text"):
                block: Json = {"type": "text", "text": ""}
            case c.PartStarted(kind="reasoning", encrypted=str(sealed)):
                block = {"type": "redacted_thinking", "data": sealed}
            case c.PartStarted(kind="reasoning"):
                block = {"type": "thinking", "thinking": "", "signature": ""}
            case c.PartStarted(id=id_, name=name):
                block = {"type": "tool_use", "id": id_, "name": name, "input": {}}
            case _:
                continue
        index += 1
        said.append(
            {"type": "content_block_start", "index": index, "content_block": block}
        )
        words = {"text": "text", "thinking": "thinking", "tool_use": "partial_json"}
        kinds = {"partial_json": "input_json_delta"}
        for more in case.events:
            change: Json | None = None
            if isinstance(more, c.Delta) and more.index == index:
                word = words[block["type"]]
                change = {"type": kinds.get(word, f"{word}_delta"), word: more.text}
            elif isinstance(more, c.SignatureDelta) and more.index == index:
                change = {"type": "signature_delta", "signature": more.signature}
            if change is not None:
                said.append(
                    {"type": "content_block_delta", "index": index, "delta": change}
                )
        said.append({"type": "content_block_stop", "index": index})
    reason = {"tool_calls": "tool_use", "stop": "end_turn"}[
        next(e.finish for e in case.events if isinstance(e, c.Finished))
    ]
    end_delta = {"stop_reason": reason, "stop_sequence": None}
    said += [
        {"type": "message_delta", "delta": end_delta, "usage": {"output_tokens": 15}},
        {"type": "message_stop"},
    ]
    reader = anthropic.PROVIDER.stream_reader()
    return [
        e
        for one in said
        for e in reader.feed(Frame(one["type"], msgspec.json.encode(one)))
    ]


@pytest.mark.parametrize("case", CASES[:5], ids=lambda case: case.name)
def test_the_same_message_over_anthropic_is_the_same(case):
    theirs = anthropic_sse(case)
    assert isinstance(theirs[0], c.Started)
    told = c.Unsaid | c.Cited
    assert theirs[1:] == [e for e in case.events[1:] if not isinstance(e, told)]


# ---------------------------------------------------------------- the stream that passes


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_stream_that_passes_is_not_touched(case):
    stream = frames(case.said)
    told = [e.usage for e in case.events if isinstance(e, c.Reported)]
    for size in (1, 7, len(stream)):
        passage = PROVIDER.passage(True)
        chunks = [stream[i : i + size] for i in range(0, len(stream), size)]
        assert b"".join(map(passage.feed, chunks)) + passage.close() == stream
        assert passage.usage == (told[-1] if told else None)
        assert passage.model is None
        assert passage.error is None


def test_a_stream_that_passes_notes_its_error_and_its_truncation():
    passage = PROVIDER.passage(False)
    passage.feed(frames([start(), THROTTLED]))
    assert passage.error is not None
    assert passage.error.status == 429
    passage.close()
    for stream in (frames(CASES[0].said[:2]), frames(CASES[0].said)[:-1]):
        passage = PROVIDER.passage(True)
        passage.feed(stream)
        with pytest.raises(GatewayError):
            passage.close()


def test_sealed_thoughts_keep_every_byte():
    pieces = [bytes([n]) * n for n in range(1, 8)]
    said = [thought(0, redactedContent=base64.b64encode(p).decode()) for p in pieces]
    events = read([frames([start(), *said, end(0), stop(), metadata()])])
    assert isinstance(events[1], c.PartStarted)
    assert base64.b64decode(events[1].encrypted or "") == b"".join(pieces)
