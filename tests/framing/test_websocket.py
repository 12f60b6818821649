"""WebSocket frames, against the library that clients of realtime APIs use."""

from __future__ import annotations

import struct
import sys

import pytest
from hypothesis import given, strategies as st
from websockets.frames import Close, Frame, Opcode

from extproc.errors import ProtocolViolation
from extproc.framing.websocket import (
    MAX_KEPT,
    MessageReader,
    close_frame,
    text_frame,
)


def frame(opcode, data, *, fin=True):
    return Frame(opcode, data, fin=fin).serialize(mask=False)


CONTROLS = [frame(Opcode.PING, b"?"), frame(Opcode.PONG, b""), b""]
TEXTS = st.binary(max_size=200) | st.sampled_from(
    [b"a" * n for n in (125, 126, 127, 65535, 65536)]
)


@st.composite
def conversations(draw):
    """Return what a server sends, and the text messages in it."""
    out, texts = [], []
    for text in draw(st.lists(TEXTS, max_size=4)):
        parts = draw(st.integers(1, 3))
        size = -(-len(text) // parts)
        pieces = [text[i * size : (i + 1) * size] for i in range(parts)]
        opcode = draw(st.sampled_from([Opcode.TEXT, Opcode.BINARY]))
        for i, piece in enumerate(pieces):
            kind = opcode if i == 0 else Opcode.CONT
            out += [frame(kind, piece, fin=i == parts - 1)]
            out += [draw(st.sampled_from(CONTROLS))]
        if opcode is Opcode.TEXT:
            texts.append(text)
    return b"".join(out), texts


@given(conversations(), st.data())
def test_messages_are_the_same_however_their_bytes_are_cut(said, data):
    raw, texts = said
    reader, found, at = MessageReader(), [], 0
    while at < len(raw):
        size = data.draw(st.integers(1, len(raw) - at))
        found += reader.feed(raw[at : at + size])
        at += size
    assert found == texts
    assert reader.between_frames


def byte_by_byte(reader, raw):
    return [text for at in range(len(raw)) for text in reader.feed(raw[at : at + 1])]


@given(conversations())
def test_byte_by_byte(said):
    raw, texts = said
    raw = raw[:3000]
    whole, single = MessageReader(), MessageReader()
    found = byte_by_byte(single, raw)
    assert found == whole.feed(raw)
    assert single.between_frames == whole.between_frames
    assert found == texts[: len(found)]


def test_in_the_middle_of_a_frame_no_other_can_stand():
    raw = frame(Opcode.TEXT, b"hello")
    for at in range(1, len(raw)):
        reader = MessageReader()
        reader.feed(raw[:at])
        assert not reader.between_frames
        assert reader.feed(raw[at:]) == [b"hello"]
        assert reader.between_frames


def test_a_message_that_is_too_long_is_not_kept_and_the_next_one_is_read():
    long = frame(Opcode.TEXT, b"x" * (MAX_KEPT + 1))
    reader = MessageReader()
    assert reader.feed(long) == []
    pieces = frame(Opcode.TEXT, b"x" * MAX_KEPT, fin=False) + frame(Opcode.CONT, b"y")
    assert reader.feed(pieces) == []
    assert reader.feed(frame(Opcode.TEXT, b"short")) == [b"short"]


def test_the_last_frame_is_noticed():
    reader = MessageReader()
    reader.feed(frame(Opcode.CLOSE, Close(1000, "bye").serialize()))
    assert reader.closed


WRONG = {
    "masked": Frame(Opcode.TEXT, b"hi").serialize(mask=True),
    "compressed": b"\xc1\x00",
    "reserved bits": b"\xf1\x00",
    "reserved data": b"\x83\x00",
    "reserved control": b"\x8b\x00",
    "2^63 bytes": b"\x81\x7f\x80" + bytes(7),
    "a ping in pieces": b"\x09\x00",
    "a ping of 126 bytes": b"\x89\x7e\x00\x7e",
    "a close of 2^16 bytes": b"\x88\x7f" + struct.pack(">Q", 1 << 16),
    "a continuation of nothing": b"\x80\x00",
    "a continuation of what is over": frame(Opcode.TEXT, b"a") + b"\x00\x00",
    "a message in a message": b"\x01\x01a" + frame(Opcode.TEXT, b"b"),
}


@pytest.mark.parametrize("raw", WRONG.values(), ids=WRONG)
def test_what_no_server_sends_breaks_the_agreement(raw):
    with pytest.raises(ProtocolViolation):
        MessageReader().feed(raw)
    with pytest.raises(ProtocolViolation):
        byte_by_byte(MessageReader(), raw)


def test_fragments_without_end_are_not_kept(monkeypatch):
    monkeypatch.setattr("extproc.framing.websocket.MAX_KEPT", 5_000)
    reader = MessageReader()
    reader.feed(b"\x01\x01a")
    assert reader.feed(b"\x00\x01a" * 4_000 + b"\x00\x00" * 10_000) == []
    assert sys.getsizeof(reader._kept) < 10_000
    assert reader.feed(b"\x00\x01a" * 1_000) == []
    assert sys.getsizeof(reader._kept) < 100
    assert not reader.between_messages
    assert reader.feed(b"\x80\x00" + frame(Opcode.TEXT, b"next")) == [b"next"]


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_our_own_texts_are_the_librarys(size):
    assert text_frame(b"a" * size) == frame(Opcode.TEXT, b"a" * size)


def test_our_own_last_frame_is_the_librarys():
    assert close_frame(1008, "gone") == frame(
        Opcode.CLOSE, Close(1008, "gone").serialize()
    )
    long = close_frame(1008, "é" * 200)
    assert len(long) <= 2 + 125
    (code,) = struct.unpack_from(">H", long, 2)
    assert code == 1008
    long[4:].decode()
