"""Header blocks: the peer's read, and remembered; ours written, once.

Reading is HPACK (https://www.rfc-editor.org/rfc/rfc7541) by the `hpack` package for as
long as blocks depend on each other. We announce a dynamic table of size 0, and when the
peer has acknowledged that and said so in a block, equal bytes mean equal headers: from
then on one dict answers. Envoy's blocks for one cluster differ in nothing, or in a trace
header, so almost every call saves the 30 µs of a decode.

Ours never use the table, so they are constants but for the gRPC message of an error.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

import hpack
import msgspec

from extproc.server.h2.errors import ConnectionFault, ErrorCode
from extproc.server.h2.frames import END_HEADERS, END_STREAM, HEAD, FrameType

Header = tuple[bytes, bytes]

MEMO_ENTRIES = 256
"""Blocks to remember: one for each authority, path and timeout that one Envoy sends."""

MEMO_BLOCK = 2048
"""Longest block to remember, in bytes, so that the memo stays under 1 MiB or so."""

_NAME = re.compile(rb"[!-9;-@\[-~]+")
"""RFC 9113, section 8.2.1: no control byte, space, upper case or colon."""

_VALUE = re.compile(rb"(?:[^\0\r\n \t](?:[^\0\r\n]*[^\0\r\n \t])?)?")
"""Section 8.2.1: no NUL, CR or LF anywhere, no space or tab at either end."""

_CONNECTION_SPECIFIC = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""Section 8.2.2: these make a message malformed."""

_REQUIRED = frozenset((b":method", b":scheme", b":path"))
_PSEUDO = _REQUIRED | {b":authority"}


class Fields(msgspec.Struct, frozen=True, gc=False):
    """One header block, and what is to be known of it."""

    headers: tuple[Header, ...]
    request_fault: str
    """Why this is no request head (section 8.3.1); empty when it is one."""
    trailers_fault: str
    """Why these are no trailers (section 8.1); empty when they are."""
    refusal: int
    """The HTTP status that a well-formed request gets that is no gRPC call; 0 for one."""
    path: str
    body_size: int
    """By `content-length`; -1 without it."""


class HeaderReader:
    """Read the header blocks of one connection, in the order in which they come."""

    __slots__ = ("_decoder", "_list_limit", "_memo", "_remembering")

    def __init__(self, *, list_limit: int, hard_limit: int) -> None:
        self._decoder = hpack.Decoder(max_header_list_size=hard_limit)
        self._list_limit = list_limit
        self._memo: dict[bytes, Fields] = {}
        self._remembering = False

    @property
    def remembering(self) -> bool:
        """Whether blocks no longer depend on each other."""
        return self._remembering

    def known(self, block: bytes) -> Fields | None:
        """Return the fields of the next block, if it is like one before."""
        return self._memo.get(block)

    def forbid_table(self) -> None:
        """Note that the peer has acknowledged HEADER_TABLE_SIZE = 0."""
        # The next block must say so too, and hpack checks that it does (RFC 9113, 4.3.1).
        self._decoder.max_allowed_table_size = 0

    def read(self, block: bytes) -> Fields:
        """Return the fields of the next block.

        Raises:
            ConnectionFault: the block cannot be decoded, and no later one could be.
        """
        known = self._memo.get(block)
        if known is not None:
            return known
        try:
            headers = tuple(
                (bytes(name), bytes(value))
                for name, value in self._decoder.decode(block, raw=True)
            )
        except hpack.OversizedHeaderListError:
            raise ConnectionFault(
                ErrorCode.ENHANCE_YOUR_CALM, "header list far over the limit"
            ) from None
        # IndexError: hpack reads past the end of some truncated literals.
        except (hpack.HPACKError, IndexError):
            raise ConnectionFault(
                ErrorCode.COMPRESSION_ERROR, "header block cannot be decoded"
            ) from None
        fields = _judge(headers, self._list_limit)
        if not self._remembering:
            # Only a block decoded *after* the table went away is free of it.
            self._remembering = self._decoder.max_allowed_table_size == 0
        if self._remembering and len(block) <= MEMO_BLOCK:
            if len(self._memo) >= MEMO_ENTRIES:
                self._memo.clear()
            self._memo[block] = fields
        return fields


def _judge(headers: tuple[Header, ...], list_limit: int) -> Fields:
    """Work out once what a block is good for."""
    fault = _field_fault(headers)
    values = dict(headers)
    length = values.get(b"content-length", b"")
    if length and not length.isdigit():
        fault = fault or "content-length is not a number"
    # 32 a field: the accounting of SETTINGS_MAX_HEADER_LIST_SIZE (section 6.5.2).
    size = sum(len(name) + len(value) + 32 for name, value in headers)
    return Fields(
        headers=headers,
        request_fault=fault or _pseudo_fault(headers),
        trailers_fault=fault
        or next(("pseudo-header in trailers" for n, _ in headers if n[:1] == b":"), ""),
        refusal=431 if size > list_limit else _refusal(values),
        path=values.get(b":path", b"").decode("latin-1"),
        body_size=int(length) if length.isdigit() and len(length) < 20 else -1,
    )


