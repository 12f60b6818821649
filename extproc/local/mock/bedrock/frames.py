"""Messages of an AWS event stream, written by the mock's own hand.

https://smithy.io/2.0/aws/amazon-eventstream.html
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final

import msgspec

STRING: Final = 7


def message(kind: str, name: str, payload: Any) -> bytes:  # noqa: ANN401
    """Return one message; `kind` is ``event`` or ``exception``."""
    headers = b"".join(
        _header(key, value)
        for key, value in (
            (f":{kind}-type", name),
            (":content-type", "application/json"),
            (":message-type", kind),
        )
    )
    body = msgspec.json.encode(payload)
    sizes = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    prelude = sizes + struct.pack("!I", zlib.crc32(sizes))
    whole = prelude + headers + body
    return whole + struct.pack("!I", zlib.crc32(whole))


def _header(name: str, value: str) -> bytes:
    said = value.encode()
    return (
        bytes([len(name)])
        + name.encode()
        + struct.pack("!BH", STRING, len(said))
        + said
    )
