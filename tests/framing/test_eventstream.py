"""AWS event streams against botocore: the same messages, however they are cut."""

from __future__ import annotations

import itertools
import struct
import time
import zlib

import pytest
from botocore.eventstream import (
    EventStreamBuffer,
    ParserError,
)
from hypothesis import given, strategies as st

from extproc.errors import GatewayError, ProtocolViolation, TruncatedStream
from extproc.framing.eventstream import (
    MAX_HEADERS,
    MAX_PAYLOAD,
    EventStreamDecoder,
    read_headers,
)
from extproc.framing.sse import Frame


def header(name: str, kind: int, value: bytes) -> bytes:
    return bytes([len(name.encode())]) + name.encode() + bytes([kind]) + value


def text(name: str, value: str) -> bytes:
    raw = value.encode()
    return header(name, 7, struct.pack("!H", len(raw)) + raw)


def message(headers: bytes, payload: bytes) -> bytes:
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    prelude += struct.pack("!I", zlib.crc32(prelude))
    whole = prelude + headers + payload
    return whole + struct.pack("!I", zlib.crc32(whole))


def event(name: str, payload: bytes) -> bytes:
    headers = text(":message-type", "event") + text(":event-type", name)
    return message(headers + text(":content-type", "application/json"), payload)


EXCEPTION = message(
    text(":exception-type", "throttlingException")
    + text(":content-type", "application/json")
    + text(":message-type", "exception"),
    b'{"message":"slow down"}',
)
ERROR = message(
    text(":message-type", "error")
    + text(":error-code", "InternalFailure")
    + text(":error-message", "it broke, é"),
    b"",
)
ALL_TYPES = (
    header("true", 0, b"")
    + header("false", 1, b"")
    + header("byte", 2, struct.pack("!b", -2))
    + header("short", 3, struct.pack("!h", -300))
    + header("int", 4, struct.pack("!i", -70_000))
    + header("long", 5, struct.pack("!q", -(1 << 40)))
    + header("bytes", 6, b"\x00\x03\x00\xff\x01")
    + text("é", "è")
    + header("time", 8, struct.pack("!q", 1_700_000_000_000))
    + header("uuid", 9, bytes(range(16)))
)

STREAM = (
    event("messageStart", b'{"role":"assistant"}')
    + event("empty", b"")
    + message(
        ALL_TYPES + text(":message-type", "event") + text(":event-type", "x"), b"y"
    )
    + event("contentBlockDelta", b"\x00" * 3000)
    + EXCEPTION
    + ERROR
)
FRAMES = [
    Frame("messageStart", b'{"role":"assistant"}'),
    Frame("empty", b""),
    Frame("x", b"y"),
    Frame("contentBlockDelta", b"\x00" * 3000),
    Frame(":exception throttlingException", b'{"message":"slow down"}'),
    Frame(":error InternalFailure", "it broke, é".encode()),
]


def read(chunks: list[bytes]) -> list[Frame]:
    decoder = EventStreamDecoder()
    frames = [frame for chunk in chunks for frame in decoder.feed(chunk)]
    return frames + decoder.close()


def outcome(chunks: list[bytes]) -> tuple[list[Frame], type | None]:
    """Return what came of a stream, and how it failed."""
    decoder = EventStreamDecoder()
    frames: list[Frame] = []
    try:
        for chunk in chunks:
            frames += decoder.feed(chunk)
        decoder.close()
    except GatewayError as error:
        return frames, type(error)
    return frames, None


def cut(stream: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(at), len(stream)]
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


def test_messages_become_frames_in_every_split():
    assert read([STREAM]) == FRAMES
    assert read([STREAM[i : i + 1] for i in range(len(STREAM))]) == FRAMES


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_any_split_gives_the_same_frames(at):
    assert read(cut(STREAM, at)) == FRAMES


def test_every_type_of_header_is_read_as_botocore_reads_it():
    buffer = EventStreamBuffer()
    buffer.add_data(message(ALL_TYPES, b""))
    assert read_headers(ALL_TYPES) == next(iter(buffer)).headers


@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=20), st.binary(max_size=200)), max_size=5
    ),
    st.data(),
)
def test_botocore_sees_the_same_events(events, data):
    events = [(name, payload) for name, payload in events if name[0] != ":"]
    stream = b"".join(event(name, payload) for name, payload in events)
    buffer = EventStreamBuffer()
    buffer.add_data(stream)
    seen = [(m.headers[":event-type"], m.payload) for m in buffer]
    at = data.draw(st.lists(st.integers(0, len(stream)), max_size=6))
    assert [(f.name, f.data) for f in read(cut(stream, at))] == seen == events