def _field_fault(headers: Sequence[Header]) -> str:
    """Return what makes the fields malformed in any place; empty if nothing does."""
    for name, value in headers:
        bare = name[1:] if name[:1] == b":" else name
        if not _NAME.fullmatch(bare):
            return "field name with a forbidden byte"
        if not _VALUE.fullmatch(value):
            return "field value with a forbidden byte"
        if name in _CONNECTION_SPECIFIC:
            return "connection-specific field"
        if name == b"te" and value != b"trailers":
            return "te other than trailers"
    return ""


def _pseudo_fault(headers: Sequence[Header]) -> str:
    """Return what is wrong with the pseudo-headers of a request; empty if nothing is."""
    names = [name for name, _ in headers]
    pseudo = [name for name in names if name[:1] == b":"]
    if names[: len(pseudo)] != pseudo:
        return "pseudo-header behind a field"
    if len(set(pseudo)) != len(pseudo):
        return "pseudo-header given twice"
    if not _REQUIRED <= set(pseudo) <= _PSEUDO:
        return "pseudo-headers of no request"
    if not dict(headers)[b":path"]:
        return "empty path"
    return ""


def _refusal(values: dict[bytes, bytes]) -> int:
    """Return the HTTP status for a request that is not gRPC, 0 for one that is."""
    if values.get(b":method") != b"POST":
        return 405
    kind = values.get(b"content-type", b"")
    # "application/grpc-web" begins alike and is another protocol.
    grpc = kind.startswith(b"application/grpc") and kind[16:17] in (b"", b"+", b";")
    return 0 if grpc else 415


def _literal(name: bytes, value: bytes) -> bytes:
    """Encode a field as a literal without indexing (RFC 7541, section 6.2.2)."""
    return b"\0" + _length(len(name)) + name + _length(len(value)) + value


def _length(number: int) -> bytes:
    """Encode a length with a 7-bit prefix, and without Huffman (sections 5.1, 5.2)."""
    if number < 127:
        return bytes((number,))
    encoded, number = bytearray((127,)), number - 127
    while number >= 128:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


NO_TABLE = b"\x20"
"""A dynamic table size update to 0. It opens our first block, so that no later reduction
of the peer's HEADER_TABLE_SIZE is below our table's size and needs an answer."""

_STATUS_200 = b"\x88"
"""Index 8 of the static table (RFC 7541, appendix A)."""

RESPONSE = _STATUS_200 + _literal(b"content-type", b"application/grpc")
TRAILERS_OK = _literal(b"grpc-status", b"0")

_ANSWER_HEAD = len(RESPONSE) << 8 | FrameType.HEADERS
_TRAILERS_HEAD = len(TRAILERS_OK) << 8 | FrameType.HEADERS
_RESET_HEAD = 4 << 8 | FrameType.RST_STREAM
_FAREWELL = struct.Struct(f">IBI{len(TRAILERS_OK)}sIBII")


def answer(stream_id: int) -> bytes:
    """Write the frame of `RESPONSE`."""
    return HEAD.pack(_ANSWER_HEAD, END_HEADERS, stream_id) + RESPONSE


def farewell(stream_id: int) -> bytes:
    """Write the frame of `TRAILERS_OK`, and RST_STREAM with NO_ERROR behind it."""
    return _FAREWELL.pack(
        _TRAILERS_HEAD, END_HEADERS | END_STREAM, stream_id, TRAILERS_OK,
        _RESET_HEAD, 0, stream_id, 0,
    )  # fmt: skip


MESSAGE_LIMIT = 1024
"""Longest `grpc-message` that we send, in bytes before encoding: with it a block always
fits into the smallest frame that a peer may demand, and we never write CONTINUATION."""


def trailers(status: int, message: str) -> bytes:
    """Encode the trailers of a call."""
    if not status and not message:
        return TRAILERS_OK
    block = _literal(b"grpc-status", b"%d" % status)
    return block + (_literal(b"grpc-message", percent(message)) if message else b"")


def bare_status(status: int) -> bytes:
    """Encode the response to a request that is not gRPC."""
    return _literal(b":status", b"%d" % status)


def percent(message: str) -> bytes:
    """Encode a `grpc-message`: printable ASCII but for ``%``, the rest as ``%XX``.

    https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md ("Percent-Encoded")
    """
    return b"".join(
        bytes((byte,)) if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte
        for byte in message.encode("utf-8", "replace")[:MESSAGE_LIMIT]
    )
