"""Whatever cuts bytes: framings, codings, members, forms, HTTP/2, gRPC, both links."""

from __future__ import annotations

import gzip
import json
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import brotli
import hpack
import msgspec
import zstandard
from google.protobuf.message import DecodeError

from extproc._pb.ext_proc_pb2 import ProcessingRequest
from extproc.errors import BadRequest, ClientError, ProtocolViolation, TruncatedStream
from extproc.framing.base import Decoder
from extproc.framing.encoding import ContentDecoder
from extproc.framing.eventstream import EventStreamDecoder, read_headers
from extproc.framing.members import is_json_object, patch, read_members, remove
from extproc.framing.multipart import FieldFinder
from extproc.framing.sse import Frame, SSEDecoder, cut_frames
from extproc.server import codec, heads
from extproc.server.h2 import frames
from extproc.server.h2.connection import ServerConnection
from extproc.server.h2.errors import ConnectionFault
from extproc.server.h2.events import CallHalfClosed, CallStarted, MessagesReceived
from extproc.server.h2.headers import HeaderReader
from extproc.server.h2.limits import Limits
from extproc.server.h2.messages import MessageCutter, Unacceptable
from extproc.server.link_frames import from_control, from_worker
from tests.casebook import cases
from tests.fuzz.shapes import JSON, MESSAGES, SSE
from tests.fuzz.target import Target, pick, pieces


def streams(kind: str) -> list[bytes]:
    """Return the recorded streams of a file type."""
    return [
        upstream.body
        for case in cases()
        for folder in sorted(case.folder.iterdir())
        if (folder / f"upstream.{kind}").exists()
        for upstream in (case.upstreams(folder.name)["stream"],)
    ]


def requests() -> list[bytes]:
    """Return the recorded requests."""
    return [
        file.read_bytes()
        for case in cases()
        for file in sorted(case.folder.glob("*.json"))
    ]


# ---------------------------------------------------------------- framings


def _framed(decoder: Decoder, data: Sequence[bytes]) -> tuple[list[Frame], str]:
    found: list[Frame] = []
    try:
        for piece in data:
            found += decoder.feed(piece)
        found += decoder.close()
    except (ProtocolViolation, TruncatedStream) as error:
        return found, type(error).__name__
    return found, ""


def sse(data: bytes) -> None:
    whole = _framed(SSEDecoder(), [data])
    assert _framed(SSEDecoder(), pieces(data)) == whole
    assert b"".join(cut_frames(data)) == data


def event_stream(data: bytes) -> None:
    whole = _framed(EventStreamDecoder(), [data])
    assert _framed(EventStreamDecoder(), pieces(data)) == whole


def event_stream_headers(data: bytes) -> None:
    try:
        read_headers(data)
    except ProtocolViolation:
        return


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda text: gzip.compress(text, mtime=0),
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}
LIMIT = 64 * 1024


def _inflated(coding: str, data: Sequence[bytes]) -> tuple[bytes, str]:
    decoder = ContentDecoder(coding, limit=LIMIT)
    found = b""
    try:
        for piece in data:
            found += decoder.feed(piece)
        decoder.close()
    except ClientError:
        return b"", "refused"  # why may depend on the split, where two things are wrong
    return found, ""


def _decodes(coding: str) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        found, error = _inflated(coding, [data])
        assert len(found) <= LIMIT
        again, wrong = _inflated(coding, pieces(data))
        # In pieces zstandard overlooks a content that is shorter than its frame says.
        assert (again, wrong) == (found, error) or coding == "zstd"
        assert again == found or error or wrong

    return run


def _compressed(coding: str) -> Callable[[], list[bytes]]:
    texts = (b"", b"{}", bytes(LIMIT), bytes(LIMIT + 1), *requests()[:3])
    return lambda: [CODINGS[coding](text) for text in texts]


# ---------------------------------------------------------------- members, forms


