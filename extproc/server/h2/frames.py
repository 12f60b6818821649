"""HTTP/2 frames: their numbers and how they are written.

A frame is ``length:24 type:8 flags:8 reserved:1 stream:31 payload``
(https://www.rfc-editor.org/rfc/rfc9113#section-4.1). Reading happens in `connection`,
straight from the receive buffer: an object for each frame would cost more than its
meaning.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum

from extproc.server.h2.errors import ConnectionFault, ErrorCode

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first (section 3.4)."""

HEAD = struct.Struct(">IBI")
"""A frame's first nine bytes, as ``length << 8 | type``, ``flags``, ``stream``."""

HEAD_SIZE = HEAD.size
NUMBER = struct.Struct(">IBII")
"""A whole frame whose payload is one number."""
MAX_STREAM_ID = 0x7FFFFFFF
MAX_WINDOW = 0x7FFFFFFF
DEFAULT_WINDOW = 65_535
DEFAULT_MAX_FRAME = 16_384
LARGEST_MAX_FRAME = 16_777_215

END_STREAM = 0x1
"""On DATA and HEADERS."""
ACK = 0x1
"""On SETTINGS and PING."""
END_HEADERS = 0x4
"""On HEADERS and CONTINUATION."""
PADDED = 0x8
"""On DATA and HEADERS."""
PRIORITIZED = 0x20
"""On HEADERS."""


class FrameType(IntEnum):
    """What a frame is (section 6)."""

    DATA = 0x0
    HEADERS = 0x1
    PRIORITY = 0x2
    RST_STREAM = 0x3
    SETTINGS = 0x4
    PUSH_PROMISE = 0x5
    PING = 0x6
    GOAWAY = 0x7
    WINDOW_UPDATE = 0x8
    CONTINUATION = 0x9


class Setting(IntEnum):
    """What a SETTINGS frame can change (section 6.5.2)."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


_SETTING = struct.Struct(">HI")

_LEGAL: Mapping[int, tuple[int, int, ErrorCode]] = {
    Setting.ENABLE_PUSH: (0, 1, ErrorCode.PROTOCOL_ERROR),
    Setting.INITIAL_WINDOW_SIZE: (0, MAX_WINDOW, ErrorCode.FLOW_CONTROL_ERROR),
    Setting.MAX_FRAME_SIZE: (
        DEFAULT_MAX_FRAME,
        LARGEST_MAX_FRAME,
        ErrorCode.PROTOCOL_ERROR,
    ),
}
"""Least and most of the settings that have them, and the error of any other value."""


def frame(kind: FrameType, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Write one frame."""
    return HEAD.pack(len(payload) << 8 | kind, flags, stream_id) + payload


def settings(values: Mapping[Setting, int]) -> bytes:
    """Write a SETTINGS frame."""
    payload = b"".join(_SETTING.pack(name, value) for name, value in values.items())
    return frame(FrameType.SETTINGS, 0, 0, payload)


def window_update(stream_id: int, increment: int) -> bytes:
    """Write a WINDOW_UPDATE frame; stream 0 is the connection."""
    return NUMBER.pack(4 << 8 | 8, 0, stream_id, increment)


def rst_stream(stream_id: int, code: int) -> bytes:
    """Write a RST_STREAM frame."""
    return NUMBER.pack(4 << 8 | 3, 0, stream_id, code)


def goaway(last_stream_id: int, code: int, reason: str = "") -> bytes:
    """Write a GOAWAY frame."""
    payload = last_stream_id.to_bytes(4, "big") + code.to_bytes(4, "big")
    return frame(FrameType.GOAWAY, 0, 0, payload + reason.encode())


def read_settings(payload: bytes) -> Iterator[tuple[int, int]]:
    """Yield the identifiers and values of a SETTINGS payload, unknown ones included.

    Raises:
        ConnectionFault: the payload is cut short, or a value is not legal.
    """
    if len(payload) % _SETTING.size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a broken length")
    for name, value in _SETTING.iter_unpack(payload):
        least, most, code = _LEGAL.get(name, (0, 0xFFFFFFFF, ErrorCode.PROTOCOL_ERROR))
        if not least <= value <= most:
            raise ConnectionFault(code, f"{Setting(name).name} out of range")
        yield name, value


def unpad(buffer: bytes, start: int, stop: int) -> tuple[int, int]:
    """Return where the content of a PADDED frame begins and ends (section 6.1).

    Raises:
        ConnectionFault: there is more padding than frame.
    """
    if start == stop:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "no room for the pad length")
    begin, end = start + 1, stop - buffer[start]
    if end < begin:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than frame")
    return begin, end


def uint32(payload: bytes) -> int:
    """Return the payload of a frame that is one number, its reserved bit included.

    Raises:
        ConnectionFault: the payload is not four bytes.
    """
    if len(payload) != 4:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "payload is not four bytes")
    return int.from_bytes(payload, "big")
