"""Header blocks: what makes them malformed, when they are remembered, what ours say."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given, strategies as st

from extproc.server.h2 import events, frames, headers
from extproc.server.h2.errors import ConnectionFault, ErrorCode
from extproc.server.h2.frames import END_HEADERS, END_STREAM, FrameType
from extproc.server.h2.headers import HeaderReader
from extproc.server.h2.limits import Limits

GOOD = {
    b":method": b"POST",
    b":scheme": b"http",
    b":path": b"/a.B/C",
    b"content-type": b"application/grpc",
}


def reader():
    return HeaderReader(list_limit=1000, hard_limit=4000)


def fields_with(*changes):
    return [*{**GOOD, **dict(changes)}.items()]


MALFORMED = [
    ("8.2.1 upper case", [*fields_with(), (b"X-A", b"1")]),
    ("8.2.1 space in a name", [*fields_with(), (b"x a", b"1")]),
    ("8.2.1 empty name", [*fields_with(), (b"", b"1")]),
    ("8.2.1 newline in a value", [*fields_with(), (b"x", b"a\nb")]),
    ("8.2.1 NUL in a value", [*fields_with(), (b"x", b"a\0")]),
    ("8.2.1 value ends in a space", [*fields_with(), (b"x", b"a ")]),
    ("8.2.1 value begins with a tab", [*fields_with(), (b"x", b"\ta")]),
    ("8.2.2 connection", [*fields_with(), (b"connection", b"close")]),
    ("8.2.2 transfer-encoding", [*fields_with(), (b"transfer-encoding", b"chunked")]),
    ("8.2.2 te other than trailers", [*fields_with(), (b"te", b"gzip")]),
    ("8.3 unknown pseudo-header", [(b":status", b"200"), *fields_with()]),
    ("8.3 pseudo-header behind a field", [(b"x", b"1"), *fields_with()]),
    ("8.3.1 given twice", [(b":path", b"/"), *fields_with()]),
    ("8.3.1 empty path", fields_with((b":path", b""))),
    ("8.3.1 no method", fields_with()[1:]),
    ("8.3.1 no scheme", [f for f in fields_with() if f[0] != b":scheme"]),
    ("8.3.1 no path", [f for f in fields_with() if f[0] != b":path"]),
    ("8.1.1 content-length is no number", fields_with((b"content-length", b"-1"))),
]


@pytest.mark.parametrize(
    "fields", [pytest.param(fields, id=name) for name, fields in MALFORMED]
)
def test_a_malformed_request_is_a_stream_error(raw_peer, fields):
    peer = raw_peer()
    (reset,) = peer.send(peer.request(1, headers=fields))
    assert (reset.kind, reset.code) == (FrameType.RST_STREAM, ErrorCode.PROTOCOL_ERROR)
    assert peer.events == []


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ((b":method", b"GET"), b"405"),
        ((b"content-type", b"application/json"), b"415"),
        ((b"content-type", b"application/grpc-web"), b"415"),
        ((b"content-type", b""), b"415"),
        ((b"x-large", b"x" * 20_000), b"431"),
    ],
)
@pytest.mark.parametrize("flags", [END_HEADERS, END_HEADERS | END_STREAM])
def test_what_is_no_grpc_call_gets_an_http_status(raw_peer, change, status, flags):
    peer = raw_peer()
    sent = peer.request(1, headers=fields_with(change), flags=flags)
    answer, *rest = peer.send(sent)
    assert answer.flags == END_HEADERS | END_STREAM
    assert peer.fields(answer) == {b":status": status}
    # Only a request that is still under way has to be stopped.
    resets = [] if flags & END_STREAM else [(FrameType.RST_STREAM, ErrorCode.NO_ERROR)]
    assert [(f.kind, f.code) for f in rest] == resets
    assert peer.events == []


@pytest.mark.parametrize(
    "content_type",
    [b"application/grpc", b"application/grpc+proto", b"application/grpc;charset=utf-8"],
)
def test_all_spellings_of_grpc_are_calls(raw_peer, content_type):
    peer = raw_peer()
    peer.send(peer.request(1, headers=fields_with((b"content-type", content_type))))
    assert [type(e) for e in peer.events] == [events.CallStarted]


@pytest.mark.parametrize(
    ("length", "body", "fault"),
    [
        (b"6", b"\0\0\0\0\1x", False),
        (b"5", b"\0\0\0\0\1x", True),
        (b"7", b"\0\0\0\0\1x", True),
        (b"1", b"", True),
        (b"0", b"", False),
    ],
)
def test_content_length_must_be_the_length(raw_peer, length, body, fault):
    peer = raw_peer()
    peer.send(peer.request(1, headers=fields_with((b"content-length", length))))
    answer = peer.send(frames.frame(FrameType.DATA, END_STREAM, 1, body))
    codes = [f.code for f in answer if f.kind == FrameType.RST_STREAM]
    assert codes == ([ErrorCode.PROTOCOL_ERROR] if fault else [])


def test_nothing_is_remembered_while_blocks_depend_on_each_other():
    """The same bytes mean different headers as long as there is a table."""
    ours, theirs = reader(), hpack.Encoder()
    theirs.encode([(b"a", b"1")])
    first = ours.read(hpack.Encoder().encode([(b"a", b"1")]))
    indexed = theirs.encode([(b"a", b"1")])
    assert len(indexed) == 1
    assert ours.read(indexed).headers == first.headers
    ours.read(b"\x40\x01b\x012")
    # Index 62 is the newest entry: another one now.
    assert ours.read(indexed).headers == ((b"b", b"2"),)
    assert not ours.remembering


def test_once_the_table_is_gone_equal_bytes_are_read_once():
    ours, theirs = reader(), hpack.Encoder()
    ours.read(theirs.encode(fields_with()))
    ours.forbid_table()
    theirs.header_table_size = 0
    first = theirs.encode(fields_with())
    assert first.startswith(b"\x20")
    assert ours.read(first).headers == tuple(fields_with())
    assert ours.remembering
    later = theirs.encode(fields_with())
    assert ours.read(later) is ours.read(later)
    assert ours.read(later).headers == tuple(fields_with())
    assert ours.read(b"\x40\x01a\x011").headers == ((b"a", b"1"),)
    with pytest.raises(ConnectionFault):
        ours.read(b"\xbe")


def test_the_memo_is_bounded(monkeypatch):
    monkeypatch.setattr(headers, "MEMO_ENTRIES", 4)
    ours, encoder = reader(), hpack.Encoder()
    encoder.header_table_size = 0
    ours.forbid_table()
    for number in range(20):
        ours.read(encoder.encode([(b"x", b"%d" % number)]))
        assert len(ours._memo) <= 4
    long = encoder.encode([(b"x", b"y" * 3000)], huffman=False)
    assert ours.read(long) is not ours.read(long)


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from([b"a", b"grpc-timeout", b":path"]),
                st.sampled_from([b"", b"/x", b"5S", b"a longer value"]),
            ),
            max_size=4,
        ),
        max_size=12,
    ),
    st.integers(0, 12),
)
def test_memo_or_not_the_headers_are_those_that_were_encoded(blocks, acknowledged):
    ours, encoder = reader(), hpack.Encoder()
    for number, block in enumerate(blocks):
        if number == acknowledged:
            ours.forbid_table()
            encoder.header_table_size = 0
        assert ours.read(encoder.encode(block)).headers == tuple(block)


@given(st.binary(max_size=60))
def test_no_block_raises_anything_but_a_fault(block):
    codes = []
    try:
        reader().read(block)
    except ConnectionFault as fault:
        codes.append(fault.code)
    assert set(codes) <= {ErrorCode.COMPRESSION_ERROR, ErrorCode.ENHANCE_YOUR_CALM}


def test_a_list_far_over_the_limit_ends_the_connection(raw_peer):
    # Small on the wire: the same long field again and again, from the table.
    bomb = b"\x3f\xe1\x1f" + b"\x40\x01a\x7f\x81\x05" + b"x" * 800 + b"\xbe" * 100
    peer = raw_peer(Limits(header_block=2000), shake=False)
    (*_, goaway) = peer.send(
        frames.PREFACE
        + frames.settings({})
        + frames.frame(FrameType.HEADERS, END_HEADERS, 1, bomb)
    )
    assert (goaway.kind, goaway.code) == (FrameType.GOAWAY, ErrorCode.ENHANCE_YOUR_CALM)


def test_our_blocks_never_use_a_table(raw_peer):
    """The first says so, and the same bytes are sent again and again after it."""
    peer = raw_peer()
    sent = []
    for stream_id in (1, 3, 5):
        peer.open(stream_id)
        peer.server.send_messages(stream_id, [b"x"])
        peer.server.finish(stream_id)
        sent.append([f.payload for f in peer.send(b"") if f.kind == FrameType.HEADERS])
    assert sent[0] == [headers.NO_TABLE + sent[1][0], sent[1][1]]
    assert sent[1] == sent[2]
    strict = hpack.Decoder()
    strict.max_allowed_table_size = 0
    strict.header_table_size = 0
    assert dict(strict.decode(sent[0][0], raw=True))[b":status"] == b"200"


@pytest.mark.parametrize("size", [1, 126, 127, 128, 254, 255, 1000, 1024])
def test_lengths_of_any_size_are_decoded_back(size):
    block = headers.trailers(13, "x" * size)
    assert dict(hpack.Decoder().decode(block, raw=True)) == {
        b"grpc-status": b"13",
        b"grpc-message": b"x" * size,
    }


@pytest.mark.parametrize(
    ("message", "encoded"),
    [
        ("plain text", b"plain text"),
        ("50% off\n", b"50%25 off%0A"),
        ("naïve", b"na%C3%AFve"),
        ("~\x7f", b"~%7F"),
        ("\ud800", b"?"),
    ],
)
def test_messages_are_percent_encoded(message, encoded):
    assert headers.percent(message) == encoded


def test_the_longest_message_fits_into_the_smallest_frame():
    assert len(headers.trailers(2, "ä" * 100_000)) < frames.DEFAULT_MAX_FRAME
