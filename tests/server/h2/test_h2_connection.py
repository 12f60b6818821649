"""What bytes on a connection amount to: legal ones as events, faults as RFC 9113 says."""

from __future__ import annotations

import pytest

from extproc.server.h2 import events, frames
from extproc.server.h2.errors import ErrorCode
from extproc.server.h2.frames import ACK, END_HEADERS, END_STREAM, FrameType, Setting
from extproc.server.h2.limits import Limits

F = FrameType
SPLITS = [None, 1, 7]


def message(payload):
    return b"\0" + len(payload).to_bytes(4, "big") + payload


def data(payload=b"", flags=0, stream=1):
    return frames.frame(F.DATA, flags, stream, payload)


def setting(name, value):
    return frames.frame(
        F.SETTINGS, 0, 0, name.to_bytes(2, "big") + value.to_bytes(4, "big")
    )


def padded(kind, payload, padding, *, flags=0, stream=1):
    body = bytes((padding,)) + payload + bytes(padding)
    return frames.frame(kind, flags | frames.PADDED, stream, body)


CONNECTION_ERRORS = [
    # Sections of RFC 9113.
    ("4.2 frame over MAX_FRAME_SIZE", frames.HEAD.pack(0x0400_01 << 8, 0, 1), "FRAME_SIZE_ERROR"),
    ("4.3 block that cannot be decoded", frames.frame(F.HEADERS, 4, 1, b"\xff\xff\xff"), "COMPRESSION_ERROR"),
    ("4.3 index beyond the tables", frames.frame(F.HEADERS, 4, 1, b"\xbe"), "COMPRESSION_ERROR"),
    ("4.3 literal cut short", frames.frame(F.HEADERS, 4, 1, b"\x00\x00"), "COMPRESSION_ERROR"),
    ("4.3.1 table size above ours", frames.frame(F.HEADERS, 4, 1, b"\x3f\xe1\x1f\x82"), "COMPRESSION_ERROR"),
    ("4.3.1 no size update after the acknowledgement", frames.frame(F.HEADERS, 4, 1, b"\x83\x86"), "COMPRESSION_ERROR"),
    ("5.1.1 even stream", frames.frame(F.HEADERS, 4, 2, b"\x20\x83"), "PROTOCOL_ERROR"),
    ("6.1 DATA on stream 0", data(b"x", stream=0), "PROTOCOL_ERROR"),
    ("6.2 HEADERS on stream 0", frames.frame(F.HEADERS, 4, 0, b"\x20"), "PROTOCOL_ERROR"),
    ("6.2 HEADERS with more padding than frame", frames.frame(F.HEADERS, 4 | 8, 1, b"\x09abc"), "PROTOCOL_ERROR"),
    ("6.2 PADDED HEADERS without a length", frames.frame(F.HEADERS, 4 | 8, 1), "FRAME_SIZE_ERROR"),
    ("6.2 HEADERS without room for its priority", frames.frame(F.HEADERS, 4 | 0x20, 1, b"abc"), "FRAME_SIZE_ERROR"),
    ("6.3 PRIORITY on stream 0", frames.frame(F.PRIORITY, 0, 0, bytes(5)), "PROTOCOL_ERROR"),
    ("6.3 short PRIORITY on an idle stream", frames.frame(F.PRIORITY, 0, 9, bytes(4)), "FRAME_SIZE_ERROR"),
    ("6.4 RST_STREAM of three bytes", frames.frame(F.RST_STREAM, 0, 1, bytes(3)), "FRAME_SIZE_ERROR"),
    ("6.4 RST_STREAM on an idle stream", frames.rst_stream(9, 8), "PROTOCOL_ERROR"),
    ("6.4 RST_STREAM on stream 0", frames.rst_stream(0, 8), "PROTOCOL_ERROR"),
    ("6.5 SETTINGS acknowledgement with a payload", frames.frame(F.SETTINGS, ACK, 0, bytes(6)), "FRAME_SIZE_ERROR"),
    ("6.5 SETTINGS on a stream", frames.frame(F.SETTINGS, 0, 1), "PROTOCOL_ERROR"),
    ("6.5 SETTINGS of seven bytes", frames.frame(F.SETTINGS, 0, 0, bytes(7)), "FRAME_SIZE_ERROR"),
    ("6.5.2 ENABLE_PUSH 2", setting(Setting.ENABLE_PUSH, 2), "PROTOCOL_ERROR"),
    ("6.5.2 INITIAL_WINDOW_SIZE too large", setting(Setting.INITIAL_WINDOW_SIZE, 2**31), "FLOW_CONTROL_ERROR"),
    ("6.5.2 MAX_FRAME_SIZE too small", setting(Setting.MAX_FRAME_SIZE, 16_383), "PROTOCOL_ERROR"),
    ("6.5.2 MAX_FRAME_SIZE too large", setting(Setting.MAX_FRAME_SIZE, 2**24), "PROTOCOL_ERROR"),
    ("6.6 PUSH_PROMISE", frames.frame(F.PUSH_PROMISE, 4, 1, bytes(8)), "PROTOCOL_ERROR"),
    ("6.7 PING of seven bytes", frames.frame(F.PING, 0, 0, bytes(7)), "FRAME_SIZE_ERROR"),
    ("6.7 PING on a stream", frames.frame(F.PING, 0, 1, bytes(8)), "PROTOCOL_ERROR"),
    ("6.8 GOAWAY on a stream", frames.frame(F.GOAWAY, 0, 1, bytes(8)), "PROTOCOL_ERROR"),
    ("6.8 GOAWAY cut short", frames.frame(F.GOAWAY, 0, 0, bytes(7)), "FRAME_SIZE_ERROR"),
    ("6.9 WINDOW_UPDATE of nothing for the connection", frames.window_update(0, 0), "PROTOCOL_ERROR"),
    ("6.9 WINDOW_UPDATE of five bytes", frames.frame(F.WINDOW_UPDATE, 0, 0, bytes(5)), "FRAME_SIZE_ERROR"),
    ("6.9 WINDOW_UPDATE on an idle stream", frames.window_update(9, 1), "PROTOCOL_ERROR"),
    ("6.9.1 connection window too wide", frames.window_update(0, 2**31 - 1), "FLOW_CONTROL_ERROR"),
    ("6.10 CONTINUATION of nothing", frames.frame(F.CONTINUATION, 4, 1, b""), "PROTOCOL_ERROR"),
    ("6.10 PING within a header block", frames.frame(F.HEADERS, 0, 1, b"\x20") + frames.frame(F.PING, 0, 0, bytes(8)), "PROTOCOL_ERROR"),
    ("6.10 unknown frame within a header block", frames.frame(F.HEADERS, 0, 1, b"\x20") + frames.HEAD.pack(0xBE, 0, 1), "PROTOCOL_ERROR"),
    ("6.10 CONTINUATION of another stream", frames.frame(F.HEADERS, 0, 1, b"\x20") + frames.frame(F.CONTINUATION, 4, 3, b""), "PROTOCOL_ERROR"),
]  # fmt: skip


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(
    ("sent", "code"),
    [pytest.param(sent, code, id=name) for name, sent, code in CONNECTION_ERRORS],
)
def test_a_connection_error_is_a_goaway_with_its_code(raw_peer, sent, code, split):
    peer = raw_peer(split=split)
    answer = peer.send(sent)
    assert [(f.kind, f.stream) for f in answer] == [(F.GOAWAY, 0)]
    assert ErrorCode(answer[0].code).name == code
    assert [type(e) for e in peer.events] == [events.ConnectionFailed]
    assert peer.events[0].code.name == code
    # Nothing that comes after it is read.
    assert peer.send(frames.frame(F.PING, 0, 0, bytes(8))) == []


