"""Anthropic's events in Bedrock's framing: the same events, and the same goldens."""

from __future__ import annotations

import base64
import itertools

import msgspec
import pytest
from anthropic.lib.bedrock._stream_decoder import AWSEventStreamDecoder
from hypothesis import given, strategies as st

from extproc import canonical as c
from extproc.errors import ProtocolViolation, TruncatedStream
from extproc.formats.anthropic.invoke import INVOKE_STREAM, KINDS, InvokePassage
from extproc.formats.anthropic.passage import MessagePassage
from extproc.formats.anthropic.stream import MessageStream
from extproc.framing.sse import SSEDecoder
from extproc.local.mock.bedrock import frames

EVENTS = [
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": "claude-sonnet-4-5-20250929",
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 10, "output_tokens": 1},
        },
    },
    {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    },
    {"type": "ping"},
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": 'Grüße\nan "alle"'},
    },
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 15},
    },
    {
        "type": "message_stop",
        "amazon-bedrock-invocationMetrics": {"inputTokenCount": 10},
    },
]


def chunk(event):
    encoded = base64.b64encode(msgspec.json.encode(event)).decode()
    return frames.message("event", "chunk", {"bytes": encoded, "p": "abcd"})


def exception(kind, message="Slow down."):
    return frames.message("exception", kind, {"message": message})


def sse(event):
    data = msgspec.json.encode(event)
    return b"event: %s\ndata: %s\n\n" % (event["type"].encode(), data)


FRAMED = b"".join(map(chunk, EVENTS))
SSE = b"".join(map(sse, EVENTS))


def splits(data, cuts):
    edges = [0, *sorted(cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def read(decoder, pieces):
    reader, out = MessageStream(), []
    for piece in pieces:
        for frame in decoder.feed(piece):
            out += reader.feed(frame)
    for frame in decoder.close():
        out += reader.feed(frame)
    return out + reader.close()


def passed(pieces):
    passage, out = InvokePassage(), b""
    for piece in pieces:
        out += passage.feed(piece)
    return out + passage.close(), passage


CUTS = st.lists(st.integers(0, len(FRAMED)), max_size=12)


@given(CUTS)
def test_the_events_are_those_of_the_same_stream_over_sse(cuts):
    decoder = INVOKE_STREAM.decoder()
    assert read(decoder, splits(FRAMED, cuts)) == read(SSEDecoder(), [SSE])


def test_every_byte_may_come_by_itself():
    pieces = [FRAMED[i : i + 1] for i in range(len(FRAMED))]
    assert read(INVOKE_STREAM.decoder(), pieces) == read(SSEDecoder(), [SSE])
    assert passed(pieces)[0] == SSE


@given(CUTS)
def test_a_client_of_anthropics_api_gets_its_own_framing(cuts):
    bytes_, passage = passed(splits(FRAMED, cuts))
    assert bytes_ == SSE
    straight = MessagePassage()
    straight.feed(SSE)
    assert (passage.usage, passage.model) == (straight.usage, straight.model)
    assert passage.error is None


def test_anthropics_own_sdk_reads_the_same():
    theirs = [
        (e.event, e.data) for e in AWSEventStreamDecoder().iter_bytes(iter([FRAMED]))
    ]
    ours = [(f.name, f.data.decode()) for f in INVOKE_STREAM.decoder().feed(FRAMED)]
    assert ours == theirs


@pytest.mark.parametrize("kind", [*KINDS, "modelStreamErrorException", "newException"])
def test_an_exception_is_an_error_event_to_everybody(kind):
    data = chunk(EVENTS[0]) + exception(kind)
    (_, failed) = read(INVOKE_STREAM.decoder(), [data])
    assert isinstance(failed, c.Failed)
    # What is about the gateway's own account is not for the client to read.
    told = "does not accept" if kind == "accessDeniedException" else "Slow down."
    assert told in str(failed.error)
    bytes_, passage = passed([data])
    assert b"event: error\n" in bytes_
    assert KINDS.get(kind, "api_error").encode() in bytes_
    assert passage.error is not None


@pytest.mark.parametrize("end", range(1, len(EVENTS) - 1))
def test_a_stream_that_ends_early_is_noticed(end):
    data = b"".join(map(chunk, EVENTS[:end]))
    with pytest.raises(TruncatedStream):
        read(INVOKE_STREAM.decoder(), [data])
    with pytest.raises(TruncatedStream):
        passed([data])
    with pytest.raises(TruncatedStream):
        passed([data[:-3]])


@pytest.mark.parametrize(
    "payload",
    [{"bytes": "%%%="}, {"bytes": 1}, {}, {"bytes": base64.b64encode(b"{").decode()}],
)
def test_a_chunk_without_an_event_is_a_violation(payload):
    broken = frames.message("event", "chunk", payload)
    with pytest.raises(ProtocolViolation):
        INVOKE_STREAM.decoder().feed(broken)


def test_a_message_of_another_type_is_nobodys():
    assert INVOKE_STREAM.decoder().feed(frames.message("event", "news", {})) == []


def test_a_line_end_between_tokens_cannot_end_an_event():
    pretty = msgspec.json.format(msgspec.json.encode(EVENTS[2]), indent=1)
    encoded = base64.b64encode(pretty).decode()
    data = frames.message("event", "chunk", {"bytes": encoded})
    (line, *_) = InvokePassage().feed(data).split(b"data: ")[1].split(b"\n\n")
    assert msgspec.json.decode(line) == EVENTS[2]
