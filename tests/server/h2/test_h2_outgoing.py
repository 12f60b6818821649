"""Flow control, both ways; the `h2` package raises when we send more than it allows."""

from __future__ import annotations

import pytest
from h2.settings import SettingCodes

from extproc.server.h2 import events, frames
from extproc.server.h2.frames import FrameType, Setting
from extproc.server.h2.limits import Limits
from extproc.server.h2.messages import wrap

BODY = bytes(range(256)) * (20 * 1024 * 4)  # 20 MiB


def change(name, value):
    return frames.settings({name: value})


def sizes(answer, stream_id=None):
    return [
        len(f.payload)
        for f in answer
        if f.kind == FrameType.DATA and stream_id in (None, f.stream)
    ]


@pytest.mark.parametrize(
    "limits", [None, Limits(stream_window=65_535, connection_window=0)]
)
def test_20_mib_come_in_through_their_windows(library_peer, limits):
    peer = library_peer(limits)
    peer.start(1)
    peer.exchange()
    peer.send_body(1, wrap([BODY]))
    assert peer.messages(1) == [BODY]
    assert peer.events[-1] == events.CallHalfClosed(1)


def test_20_mib_go_out_through_a_window_of_64_kib(library_peer):
    peer = library_peer()
    peer.start(1)
    peer.exchange()
    peer.server.send_messages(1, [BODY[:100], BODY, b""], end=True)
    peer.exchange()
    assert peer.bodies[1] == wrap([BODY[:100], BODY, b""])
    assert peer.trailers[1] == {b"grpc-status": b"0"}
    assert peer.server.open_streams == 0


def test_the_answer_waits_for_whichever_window_is_narrower(raw_peer):
    peer = raw_peer()
    peer.open(1)
    peer.server.send_messages(1, [bytes(99_995)], end=True)
    assert sum(sizes(peer.send(b""))) == 65_535
    assert peer.send(frames.window_update(1, 10)) == []
    assert sizes(peer.send(frames.window_update(0, 4))) == [4]
    assert sizes(peer.send(frames.window_update(0, 10))) == [6]
    assert peer.send(frames.window_update(0, 100_000)) == []
    *data, trailers, reset = peer.send(frames.window_update(1, 100_000))
    assert sum(sizes(data)) == 100_000 - 65_545
    assert trailers.flags & frames.END_STREAM
    assert reset.kind == FrameType.RST_STREAM


def test_no_frame_is_larger_than_the_peer_takes(raw_peer):
    peer = raw_peer()
    peer.open(1)
    peer.send(frames.window_update(1, 1 << 20) + frames.window_update(0, 1 << 20))
    peer.server.send_messages(1, [bytes(40_000)])
    assert max(sizes(peer.send(b""))) == 16_384
    peer.send(change(Setting.MAX_FRAME_SIZE, 30_000))
    peer.server.send_messages(1, [bytes(20_000), bytes(9_000)])
    assert sizes(peer.send(b"")) == [29_010]
    assert not peer.server._out._waiting


@pytest.mark.parametrize("window", [0, 1, 1000])
def test_a_smaller_initial_window_can_make_windows_negative(raw_peer, window):
    peer = raw_peer()
    peer.open(1)
    peer.server.send_messages(1, [bytes(59_995)])
    assert sum(sizes(peer.send(b""))) == 60_000
    peer.send(change(Setting.INITIAL_WINDOW_SIZE, window))
    peer.send(frames.window_update(0, 1 << 20))
    peer.server.send_messages(1, [bytes(995)])
    # The stream owes 60,000 bytes less what the window is now.
    assert peer.send(frames.window_update(1, 60_000 - window)) == []
    assert sizes(peer.send(frames.window_update(1, 7))) == [7]
    peer.open(3)
    peer.server.send_messages(3, [bytes(1995)])
    assert sum(sizes(peer.send(b""), 3)) == window
    assert sum(sizes(peer.send(change(Setting.INITIAL_WINDOW_SIZE, 5000)), 3)) == (
        2000 - window
    )


def test_a_wider_initial_window_ends_streams_that_wait(raw_peer):
    peer = raw_peer()
    peer.send(change(Setting.INITIAL_WINDOW_SIZE, 10))
    for stream_id in (1, 3):
        peer.open(stream_id, ended=True)
        peer.server.send_messages(stream_id, [bytes(20)], end=True)
    peer.send(b"")
    assert peer.server.open_streams == 2
    answer = peer.send(change(Setting.INITIAL_WINDOW_SIZE, 25))
    # The acknowledgement (its flag has the same bit) before what it lets go.
    assert [f.stream for f in answer if f.flags & frames.END_STREAM] == [0, 1, 3]
    assert peer.server.open_streams == 0