OPEN_STREAM_ERRORS = [
    ("5.1 DATA after END_STREAM", data(flags=END_STREAM) + data(b"x"), "STREAM_CLOSED"),
    ("6.3 PRIORITY of four bytes", frames.frame(F.PRIORITY, 0, 1, bytes(4)), "FRAME_SIZE_ERROR"),
    ("6.9 WINDOW_UPDATE of nothing", frames.window_update(1, 0), "PROTOCOL_ERROR"),
    ("6.9.1 stream window too wide", frames.window_update(1, 2**31 - 1), "FLOW_CONTROL_ERROR"),
    ("8.1 second header block without END_STREAM", frames.frame(F.HEADERS, 4, 1, b"\x00\x01a\x01b"), "PROTOCOL_ERROR"),
    ("8.1 pseudo-header in trailers", frames.frame(F.HEADERS, 5, 1, b"\x83"), "PROTOCOL_ERROR"),
]  # fmt: skip


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(
    ("sent", "code"),
    [pytest.param(sent, code, id=name) for name, sent, code in OPEN_STREAM_ERRORS],
)
def test_a_stream_error_resets_only_its_stream(raw_peer, sent, code, split):
    peer = raw_peer(split=split)
    peer.open(1)
    peer.open(3)
    answer = peer.send(sent)
    assert [(f.kind, f.stream) for f in answer] == [(F.RST_STREAM, 1)]
    assert ErrorCode(answer[0].code).name == code
    assert peer.events[-1] == events.CallCanceled(1, ErrorCode[code])
    peer.send(data(message(b"still here"), stream=3))
    assert peer.events[-1] == events.MessagesReceived(3, [b"still here"])


