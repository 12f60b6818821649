"""Peers that attack: each limit holds, the connection ends with ENHANCE_YOUR_CALM."""

from __future__ import annotations

import pytest

from extproc.server.h2 import calls, events, frames
from extproc.server.h2.errors import ErrorCode
from extproc.server.h2.frames import ACK, END_HEADERS, END_STREAM, FrameType
from extproc.server.h2.limits import Limits

F = FrameType
LIMITS = Limits(control_frames=20, resets=20, hollow_frames=20, continuations=4)


def rapid_reset(peer, stream_id):
    return peer.request(stream_id) + frames.rst_stream(stream_id, ErrorCode.CANCEL)


def made_us_reset(peer, stream_id):
    return peer.request(stream_id) + frames.window_update(stream_id, 0)


def malformed(peer, stream_id):
    return peer.request(stream_id, headers=[(b":path", b"/")])


FLOODS = {
    "PING": lambda _peer, _id: frames.frame(F.PING, 0, 0, bytes(8)),
    "PING answers": lambda _peer, _id: frames.frame(F.PING, ACK, 0, bytes(8)),
    "SETTINGS": lambda _peer, _id: frames.settings({}),
    "SETTINGS answers": lambda _peer, _id: frames.frame(F.SETTINGS, ACK, 0),
    "rapid reset": rapid_reset,
    "made us reset": made_us_reset,
    "malformed requests": malformed,
    "PRIORITY": lambda _peer, _id: frames.frame(F.PRIORITY, 0, 1, bytes(5)),
    "unknown frames": lambda _peer, _id: frames.HEAD.pack(0xBE, 0, 0),
    "empty DATA": lambda _peer, _id: frames.frame(F.DATA, 0, 1),
    "padding alone": lambda _peer, _id: frames.frame(F.DATA, 8, 1, b"\x02\0\0"),
    "frames for a closed stream": lambda _peer, _id: frames.rst_stream(3, 8),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_flood_ends_the_connection(raw_peer, flood):
    peer = raw_peer(LIMITS)
    peer.open(1)
    peer.open(3, ended=True)
    peer.server.finish(3)
    for number in range(15):
        answer = peer.send(flood(peer, 5 + 2 * number))
        assert F.GOAWAY not in [f.kind for f in answer]
    # A peer that is only busy has as much again in each period.
    peer.server.replenish()
    for number in range(15, 35):
        answer = peer.send(flood(peer, 5 + 2 * number))
        assert F.GOAWAY not in [f.kind for f in answer]
    *_, goaway = peer.send(flood(peer, 5 + 2 * 35))
    assert (goaway.kind, goaway.code) == (F.GOAWAY, ErrorCode.ENHANCE_YOUR_CALM)
    assert type(peer.events[-1]) is events.ConnectionFailed
    assert peer.server.open_streams == 0


def test_a_header_block_has_no_end_only_so_long(raw_peer):
    for pieces, size in ((5, 0), (1, 70_000)):
        peer = raw_peer(LIMITS)
        sent = frames.frame(F.HEADERS, END_STREAM, 1, b"\x20")
        sent += frames.frame(F.CONTINUATION, 0, 1, bytes(size)) * pieces
        (goaway,) = peer.send(sent)
        assert goaway.code == ErrorCode.ENHANCE_YOUR_CALM


def test_a_block_in_as_many_frames_as_allowed_is_read(raw_peer):
    peer = raw_peer(LIMITS)
    block = peer.request(1)[9:]
    sent = frames.frame(F.HEADERS, 0, 1, block)
    sent += frames.frame(F.CONTINUATION, 0, 1) * 3
    peer.send(sent + frames.frame(F.CONTINUATION, END_HEADERS, 1))
    assert [type(e) for e in peer.events] == [events.CallStarted]


def test_one_stream_too_many_is_refused_and_the_next_is_not(raw_peer):
    peer = raw_peer(Limits(concurrent_streams=2))
    peer.open(1)
    peer.open(3)
    (refused,) = peer.open(5)
    assert (refused.kind, refused.stream) == (F.RST_STREAM, 5)
    assert refused.code == ErrorCode.REFUSED_STREAM
    peer.server.finish(1)
    peer.server.data_to_send()
    assert peer.open(7) == []
    assert peer.events[-1].stream_id == 7


def test_who_takes_no_answers_loses_the_call(raw_peer):
    peer = raw_peer(Limits(outgoing=100_000))
    peer.open(1)
    peer.open(3)
    # 65,535 bytes fit into the windows, and do not wait.
    assert peer.server.send_messages(1, [bytes(95_000)])
    assert peer.server.send_messages(1, [bytes(60_000)])
    assert not peer.server.send_messages(1, [bytes(60_000)])
    *_, reset = peer.send(b"")
    assert (reset.kind, reset.stream) == (F.RST_STREAM, 1)
    assert reset.code == ErrorCode.ENHANCE_YOUR_CALM
    # What waited for it is gone, so others have room.
    assert peer.server.send_messages(3, [bytes(99_000)])


def test_closed_streams_are_remembered_for_a_while_only(raw_peer, monkeypatch):
    monkeypatch.setattr(calls, "REMEMBERED_STREAMS", 4)
    peer = raw_peer()
    for stream_id in range(1, 101, 2):
        peer.open(stream_id)
        peer.server.finish(stream_id)
        peer.server.data_to_send()
        assert len(peer.server._calls._closed) <= 8
        for recent in range(max(1, stream_id - 6), stream_id + 1, 2):
            assert peer.send(frames.frame(F.DATA, 0, recent, b"late")) == []
    (goaway,) = peer.send(frames.frame(F.DATA, 0, 1, b"much too late"))
    assert goaway.code == ErrorCode.STREAM_CLOSED