def test_streams_share_the_connection_window_in_turns(raw_peer):
    peer = raw_peer()
    streams = (1, 3, 5)
    for stream_id in streams:
        peer.open(stream_id)
        peer.send(frames.window_update(stream_id, 1 << 20))
    peer.server.send_messages(1, [bytes(65_530)])
    for stream_id in streams:
        peer.server.send_messages(stream_id, [bytes(200_000)])
    assert set(sizes(peer.send(b""), 3)) == set()
    answer = peer.send(frames.window_update(0, 6 * 16_384))
    assert [sum(sizes(answer, s)) for s in streams] == [2 * 16_384] * 3
    turns = [peer.send(frames.window_update(0, 100))[0].stream for _ in range(6)]
    assert turns == [1, 3, 5, 1, 3, 5]


def test_a_small_answer_waits_for_the_connection_too(raw_peer):
    peer = raw_peer()
    peer.open(1)
    peer.open(3)
    peer.server.send_messages(1, [bytes(65_525)])
    assert sum(sizes(peer.send(b""))) == 65_530
    peer.server.send_messages(3, [b"small"], end=True)
    assert sizes(peer.send(b""), 3) == [5]
    assert sizes(peer.send(frames.window_update(0, 100)), 3) == [5]


def test_the_reserved_bit_of_a_window_update_means_nothing(raw_peer):
    peer = raw_peer()
    peer.open(1)
    peer.server.send_messages(1, [bytes(70_000)])
    peer.send(frames.window_update(1, 1 << 20))
    assert sizes(peer.send(frames.window_update(0, 1 << 31 | 7))) == [7]


def test_what_waits_for_a_canceled_call_is_forgotten(raw_peer):
    peer = raw_peer()
    peer.open(1)
    peer.server.send_messages(1, [bytes(200_000)], end=True)
    peer.send(frames.rst_stream(1, 8))
    assert peer.server._out.queued == 0
    assert peer.send(frames.window_update(0, 1 << 20)) == []


def test_what_comes_while_the_end_waits_is_not_read(raw_peer):
    peer = raw_peer()
    peer.open(1)
    peer.server.send_messages(1, [bytes(70_000)], end=True)
    peer.send(b"")
    before = list(peer.events)
    last = wrap([b"more", b"and more"]) + b"\0\0"
    assert peer.send(frames.frame(FrameType.DATA, 0, 1, last)) == []
    assert peer.send(frames.frame(FrameType.DATA, frames.END_STREAM, 1, b"\1")) == []
    assert peer.events == before
    assert not peer.server.send_messages(1, [b"too late"])
    peer.server.finish(1, status=13)
    peer.send(frames.window_update(1, 10_000))
    *_, trailers = peer.send(frames.window_update(0, 10_000))
    # Both have ended now, so there is nothing to reset.
    assert trailers.kind == FrameType.HEADERS
    assert peer.server.open_streams == 0


def test_empty_messages_pass_a_closed_window_only_as_bytes(raw_peer):
    peer = raw_peer()
    peer.send(change(Setting.INITIAL_WINDOW_SIZE, 0))
    peer.open(1)
    peer.server.send_messages(1, [b""])
    assert sizes(peer.send(b"")) == []
    assert sizes(peer.send(frames.window_update(1, 3))) == [3]
    peer.server.send_messages(1, [], end=True)
    *data, trailers, _reset = peer.send(frames.window_update(1, 3))
    assert sizes(data) == [2]
    assert trailers.flags & frames.END_STREAM


def test_settings_of_the_library_are_obeyed(library_peer):
    peer = library_peer()
    peer.h2.update_settings(
        {SettingCodes.INITIAL_WINDOW_SIZE: 100, SettingCodes.MAX_FRAME_SIZE: 20_000}
    )
    peer.start(1)
    peer.exchange()
    peer.server.send_messages(1, [BODY[:100_000]], end=True)
    peer.exchange()
    assert peer.bodies[1] == wrap([BODY[:100_000]])


def test_a_stream_that_is_stalled_gets_no_window_until_it_is_let_on(raw_peer):
    peer = raw_peer(Limits(stream_window=100_000))
    peer.open(1)
    peer.open(3)
    peer.server.stall(1)
    peer.server.stall(99)
    data = frames.frame(FrameType.DATA, 0, 1, wrap([bytes(59_995)]))
    assert [one for one in peer.send(data) if one.stream == 1] == []
    other = frames.frame(FrameType.DATA, 0, 3, wrap([bytes(59_995)]))
    assert [one.kind for one in peer.send(other) if one.stream] == [
        FrameType.WINDOW_UPDATE
    ]
    peer.server.let_on(1)
    peer.server.let_on(1)
    peer.server.let_on(99)
    (update,) = peer.send(b"")
    assert (update.kind, update.stream) == (FrameType.WINDOW_UPDATE, 1)
    assert int.from_bytes(update.payload) == 60_000
