"""Any interleaving, at any split, comes to what the `h2` package makes of it."""

from __future__ import annotations

import random
from itertools import pairwise

import h2.settings
import pytest
from hypothesis import given, settings, strategies as st

from extproc.server.h2 import events, frames
from extproc.server.h2.errors import ErrorCode
from extproc.server.h2.frames import FrameType
from extproc.server.h2.limits import Limits
from extproc.server.h2.messages import wrap
from tests.server.h2.conftest import RawPeer

STREAMS = st.sampled_from((1, 3, 5, 7))
SIZES = st.sampled_from((0, 1, 4, 60, 3000, 20_000, 70_000))
WINDOWS = st.sampled_from((0, 1, 100, 65_535, 1 << 20))

STEPS = st.one_of(
    st.tuples(st.just("start"), STREAMS),
    st.tuples(st.just("ask"), STREAMS, st.lists(SIZES, min_size=1, max_size=3)),
    st.tuples(st.just("half_close"), STREAMS),
    st.tuples(st.just("cancel"), STREAMS),
    st.tuples(st.just("answer"), STREAMS, st.lists(SIZES, max_size=3), st.booleans()),
    st.tuples(st.just("fail"), STREAMS, st.integers(1, 16)),
    st.tuples(st.just("break_off"), STREAMS),
    st.tuples(st.just("window"), WINDOWS),
    st.tuples(st.just("frame_size"), st.sampled_from((16_384, 17_000, 60_000))),
    st.tuples(st.just("withhold"), st.booleans()),
    st.tuples(st.just("ping")),
    st.tuples(st.just("prioritize"), STREAMS),
)


class Play:
    """One run of the steps, with what must come of them kept beside it."""

    def __init__(self, peer):
        self.peer = peer
        self.asked = {}
        self.answered = {}
        self.statuses = {}
        self.half_closed = set()
        self.broken = set()

    def run(self, steps):
        self.peer.exchange()
        for name, *arguments in steps:
            getattr(self, name)(*arguments)
            self.peer.exchange()
        self.let_everything_through()

    def open(self, stream_id):
        """Whether both sides may still send."""
        return (
            stream_id in self.asked
            and stream_id not in self.broken
            and stream_id not in self.statuses
        )

    def start(self, stream_id):
        if stream_id > max(self.asked, default=0):
            self.peer.start(stream_id)
            self.asked[stream_id], self.answered[stream_id] = [], []

    def ask(self, stream_id, sizes):
        self.start(stream_id)
        self.peer.exchange()
        if self.open(stream_id) and stream_id not in self.half_closed:
            messages = [bytes((size & 0xFF,)) * size for size in sizes]
            self.asked[stream_id] += messages
            self.peer.send_body(stream_id, wrap(messages), end=False)

    def half_close(self, stream_id):
        if self.open(stream_id) and stream_id not in self.half_closed:
            self.half_closed.add(stream_id)
            self.peer.h2.end_stream(stream_id)

    def cancel(self, stream_id):
        if self.open(stream_id):
            self.broken.add(stream_id)
            self.peer.h2.reset_stream(stream_id, ErrorCode.CANCEL)

    def answer(self, stream_id, sizes, end):
        alive = self.open(stream_id)
        messages = [bytes((size & 0xFF,)) * size for size in sizes]
        assert self.peer.server.send_messages(stream_id, messages, end=end) is alive
        if alive:
            self.answered[stream_id] += messages
            if end:
                self.statuses[stream_id] = b"0"

    def fail(self, stream_id, status):
        self.peer.server.finish(stream_id, status=status, message="no ü")
        if self.open(stream_id):
            self.statuses[stream_id] = b"%d" % status

    def break_off(self, stream_id):
        self.peer.server.reset(stream_id, ErrorCode.INTERNAL_ERROR)
        if stream_id in self.asked and stream_id not in self.peer.ended:
            self.broken.add(stream_id)

    def window(self, size):
        self.peer.h2.update_settings(
            {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: size}
        )

    def frame_size(self, size):
        self.peer.h2.update_settings({h2.settings.SettingCodes.MAX_FRAME_SIZE: size})

    def withhold(self, value):
        self.peer.withhold = value
        if not value:
            self.peer.release()

    def ping(self):
        self.peer.h2.ping(b"12345678")

    def prioritize(self, stream_id):
        self.peer.h2.prioritize(stream_id, weight=7)

    def let_everything_through(self):
        self.withhold(False)
        self.window(1 << 20)
        self.peer.exchange()
        for stream_id in self.asked:
            if stream_id not in self.peer.ended and stream_id not in self.broken:
                self.peer.h2.increment_flow_control_window(1 << 20, stream_id)
        self.peer.h2.increment_flow_control_window(1 << 24)
        self.peer.exchange()

    def check(self):
        peer = self.peer
        assert peer.gone is None
        for stream_id, asked in self.asked.items():
            assert peer.messages(stream_id) == asked
            expected, found = wrap(self.answered[stream_id]), peer.bodies[stream_id]
            if stream_id in self.broken:
                assert expected.startswith(found)
                continue
            assert found == expected
            status = peer.trailers.get(stream_id, {}).get(b"grpc-status")
            assert status == self.statuses.get(stream_id)
        open_ones = set(self.asked) - self.broken - set(self.statuses)
        assert peer.server.open_streams == len(open_ones)
        half_closed = [e for e in peer.events if type(e) is events.CallHalfClosed]
        assert {e.stream_id for e in half_closed} <= self.half_closed


