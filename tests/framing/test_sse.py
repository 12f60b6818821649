"""Server-sent events: any split, any line end, any mix of both."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, strategies as st

from extproc.errors import ProtocolViolation
from extproc.framing import sse
from extproc.framing.sse import Frame, SSEDecoder, encode_frame, split_frames

CASES = {
    "one": ("data: a\n\n", [Frame("", b"a")]),
    "no space": ("data:a\n\n", [Frame("", b"a")]),
    "two spaces": ("data:  a\n\n", [Frame("", b" a")]),
    "named": ("event: ping\ndata: {}\n\n", [Frame("ping", b"{}")]),
    "name after data": ("data: {}\nevent: ping\n\n", [Frame("ping", b"{}")]),
    "many lines": ("data: a\ndata: b\ndata\n\n", [Frame("", b"a\nb\n")]),
    "comment": (": keep-alive\n\ndata: a\n\n", [Frame("", b"a")]),
    "comment inside": ("data: a\n: hush\ndata: b\n\n", [Frame("", b"a\nb")]),
    "id and retry": ("id: 7\nretry: 9\ndata: a\n\n", [Frame("", b"a")]),
    "name alone": ("event: x\n\ndata: a\n\n", [Frame("", b"a")]),
    "blank lines": ("\n\n\ndata: a\n\n\n\ndata: b\n\n", [Frame("", b"a"), Frame("", b"b")]),
    "colon in data": ('data: {"a":"b: c"}\n\n', [Frame("", b'{"a":"b: c"}')]),
    "utf-8": ("data: é—☃\n\n", [Frame("", "é—☃".encode())]),
    "done": ("data: 1\n\ndata: [DONE]\n\n", [Frame("", b"1"), Frame("", b"[DONE]")]),
}  # fmt: skip
LINE_ENDS = ["\n", "\r\n", "\r"]


def decode(pieces):
    decoder = SSEDecoder()
    return [frame for piece in pieces for frame in decoder.feed(piece)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("line_end", LINE_ENDS)
def test_frames_are_the_same_whole_and_byte_by_byte(case, line_end):
    text, frames = CASES[case]
    data = text.replace("\n", line_end).encode()
    assert decode([data]) == frames
    assert decode([data[i : i + 1] for i in range(len(data))]) == frames


@given(
    names=st.lists(st.sampled_from(sorted(CASES)), min_size=1, max_size=4),
    line_end=st.sampled_from(LINE_ENDS),
    data=st.data(),
)
def test_frames_are_the_same_under_any_split(names, line_end, data):
    stream = "".join(CASES[name][0] for name in names).replace("\n", line_end).encode()
    expected = [frame for name in names for frame in CASES[name][1]]
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
    bounds = [0, *cuts, len(stream)]
    pieces = [stream[a:b] for a, b in itertools.pairwise(bounds)]
    assert decode(pieces) == expected


@pytest.mark.parametrize("line_end", LINE_ENDS)
def test_frames_are_the_same_each_in_a_read_of_its_own(line_end):
    """Whatever stood in the reads before, from which the decoder takes what to expect."""
    for names in itertools.product(CASES, repeat=2):
        pieces = [CASES[name][0].replace("\n", line_end).encode() for name in names]
        expected = [frame for name in names for frame in CASES[name][1]]
        assert decode([*pieces, *pieces]) == expected * 2, names


def test_frames_are_the_same_under_line_ends_that_change_in_the_middle():
    for ends in itertools.product(LINE_ENDS, repeat=3):
        pieces = [f"event: x{end}data: {n}{end}{end}" for n, end in enumerate(ends)]
        expected = [Frame("x", b"%d" % n) for n in range(len(ends))]
        assert decode([piece.encode() for piece in pieces]) == expected, ends


MIXES = {"".join(pair) for pair in itertools.product(LINE_ENDS, repeat=2)} - {"\r\n"}
"""CR then LF is one line end, not two."""


@pytest.mark.parametrize("mix", sorted(MIXES))
def test_every_mix_of_two_line_ends_is_an_empty_line(mix):
    assert decode([f"data: a{mix}data: b{mix}".encode()]) == [
        Frame("", b"a"),
        Frame("", b"b"),
    ]


def test_a_whole_frame_is_never_held_back():
    decoder = SSEDecoder()
    for line_end in LINE_ENDS:
        frame = f"data: x{line_end}{line_end}".encode()
        assert decoder.feed(frame) == [Frame("", b"x")]


def test_the_last_frame_counts_without_its_empty_line():
    decoder = SSEDecoder()
    assert decoder.feed(b"data: a\n\ndata: [DONE]\n") == [Frame("", b"a")]
    assert decoder.close() == [Frame("", b"[DONE]")]
    assert decoder.close() == []


def test_an_endless_frame_is_refused(monkeypatch):
    monkeypatch.setattr(sse, "MAX_FRAME", 100)
    decoder = SSEDecoder()
    decoder.feed(b"data: " + b"x" * 90)
    with pytest.raises(ProtocolViolation, match="over 100 bytes"):
        decoder.feed(b"x" * 90)


@given(st.binary(max_size=200))
def test_splitting_loses_no_byte(data):
    whole, rest = split_frames(data)
    assert whole + rest == data


def test_what_we_write_we_read():
    written = encode_frame(b'{"a":1}') + encode_frame(b"{}", "ping")
    assert decode([written]) == [Frame("", b'{"a":1}'), Frame("ping", b"{}")]
