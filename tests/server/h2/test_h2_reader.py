"""Bytes of any split into frames: once, in order, and without copying what grows."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, strategies as st

from extproc.server.h2 import frames
from extproc.server.h2.frames import END_HEADERS, FrameType
from extproc.server.h2.limits import Limits
from extproc.server.h2.reader import FrameReader

HEADERS_IN_PIECES = (
    frames.frame(FrameType.HEADERS, frames.PADDED, 5, b"\x01ab\0")
    + frames.frame(FrameType.CONTINUATION, 0, 5, b"cd")
    + frames.frame(FrameType.CONTINUATION, END_HEADERS, 5, b"e")
)
STREAM = (
    frames.PREFACE
    + frames.settings({})
    + frames.frame(FrameType.DATA, 0, 1, b"hello")
    + HEADERS_IN_PIECES
    + frames.frame(FrameType.DATA, 1, 3)
    + frames.window_update(0, 9)
)


def reading(limits=None):
    found = []
    reader = FrameReader(
        limits or Limits(),
        lambda _buffer, position: position,
        lambda flags, stream, buffer, start, stop: found.append(
            (FrameType.DATA, flags, stream, buffer[start:stop])
        ),
        lambda *frame: found.append(frame),
    )
    return reader, found


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_split_gives_the_same_frames(cuts):
    reader, found = reading()
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, stop in pairwise(edges):
        reader.feed(STREAM[start:stop])
    assert found == [
        (FrameType.SETTINGS, 0, 0, b""),
        (FrameType.DATA, 0, 1, b"hello"),
        (FrameType.HEADERS, frames.PADDED, 5, b"abcde"),
        (FrameType.DATA, 1, 3, b""),
        (FrameType.WINDOW_UPDATE, 0, 0, b"\0\0\0\x09"),
    ]


def test_the_reserved_bit_of_a_stream_number_means_nothing():
    reader, found = reading()
    reader.feed(frames.PREFACE + frames.settings({}))
    reader.feed(frames.frame(FrameType.DATA, 0, 1 << 31 | 7, b"x"))
    assert found[-1] == (FrameType.DATA, 0, 7, b"x")


def test_the_pieces_of_a_frame_are_joined_once():
    """Joining at each read would make a large frame in small reads quadratic."""
    reader, found = reading()
    reader.feed(frames.PREFACE + frames.settings({}))
    whole = frames.frame(FrameType.DATA, 0, 1, bytes(1000))
    for position in range(len(whole) - 1):
        reader.feed(whole[position : position + 1])
    # The nine bytes of its head are joined to be read.
    assert len(reader._pieces) == len(whole) - frames.HEAD_SIZE
    reader.feed(whole[-1:])
    assert found[-1] == (FrameType.DATA, 0, 1, bytes(1000))
    assert reader._pieces == []