@given(st.integers(0, 8 * len(STREAM) - 1))
def test_any_flipped_bit_is_noticed_as_botocore_notices_it(bit):
    broken = bytearray(STREAM)
    broken[bit // 8] ^= 1 << bit % 8
    stream = bytes(broken)
    frames, failure = outcome([stream])
    assert failure is ProtocolViolation
    assert frames == FRAMES[: len(frames)]
    pieces = [stream[i : i + 1] for i in range(len(stream))]
    assert outcome(pieces) == (frames, failure)
    buffer = EventStreamBuffer()
    buffer.add_data(stream)
    whole: list[object] = []
    with pytest.raises(ParserError):
        whole.extend(buffer)
    assert len(whole) == len(frames)


@given(st.integers(0, 8 * len(event("text", b"abc")) - 1))
def test_a_flipped_bit_of_a_message_like_the_one_before_is_noticed(bit):
    message = event("text", b"abc")
    broken = bytearray(message)
    broken[bit // 8] ^= 1 << bit % 8
    knowing = EventStreamDecoder()
    assert len(knowing.feed(message) + knowing.feed(message)) == 2
    with pytest.raises(ProtocolViolation):
        knowing.feed(bytes(broken))


def test_a_message_that_is_shorter_than_its_headers_say_is_noticed_each_time():
    message = event("text", b"")
    size = struct.unpack_from("!I", message, 4)[0]
    for headers in range(size + 1, size + 20):
        prelude = struct.pack("!II", len(message), headers)
        prelude += struct.pack("!I", zlib.crc32(prelude))
        broken = prelude + message[12:-4]
        broken += struct.pack("!I", zlib.crc32(broken))
        knowing = EventStreamDecoder()
        knowing.feed(message)
        with pytest.raises(ProtocolViolation):
            knowing.feed(broken)


def test_a_broken_stream_stays_broken():
    stream = STREAM[:-1] + bytes([STREAM[-1] ^ 1])
    decoder = EventStreamDecoder()
    assert decoder.feed(stream) == FRAMES[:-1]
    with pytest.raises(ProtocolViolation, match="checksum"):
        decoder.feed(event("more", b""))
    with pytest.raises(ProtocolViolation, match="checksum"):
        decoder.close()


def test_an_end_inside_a_message_is_noticed():
    ends = {len(STREAM)}
    position = 0
    while position < len(STREAM):
        ends.add(position)
        position += struct.unpack_from("!I", STREAM, position)[0]
    for length in range(len(STREAM) + 1):
        failure = outcome([STREAM[:length]])[1]
        assert failure is (None if length in ends else TruncatedStream), length


def prelude(total: int, headers: int) -> bytes:
    start = struct.pack("!II", total, headers)
    return start + struct.pack("!I", zlib.crc32(start))


@pytest.mark.parametrize(
    ("total", "headers"),
    [
        (0xFFFF_FFFF, 0),
        (MAX_PAYLOAD + 17, 0),
        (MAX_HEADERS + 17, MAX_HEADERS + 1),
        (15, 0),
        (0, 0),
        (100, 85),
        (16, 0xFFFF_FFFF),
    ],
)
def test_impossible_lengths_are_refused_before_the_message_is_here(total, headers):
    with pytest.raises(ProtocolViolation):
        EventStreamDecoder().feed(prelude(total, headers))


def test_the_longest_message_passes_and_waits_for_its_end():
    long = event("x", b"a" * (MAX_PAYLOAD - 1000))
    decoder = EventStreamDecoder()
    assert decoder.feed(long[:-1]) == []
    assert len(decoder.feed(long[-1:])[0].data) == MAX_PAYLOAD - 1000


def test_a_long_message_in_many_reads_is_not_copied_with_each():
    long = event("x", b"a" * (4 << 20))
    started = time.process_time()
    assert len(read([long[i : i + 1000] for i in range(0, len(long), 1000)])) == 1
    assert time.process_time() - started < 2


NAMED = text(":message-type", "event") + text(":event-type", "x")


@pytest.mark.parametrize(
    "headers",
    [
        b"",
        text(":message-type", "event"),
        text(":event-type", "x"),
        text(":message-type", "news") + text(":event-type", "x"),
        text(":message-type", "exception"),
        text(":message-type", "error"),
        header(":message-type", 4, b"\0\0\0\1") + text(":event-type", "x"),
        text(":message-type", "event") + header(":event-type", 0, b""),
        NAMED + text(":event-type", "y"),
        NAMED + header("new", 10, b""),
        NAMED + header("short", 4, b"\0"),
        NAMED + header("long", 7, b"\xff\xff"),
        NAMED + header("uuid", 9, b"\0" * 15),
        NAMED + header("latin", 7, b"\0\1\xff"),
        NAMED + b"\x01\xff\x00",
        NAMED + b"\x05abc",
        NAMED + b"\x03abc",
    ],
)
def test_headers_that_say_nothing_or_too_much_are_a_violation(headers):
    with pytest.raises(ProtocolViolation):
        EventStreamDecoder().feed(message(headers, b""))


def test_header_blocks_of_any_number_are_read_right():
    stream = [event(f"e{i % 200}", b"%d" % i) for i in range(1000)]
    frames = read(stream)
    assert [frame.name for frame in frames] == [f"e{i % 200}" for i in range(1000)]
