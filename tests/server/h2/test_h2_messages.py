"""gRPC messages at any split, and those that a call is ended for."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from extproc.server.h2 import events, frames
from extproc.server.h2.errors import Status
from extproc.server.h2.frames import END_STREAM, FrameType
from extproc.server.h2.limits import Limits
from extproc.server.h2.messages import MessageCutter, Unacceptable, wrap


@given(st.lists(st.binary(max_size=40), max_size=6), st.data())
def test_any_split_gives_the_same_messages(messages, draw):
    whole = wrap(messages)
    cuts = draw.draw(st.lists(st.integers(0, len(whole)), max_size=8))
    edges = [0, *sorted(cuts), len(whole)]
    cutter, found = MessageCutter(), []
    for start, stop in pairwise(edges):
        found += cutter.feed(whole, start, stop, 40)
    assert found == messages
    assert cutter.size == 0


@given(st.lists(st.binary(min_size=1, max_size=10), min_size=1, max_size=4), st.data())
def test_what_is_held_back_is_what_is_not_whole(messages, draw):
    whole = wrap(messages)
    stop = draw.draw(st.integers(0, len(whole)))
    cutter = MessageCutter()
    found = cutter.feed(whole, 0, stop, 10)
    assert cutter.size == stop - len(wrap(found))
    cutter.clear()
    assert cutter.feed(wrap([b"next"]), 0, 9, 10) == [b"next"]


@pytest.mark.parametrize("split", [None, 1, 6])
@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (b"\1\0\0\0\1x", Status.UNIMPLEMENTED),
        (b"\xff\0\0\0\0", Status.UNIMPLEMENTED),
        (b"\0\0\0\0\x0bhello world", Status.RESOURCE_EXHAUSTED),
        (b"\0\xff\xff\xff\xff", Status.RESOURCE_EXHAUSTED),
    ],
)
def test_an_unacceptable_message_ends_the_call_alone(raw_peer, bad, status, split):
    peer = raw_peer(Limits(message=10), split=split)
    peer.open(1)
    peer.open(3)
    answer = peer.send(frames.frame(FrameType.DATA, 0, 1, wrap([b"good"]) + bad))
    fields = peer.fields(answer[0])
    assert fields[b":status"] == b"200"
    assert fields[b"grpc-status"] == b"%d" % status
    assert fields[b"grpc-message"]
    good, refused = peer.events[-2:]
    assert good == events.MessagesReceived(1, [b"good"])
    assert (refused.stream_id, refused.status) == (1, status)
    # What the client had on its way is no fault, and the other call goes on.
    assert peer.send(frames.frame(FrameType.DATA, END_STREAM, 1, wrap([b"x"]))) == []
    peer.send(frames.frame(FrameType.DATA, 0, 3, wrap([b"other"])))
    assert peer.events[-1] == events.MessagesReceived(3, [b"other"])


def test_the_cutter_says_what_came_before_the_unacceptable():
    with pytest.raises(Unacceptable) as caught:
        MessageCutter().feed(wrap([b"a", b"b"]) + b"\1\0\0\0\0", 0, 17, 10)
    assert caught.value.before == [b"a", b"b"]


def test_a_message_cut_short_by_the_half_close_is_an_internal_error(raw_peer):
    peer = raw_peer()
    peer.open(1)
    sent = frames.frame(FrameType.DATA, END_STREAM, 1, wrap([b"hello"])[:-1])
    (answer,) = peer.send(sent)
    assert peer.fields(answer)[b"grpc-status"] == b"13"
    assert [type(e) for e in peer.events[1:]] == [events.CallRefused]


def test_all_incomplete_messages_together_are_bounded(raw_peer):
    peer = raw_peer(Limits(partial_messages=1000))
    piece = b"\0\0\0\x04\0" + bytes(395)
    for stream_id in (1, 3, 5):
        peer.open(stream_id)
        peer.send(frames.frame(FrameType.DATA, 0, stream_id, piece))
    refused = peer.events[-1]
    assert (refused.stream_id, refused.status) == (5, Status.RESOURCE_EXHAUSTED)
    # The room of those that end is free again.
    peer.send(frames.rst_stream(1, 8))
    peer.send(frames.frame(FrameType.DATA, 0, 3, bytes(629)))
    assert peer.events[-1] == events.MessagesReceived(3, [bytes(1024)])
    for stream_id in (7, 9):
        peer.open(stream_id)
        peer.send(frames.frame(FrameType.DATA, 0, stream_id, piece))
    assert not [e for e in peer.events[-2:] if type(e) is events.CallRefused]


def test_a_call_that_has_ended_is_not_reset_for_its_last_message(raw_peer):
    peer = raw_peer()
    peer.open(1)
    sent = frames.frame(FrameType.DATA, END_STREAM, 1, b"\1\0\0\0\0")
    assert [f.kind for f in peer.send(sent)] == [FrameType.HEADERS]


def test_the_pieces_of_a_message_are_joined_once():
    """Joining at each frame would make a body of 32 MiB quadratic."""
    cutter, whole = MessageCutter(), wrap([bytes(1000)])
    for position in range(0, 1000, 10):
        assert cutter.feed(whole, position, position + 10, 1000) == []
    assert len(cutter._pieces) == 100
    assert cutter.feed(whole, 1000, 1005, 1000) == [bytes(1000)]