def in_pieces(seed):
    dice = random.Random(seed)

    def cut(data):
        while data:
            size = dice.choice((1, 2, 9, 100, 5000, 100_000))
            yield data[:size]
            data = data[size:]

    return cut


@settings(max_examples=40)
@given(steps=st.lists(STEPS, max_size=25), seed=st.integers(0, 1000))
def test_any_interleaving_at_any_split(library_peer_class, steps, seed):
    small = Limits(stream_window=65_535, connection_window=70_000)
    seen = []
    for limits, cut in ((None, None), (small, None), (None, in_pieces(seed))):
        play = Play(library_peer_class(limits, cut=cut))
        play.run(steps)
        play.check()
        seen.append((play.peer.bodies, play.peer.trailers))
        if limits is None:
            seen.append(play.peer.events)
    # The split changes nothing at all, our windows nothing but the pace.
    whole, whole_events, narrow, pieces, piece_events = seen
    assert whole == narrow == pieces
    assert whole_events == piece_events


def test_byte_by_byte_is_the_same(library_peer):
    steps = [
        ("start", 1), ("ask", 1, [4, 0, 3000]), ("window", 100), ("start", 3),
        ("answer", 1, [60, 3000], False), ("ask", 3, [60]), ("cancel", 3), ("ping",),
        ("prioritize", 5), ("start", 5), ("fail", 5, 13), ("half_close", 1),
        ("answer", 1, [1], True),
    ]  # fmt: skip
    results = []
    for cut in (None, lambda data: (data[i : i + 1] for i in range(len(data)))):
        play = Play(library_peer(cut=cut))
        play.run(steps)
        play.check()
        results.append((play.peer.events, play.peer.bodies, play.peer.trailers))
    assert results[0] == results[1]


def test_a_window_that_widens_is_used_after_its_acknowledgement(library_peer):
    """To the peer a setting holds from the acknowledgement on (RFC 9113, 6.5.3)."""
    play = Play(library_peer())
    play.run([("start", 1), ("window", 0), ("answer", 1, [0], False)])
    play.check()


@pytest.mark.parametrize("ended", [False, True])
def test_a_trailers_only_answer_is_one_the_library_reads(library_peer, ended):
    peer = library_peer()
    peer.start(1, end_stream=ended)
    peer.exchange()
    peer.server.finish(1, status=12, message="100% unknown")
    peer.exchange()
    assert peer.trailers[1] == {
        b":status": b"200",
        b"content-type": b"application/grpc",
        b"grpc-status": b"12",
        b"grpc-message": b"100%25 unknown",
    }
    assert peer.resets == ({} if ended else {1: ErrorCode.NO_ERROR})


def test_the_echo_of_our_reset_counts_as_a_frame_that_does_nothing():
    peer = RawPeer(Limits(hollow_frames=2))
    for stream_id in (1, 3, 5):
        peer.open(stream_id)
        peer.server.send_messages(stream_id, (b"all",), end=True)
    *_, reset = peer.send(b"")
    assert (reset.kind, reset.code) == (FrameType.RST_STREAM, ErrorCode.NO_ERROR)
    frames_before = peer.server.frames
    for stream_id in (1, 3):
        assert peer.send(frames.rst_stream(stream_id, ErrorCode.NO_ERROR)) == []
    assert peer.server.frames == frames_before + 2
    (gone,) = peer.send(frames.rst_stream(5, ErrorCode.NO_ERROR))
    assert (gone.kind, gone.code) == (FrameType.GOAWAY, ErrorCode.ENHANCE_YOUR_CALM)