@pytest.mark.parametrize(
    ("after", "code"),
    [
        (frames.window_update(0, 2**31 - 1 - 65_535), None),
        (frames.window_update(1, 2**31 - 1 - 65_535), None),
        (setting(Setting.INITIAL_WINDOW_SIZE, 2**31 - 1), None),
        (
            frames.window_update(1, 1)
            + setting(Setting.INITIAL_WINDOW_SIZE, 2**31 - 1),
            ErrorCode.FLOW_CONTROL_ERROR,
        ),
    ],
)
def test_a_window_may_be_as_wide_as_31_bits(raw_peer, after, code):
    peer = raw_peer()
    peer.open(1)
    goaways = [f.code for f in peer.send(after) if f.kind == F.GOAWAY]
    assert goaways == ([] if code is None else [code])


def test_padding_over_the_frame_of_data_ends_the_connection(raw_peer):
    peer = raw_peer()
    peer.open(1)
    (goaway,) = peer.send(frames.frame(F.DATA, frames.PADDED, 1, b"\x05abcd"))
    assert goaway.code == ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("stream_window", "kind"), [(1000, F.RST_STREAM), (65_536, F.GOAWAY)]
)
def test_an_overrun_window_is_a_flow_control_error(raw_peer, stream_window, kind):
    """The stream's window is overrun in one case, only the connection's in the other."""
    limits = Limits(stream_window=stream_window, connection_window=65_535)
    sent = data(message(b"x" * (stream_window - 5)))
    peer = raw_peer(limits)
    peer.open(1)
    if kind is F.RST_STREAM:
        sent = data(message(b"x" * (stream_window - 4)))
    (answer,) = peer.send(sent)
    assert (answer.kind, answer.code) == (kind, ErrorCode.FLOW_CONTROL_ERROR)
    assert not [e for e in peer.events if type(e) is events.MessagesReceived]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(
    "preface",
    [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nXX", b"\x16\x03\x01"],
)
def test_another_protocol_is_refused_as_soon_as_it_shows(raw_peer, preface, split):
    peer = raw_peer(split=split, shake=False)
    (goaway,) = peer.send(preface)
    assert (goaway.kind, goaway.code) == (F.GOAWAY, ErrorCode.PROTOCOL_ERROR)


@pytest.mark.parametrize(
    "first",
    [
        frames.frame(F.PING, 0, 0, bytes(8)),
        frames.frame(F.SETTINGS, ACK, 0),
        frames.frame(F.HEADERS, 4, 1, b"\x83"),
    ],
)
def test_the_first_frame_must_be_settings(raw_peer, first):
    peer = raw_peer(shake=False)
    (goaway,) = peer.send(frames.PREFACE + first)
    assert (goaway.kind, goaway.code) == (F.GOAWAY, ErrorCode.PROTOCOL_ERROR)


def test_the_greeting_says_what_we_take(raw_peer):
    limits = Limits()
    settings, update = raw_peer(limits, shake=False).greeting
    assert dict(frames.read_settings(settings.payload)) == {
        Setting.HEADER_TABLE_SIZE: 0,
        Setting.MAX_CONCURRENT_STREAMS: limits.concurrent_streams,
        Setting.INITIAL_WINDOW_SIZE: limits.stream_window,
        Setting.MAX_FRAME_SIZE: limits.frame,
        Setting.MAX_HEADER_LIST_SIZE: limits.header_list,
    }
    assert 65_535 + int.from_bytes(update.payload) == limits.connection_window


@pytest.mark.parametrize("split", SPLITS)
def test_a_call_from_its_start_to_its_end(raw_peer, split):
    peer = raw_peer(split=split)
    sent = (
        peer.request(1) + data(message(b"one") + message(b"")) + data(message(b"two"))
    )
    peer.send(sent + data(flags=END_STREAM))
    started, *rest = peer.events
    assert started.path == "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
    assert (b"te", b"trailers") in started.headers
    assert rest == [
        events.MessagesReceived(1, [b"one", b""]),
        events.MessagesReceived(1, [b"two"]),
        events.CallHalfClosed(1),
    ]
    assert peer.server.send_messages(1, [b"uno", b"dos"], end=True)
    head, body, trailers = peer.send(b"")
    assert peer.fields(head) == {
        b":status": b"200",
        b"content-type": b"application/grpc",
    }
    assert body.payload == message(b"uno") + message(b"dos")
    assert peer.fields(trailers) == {b"grpc-status": b"0"}
    assert [f.flags & END_STREAM for f in (head, body, trailers)] == [0, 0, END_STREAM]
    assert peer.server.open_streams == 0


def test_an_early_answer_frees_the_stream_and_forgives_what_was_on_its_way(raw_peer):
    peer = raw_peer()
    peer.open(1)
    peer.server.send_messages(1, [b"enough"], end=True)
    *_, trailers, reset = peer.send(b"")
    assert trailers.flags & END_STREAM
    assert (reset.kind, reset.code) == (F.RST_STREAM, ErrorCode.NO_ERROR)
    before = list(peer.events)
    assert peer.send(data(message(b"late")) + frames.rst_stream(1, 8)) == []
    assert peer.events == before


@pytest.mark.parametrize("split", SPLITS)
def test_padding_priority_and_continuation_change_nothing(raw_peer, split):
    peer = raw_peer(split=split)
    block = peer.request(1)[frames.HEAD_SIZE :]
    head = bytes((4,)) + bytes(5) + block[:10] + bytes(4)
    flags = frames.PADDED | frames.PRIORITIZED
    peer.send(
        frames.frame(F.HEADERS, flags, 1, head)
        + frames.frame(F.CONTINUATION, 0, 1, block[10:20])
        + frames.frame(F.CONTINUATION, 0, 1)
        + frames.frame(F.CONTINUATION, END_HEADERS, 1, block[20:])
        + padded(F.DATA, message(b"hello"), 200)
        + padded(F.DATA, b"", 0)
        + padded(F.DATA, b"", 3, flags=END_STREAM)
    )
    assert [type(e) for e in peer.events] == [
        events.CallStarted,
        events.MessagesReceived,
        events.CallHalfClosed,
    ]
    assert peer.events[1].messages == [b"hello"]


def test_trailers_half_close(raw_peer):
    peer = raw_peer()
    peer.open(1)
    peer.send(frames.frame(F.HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x01a\x01b"))
    assert peer.events[-1] == events.CallHalfClosed(1)


def test_ping_is_answered_and_its_answer_is_not(raw_peer):
    peer = raw_peer()
    (pong,) = peer.send(frames.frame(F.PING, 0, 0, b"abcdefgh"))
    assert (pong.kind, pong.flags, pong.payload) == (F.PING, ACK, b"abcdefgh")
    assert peer.send(frames.frame(F.PING, ACK, 0, b"abcdefgh")) == []


def test_settings_are_acknowledged_and_unknown_ones_ignored(raw_peer):
    peer = raw_peer()
    (answer,) = peer.send(frames.frame(F.SETTINGS, 0, 0, b"\xaa\xaa\0\0\0\1"))
    assert (answer.kind, answer.flags, answer.payload) == (F.SETTINGS, ACK, b"")


def test_reset_cancels_the_call(raw_peer):
    peer = raw_peer()
    peer.open(1)
    assert peer.send(frames.rst_stream(1, 8)) == []
    assert peer.events[-1] == events.CallCanceled(1, ErrorCode.CANCEL)
    assert not peer.server.send_messages(1, [b"nobody listens"])
    peer.server.finish(1)
    peer.server.reset(1, ErrorCode.CANCEL)
    assert peer.send(b"") == []


def test_drain_lets_open_calls_end_and_refuses_new_ones(raw_peer):
    peer = raw_peer()
    peer.open(1)
    peer.server.shutdown()
    peer.server.shutdown()
    first, ping = peer.send(b"")
    assert (first.kind, first.payload[:4], first.code) == (
        F.GOAWAY,
        b"\x7f\xff\xff\xff",
        0,
    )
    # Only our own PING's answer counts.
    assert peer.send(frames.frame(F.PING, ACK, 0, b"another?")) == []
    # One that was on its way when the first GOAWAY left is served.
    peer.open(3)
    (second,) = peer.send(frames.frame(F.PING, ACK, 0, ping.payload))
    assert (second.kind, second.payload[:4], second.code) == (
        F.GOAWAY,
        bytes((0, 0, 0, 3)),
        0,
    )
    started = [e.stream_id for e in peer.events if type(e) is events.CallStarted]
    assert started == [1, 3]
    assert peer.open(5) == []
    assert peer.send(data(message(b"x"), stream=5)) == []
    assert peer.events[-1].stream_id == 3
    peer.server.finish(1)
    assert not peer.server.drained
    peer.server.send_messages(3, [b"bye"], end=True)
    assert peer.server.drained


def test_a_goaway_of_the_peer_leaves_its_calls_alone(raw_peer):
    peer = raw_peer()
    peer.open(1)
    assert peer.send(frames.goaway(0, 0, "leaving")) == []
    peer.send(data(message(b"more")))
    assert peer.events[-1] == events.MessagesReceived(1, [b"more"])


def test_abandon_says_goodbye_once(raw_peer):
    peer = raw_peer()
    peer.open(1)
    peer.server.abandon()
    peer.server.abandon()
    (goaway,) = peer.send(b"")
    assert (goaway.kind, goaway.code, goaway.payload[:4]) == (
        F.GOAWAY,
        0,
        bytes((0, 0, 0, 1)),
    )
    assert peer.send(frames.frame(F.PING, 0, 0, bytes(8))) == []