def members(data: bytes) -> None:
    try:
        found = read_members(data)
    except (BadRequest, RecursionError):  # the exchange answers both with 400
        return
    assert is_json_object(data)
    twice: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        # Every object comes here, the outermost last.
        names = [name for name, _ in pairs]
        twice[:] = names if len(set(names)) < len(names) else ()
        return dict(pairs)

    read = json.loads(data, object_pairs_hook=once, parse_int=str)
    assert not twice
    assert list(found) == list(read)
    changed = read_members(patch(data, found, {"model": b'"m"', "new": b"1"}))
    assert changed["model"] == msgspec.Raw(b'"m"')
    left = read_members(remove(data, found, {"model"}))
    assert list(left) == [name for name in read if name != "model"]


BOUNDARY = b"7MA4YWxk"
FORM = (
    b'--7MA4YWxk\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\nRIFF\r\n--7MA4\r\n"
    b'--7MA4YWxk\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--7MA4YWxk \r\ncontent-disposition: form-data; name=prompt\r\n\r\n\r\n'
    b"--7MA4YWxk--\r\n"
)  # fmt: skip


def _found(data: Sequence[bytes]) -> tuple[str | None, tuple[int, int], str]:
    finder = FieldFinder(BOUNDARY, "model")
    try:
        for piece in data:
            finder.feed(piece)
        finder.close()
    except BadRequest:
        return None, (0, 0), "refused"
    return finder.value, finder.span, ""


def form(data: bytes) -> None:
    value, (start, end), error = _found([data])
    assert _found(pieces(data)) == (value, (start, end), error)
    if value is not None:
        assert data[start:end] == value.encode()


# ---------------------------------------------------------------- HTTP/2 and gRPC