SENT = st.lists(
    st.one_of(
        st.tuples(st.just("message"), st.sampled_from((1, 3)), SIZES),
        st.tuples(st.just("half"), st.sampled_from((1, 3)), st.integers(1, 9)),
        st.tuples(st.just("two"), st.sampled_from((1, 3)), st.integers(0, 99)),
        st.tuples(st.just("padded"), st.sampled_from((1, 3)), st.integers(0, 99)),
        st.tuples(st.just("end"), st.sampled_from((1, 3)), st.integers(0, 99)),
        st.tuples(st.just("compressed"), st.sampled_from((1, 3)), st.integers(0, 99)),
        st.tuples(st.just("ping"), st.just(0), st.just(8)),
        st.tuples(st.just("open"), st.sampled_from((5, 7)), st.just(0)),
        st.tuples(st.just("reset"), st.sampled_from((1, 3)), st.just(0)),
        st.tuples(st.just("answer"), st.sampled_from((1, 3)), SIZES),
        st.tuples(st.just("finish"), st.sampled_from((1, 3, 5)), st.just(0)),
        st.tuples(st.just("echo"), st.sampled_from((1, 3, 5)), st.just(0)),
    ),
    max_size=30,
)


def frames_of(peer, name, stream_id, size):
    message = wrap([bytes(size)])
    made = {
        "message": frames.frame(FrameType.DATA, 0, stream_id, message),
        "half": frames.frame(FrameType.DATA, 0, stream_id, message[:-1])
        + frames.frame(FrameType.DATA, 0, stream_id, message[-1:]),
        "two": frames.frame(FrameType.DATA, 0, stream_id, message * 2),
        "padded": frames.frame(
            FrameType.DATA, frames.PADDED, stream_id, b"\x03" + message + bytes(3)
        ),
        "end": frames.frame(FrameType.DATA, frames.END_STREAM, stream_id, message),
        "compressed": frames.frame(FrameType.DATA, 0, stream_id, b"\x01" + message[1:]),
        "ping": frames.frame(FrameType.PING, 0, 0, bytes(8)),
        "reset": frames.rst_stream(stream_id, ErrorCode.CANCEL),
        "echo": frames.rst_stream(stream_id, ErrorCode.NO_ERROR),
    }
    return peer.request(stream_id) if name == "open" else made[name]


@given(SENT, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_frames_taken_at_a_glance_are_what_the_general_way_takes_them_for(sent, random):
    """Both ways through one connection: the same events, answers, credits and counts."""
    limits = Limits(stream_window=200_000, connection_window=300_000)
    quick, general = RawPeer(limits), RawPeer(limits)
    general.server._reader._on_messages = lambda _buffer, position: position
    opened: set[int] = set()
    for peer in (quick, general):
        peer.open(1)
        peer.open(3)
    reads: list[tuple[int, bytearray]] = [(0, bytearray())]
    for name, stream_id, size in sent:
        if name == "answer":
            reads += [(stream_id, bytearray(size)), (0, bytearray())]
        elif name == "finish":
            reads += [(-stream_id, bytearray()), (0, bytearray())]
        elif name != "open" or stream_id > max(opened, default=0):
            reads[-1][1].extend(frames_of(quick, name, stream_id, size))
            opened |= {stream_id} if name == "open" else set()
    for answered, sized in reads:
        buffer = bytes(sized)
        if answered < 0:
            for peer in (quick, general):
                peer.server.finish(-answered)
            continue
        if answered:
            assert quick.server.send_message(
                answered, buffer
            ) is general.server.send_messages(answered, (buffer,))
            continue
        cuts = sorted(random.randrange(len(buffer) + 1) for _ in range(4))
        for start, stop in pairwise((0, *cuts, len(buffer))):
            said = [peer.send(buffer[start:stop]) for peer in (quick, general)]
            assert said[0] == said[1]
    assert quick.events == general.events
    assert quick.server.frames == general.server.frames
    assert quick.server._glance.credit == general.server._glance.credit
    left, owed = quick.server._allowance, general.server._allowance
    assert (left._hollow, left._resets) == (owed._hollow, owed._resets)
