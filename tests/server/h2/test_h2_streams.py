"""Every frame in every state: the table is whole, and it is what happens."""

from __future__ import annotations

import pytest

from extproc.server.h2 import frames
from extproc.server.h2.errors import ErrorCode
from extproc.server.h2.frames import FrameType
from extproc.server.h2.streams import REACTIONS, Reaction, StreamState

PAYLOADS = {
    FrameType.DATA: b"x",
    FrameType.PRIORITY: bytes(5),
    FrameType.RST_STREAM: bytes(4),
    FrameType.SETTINGS: b"",
    FrameType.PUSH_PROMISE: bytes(8),
    FrameType.PING: bytes(8),
    FrameType.GOAWAY: bytes(8),
    FrameType.WINDOW_UPDATE: bytes((0, 0, 0, 1)),
    FrameType.CONTINUATION: b"",
}


def test_every_frame_has_a_reaction_in_every_state():
    assert set(REACTIONS) == {(kind, s) for kind in FrameType for s in StreamState}


def bring_into(peer, state):
    """Bring a stream into `state` by legal means, and return its number."""
    if state is StreamState.CONNECTION:
        return 0
    if state is StreamState.UNPROMISED:
        return 2
    peer.open(1)
    peer.open(7)
    match state:
        case StreamState.IDLE:
            return 9
        case StreamState.HALF_CLOSED:
            peer.send(frames.frame(FrameType.DATA, frames.END_STREAM, 7))
        case StreamState.ENDED:
            peer.send(frames.frame(FrameType.DATA, frames.END_STREAM, 7))
            peer.server.finish(7)
        case StreamState.RESET_BY_US:
            peer.server.finish(7)
        case StreamState.RESET_BY_PEER:
            peer.send(frames.rst_stream(7, ErrorCode.CANCEL))
        case StreamState.FORGOTTEN:
            return 5
        case _:
            assert state is StreamState.OPEN
    peer.server.data_to_send()
    return 7


def reaction_to(peer, kind, stream_id):
    """Send one frame and say which reaction it had, by what came back."""
    before = len(peer.events)
    if kind is FrameType.HEADERS and stream_id == 7:
        flags = frames.END_HEADERS | frames.END_STREAM
        data = peer.request(7, flags=flags, headers=[(b"x-checksum", b"1")])
    elif kind is FrameType.HEADERS:
        data = peer.request(stream_id)
    else:
        data = frames.frame(kind, 0, stream_id, PAYLOADS[kind])
    sent = peer.send(data)
    goaways = [f.code for f in sent if f.kind == FrameType.GOAWAY]
    resets = [f.code for f in sent if f.kind == FrameType.RST_STREAM]
    if goaways == [ErrorCode.PROTOCOL_ERROR]:
        return Reaction.VIOLATION
    if goaways == [ErrorCode.STREAM_CLOSED]:
        return Reaction.CLOSED
    assert not goaways
    if resets:
        assert resets == [ErrorCode.STREAM_CLOSED]
        return Reaction.RESET
    # Legal ones that say nothing: told apart by what can only follow from accepting.
    return sent, peer.events[before:]


@pytest.mark.parametrize("state", StreamState, ids=lambda s: s.name)
@pytest.mark.parametrize("kind", FrameType, ids=lambda k: k.name)
def test_what_a_frame_does_is_what_the_table_says(raw_peer, kind, state):
    peer = raw_peer()
    stream_id = bring_into(peer, state)
    expected = REACTIONS[kind, state]
    reaction = reaction_to(peer, kind, stream_id)
    if expected in (Reaction.VIOLATION, Reaction.CLOSED, Reaction.RESET):
        assert reaction is expected
    elif expected is Reaction.IGNORE:
        assert reaction == ([], [])
    else:
        assert isinstance(reaction, tuple)
        # The connection lives on, whatever was accepted.
        assert peer.send(frames.frame(FrameType.PING, 0, 0, b"12345678"))


@pytest.mark.parametrize("state", StreamState, ids=lambda s: s.name)
def test_unknown_frames_are_ignored_in_every_state(raw_peer, state):
    peer = raw_peer()
    stream_id = bring_into(peer, state)
    before = list(peer.events)
    unknown = frames.HEAD.pack(3 << 8 | 0xBE, 0xFF, stream_id) + b"abc"
    assert peer.send(unknown) == []
    assert peer.events == before