HEADERS = (
    (b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a.b/C"),
    (b":authority", b"w"), (b"te", b"trailers"), (b"content-type", b"application/grpc"),
)  # fmt: skip
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
F, S = frames.FrameType, frames.Setting


def _sessions() -> list[bytes]:
    """Return what a peer says behind its preface."""
    block = hpack.Encoder().encode(HEADERS)
    message = struct.pack(">BI", 0, 5) + b"hello"
    opened = frames.frame(F.HEADERS, frames.END_HEADERS, 1, block)
    return [
        frames.settings({}) + frames.frame(F.SETTINGS, frames.ACK, 0) + opened
        + frames.frame(F.DATA, 0, 1, message)
        + frames.frame(F.DATA, frames.END_STREAM, 1, message),
        frames.settings({S.INITIAL_WINDOW_SIZE: 0, S.MAX_FRAME_SIZE: 16384}) + opened
        + frames.window_update(1, 5) + frames.window_update(0, 65535)
        + frames.frame(F.DATA, 0, 1, message[:3]) + frames.frame(F.DATA, 0, 1, message[3:])
        + frames.rst_stream(1, 8),
        frames.settings({}) + frames.frame(F.HEADERS, 0, 1, block[:9])
        + frames.frame(F.CONTINUATION, 0, 1, block[9:20])
        + frames.frame(F.CONTINUATION, frames.END_HEADERS, 1, block[20:])
        + frames.frame(F.PING, 0, 0, bytes(8)) + frames.frame(F.PRIORITY, 0, 1, bytes(5))
        + frames.frame(F.DATA, frames.PADDED, 1, b"\x02" + message + b"\0\0")
        + frames.frame(F.HEADERS, frames.END_HEADERS | frames.END_STREAM, 1, b"\x00\x01a\x01b"),
        frames.settings({}) + opened + frames.frame(F.GOAWAY, 0, 0, bytes(8))
        + frames.frame(F.PUSH_PROMISE, 0, 1, bytes(4)),
    ]  # fmt: skip


LIMITS = Limits(control_frames=50, resets=20, hollow_frames=50, continuations=4)


def _converse(data: Sequence[bytes], *, answering: bool) -> list[Any]:
    peer, happened = ServerConnection(LIMITS), list[Any]()
    for piece in (PREFACE, *data):
        for event in peer.receive_data(piece):
            if isinstance(event, MessagesReceived):
                # How many come in one depends on the read.
                happened += [(event.stream_id, one) for one in event.messages]
            else:
                happened.append(event)
            if not answering:
                continue
            if isinstance(event, CallStarted):
                peer.send_messages(event.stream_id, [b"answer", b""])
            elif isinstance(event, CallHalfClosed):
                peer.send_messages(event.stream_id, [b"last" * 20], end=True)
        peer.data_to_send()
    peer.shutdown()
    peer.replenish()
    assert peer.open_streams <= LIMITS.concurrent_streams
    peer.data_to_send()
    return happened


def http2(data: bytes) -> None:
    cut = pieces(data)
    if pick(data, 2):
        _converse(cut, answering=True)
    else:
        # Of a call that is answered it matters what came before the answer.
        happened = _converse(cut, answering=False)
        assert len(cut) == 1 or _converse([data], answering=False) == happened


def hpack_blocks(data: bytes) -> None:
    reader = HeaderReader(list_limit=4096, hard_limit=16_384)
    try:
        for piece in pieces(data):
            reader.read(piece)
            if pick(data, 2):
                reader.forbid_table()
    except ConnectionFault:
        return


def _cut(data: Sequence[bytes]) -> tuple[list[bytes], str]:
    cutter, found = MessageCutter(), list[bytes]()
    for piece in data:
        try:
            found += cutter.feed(piece, 0, len(piece), LIMIT)
        except Unacceptable as refused:
            return found + refused.before, refused.reason
    return found, ""


def grpc_messages(data: bytes) -> None:
    assert _cut([data]) == _cut(pieces(data))


def _ext_proc() -> list[bytes]:
    headers = {"headers": [
        {"key": name.decode(), "raw_value": value} for name, value in HEADERS
    ]}  # fmt: skip
    attributes = {heads.ATTRIBUTES: {"upstream.request_attempt_count": 2}}
    asked: Any = {"headers": headers, "end_of_stream": False}
    body: Any = {"body": b"{}", "end_of_stream": True}
    answered = ProcessingRequest(response_headers=asked)
    for key, fields in attributes.items():
        answered.attributes[key].update(fields)
    noted = answered.metadata_context.filter_metadata[heads.ATTEMPTS]
    noted.update({"a1": "429 7", "t1": 1.0})
    return [
        one.SerializeToString()
        for one in (
            ProcessingRequest(request_headers=asked),
            ProcessingRequest(request_body=body),
            ProcessingRequest(response_body=body),
            answered,
        )
    ]


def ext_proc(data: bytes) -> None:
    try:
        event = codec.decode(data)
    except (DecodeError, ValueError):
        return
    for end in (b"\x22\x02\x10\x01", b"\x2a\x02\x10\x01"):
        if data.startswith(end):
            continue  # which is all that `decode` reads of it
        last = codec.decode_last([data, end])
        if last is not None:
            assert type(event) is type(last)
            assert last == type(last)(event.data, end=True)


# ---------------------------------------------------------------- the link


def _link() -> list[bytes]:
    texts = (
        {"type": "hello", "pid": 1, "name": "w0"},
        {"type": "applied", "generation": 3},
        {"type": "records", "first_sequence": 0, "completions": [{"id": "gw-1"}]},
        {"type": "live", "deployments": [], "benches": [], "open": 3},
        {"type": "kept", "up_to": 3},
        {"type": "balances", "balances": {"a": {"nanos": 1}}},
    )
    return [msgspec.msgpack.encode(text) for text in texts]


def link(data: bytes) -> None:
    for read in (from_worker, from_control):
        try:
            read(data)
        except msgspec.DecodeError:
            continue


TARGETS = (
    Target("sse", lambda: streams("sse"), sse, SSE),
    Target("event stream", lambda: streams("events"), event_stream, MESSAGES),
    Target(
        "event stream's headers",
        lambda: [b"\x0b:event-type\x07\x00\x05chunk", b"\x01a\x04\0\0\0\x01\x01b\x00"],
        event_stream_headers,
    ),
    *(Target(name, _compressed(name), _decodes(name)) for name in CODINGS),
    Target("members", requests, members, JSON),
    Target("form", lambda: [FORM], form),
    Target("http2", _sessions, http2),
    Target("hpack", lambda: [hpack.Encoder().encode(HEADERS)], hpack_blocks),
    Target("grpc messages", lambda: [b"\0\0\0\0\x05hello" * 3], grpc_messages),
    Target("ext_proc", _ext_proc, ext_proc),
    Target("link", _link, link),
)
