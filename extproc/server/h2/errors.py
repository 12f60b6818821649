"""The codes of HTTP/2 and gRPC errors, and the two ways in which a peer can be wrong.

    Fault
    ├── StreamFault       one stream is reset: RST_STREAM with the code
    └── ConnectionFault   all of the connection ends: GOAWAY with the code

Both are raised and caught inside the core: a caller sees events, never these.
https://www.rfc-editor.org/rfc/rfc9113#section-5.4
"""

from __future__ import annotations

from enum import IntEnum


class ErrorCode(IntEnum):
    """Why a stream or a connection ends (RFC 9113, section 7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class Status(IntEnum):
    """The gRPC statuses that this server answers with.

    https://grpc.github.io/grpc/core/md_doc_statuscodes.html
    """

    OK = 0
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13


class Fault(Exception):
    """The peer broke the protocol or a limit."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(f"{code.name}: {reason}")
        self.code = code
        self.reason = reason
        """One sentence of ours, without any byte of the peer's: it is sent and logged."""


class StreamFault(Fault):
    """Only the stream at hand is lost."""


class ConnectionFault(Fault):
    """What both sides know of the connection no longer agrees, or the peer attacks."""
