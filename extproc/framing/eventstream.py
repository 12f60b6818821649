"""AWS event streams: bytes of any split in, whole messages out, every checksum checked.

https://smithy.io/2.0/aws/amazon-eventstream.html (``application/vnd.amazon.eventstream``).
All integers are big-endian. A message is

    total length (4) · headers' length (4) · CRC-32 of those 8 bytes (4)
    headers · payload · CRC-32 of all that stands before it (4)

and a header

    length of the name (1) · name · type (1) · value

A message becomes a `Frame` whose data is the payload. Its name is the ``:event-type`` of an
event; ``:exception throttlingException`` for an exception; ``:error`` and the code for an
error, whose data is the ``:error-message``. No event type begins with a colon.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping

from extproc.errors import GatewayError, ProtocolViolation, TruncatedStream
from extproc.framing.base import Framing
from extproc.framing.sse import Frame

MAX_HEADERS = 128 * 1024
MAX_PAYLOAD = 24 * 1024 * 1024
"""The most bytes of either that AWS's own SDKs take. Without a limit a peer that announces
4 GiB takes all our memory; with the prelude's checksum it cannot do so by a flipped bit."""

_PRELUDE = struct.Struct("!III")
_CRC = struct.Struct("!I")
_OVERHEAD = _PRELUDE.size + _CRC.size

_REMEMBERED = 64
"""Header blocks whose meaning is kept: a stream repeats a handful of them, and would parse
the same bytes again with each delta."""

Value = bool | int | bytes | str


class EventStreamDecoder:
    """Cut a byte stream into messages; see `Decoder`.

    What stands before a broken message is given out first, so that the same frames come
    whatever the split.
    """

    __slots__ = ("_broken", "_known", "_needed", "_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # the beginning of a message
        self._size = 0
        self._needed = _PRELUDE.size
        """How many bytes have to be here before there is anything to do."""
        self._known: dict[bytes, tuple[str, bytes | None]] = {}
        self._broken: GatewayError | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """Return the messages that `data` completes.

        Raises:
            ProtocolViolation: a checksum is wrong, a message is too large, or its headers
                cannot be read.
        """
        if self._broken is not None:
            raise self._broken
        if not self._size and (frame := self._one(data)) is not None:
            return [frame]
        self._size += len(data)
        if self._pieces:
            # Not joined until enough is here: a long message is not copied with each read.
            self._pieces.append(data)
            if self._size < self._needed:
                return []
            data = b"".join(self._pieces)
        frames: list[Frame] = []
        try:
            end = self._cut(data, frames)
        except ProtocolViolation as error:
            self._broken = error
            if not frames:
                raise
            return frames
        self._size = len(data) - end
        self._pieces = [data[end:]] if self._size else []
        return frames

    def close(self) -> list[Frame]:
        """Return nothing: a message has its length, so none is left over.

        Raises:
            TruncatedStream: the stream ended inside a message.
            ProtocolViolation: it had been broken before.
        """
        if self._broken is not None:
            raise self._broken
        if self._size:
            raise TruncatedStream("the provider's stream ended inside a message")
        return []

    def _one(self, data: bytes) -> Frame | None:
        """Return what nearly every read is: one message, whose headers are known."""
        size = len(data)
        if size < _OVERHEAD:
            return None
        total, headers, crc = _PRELUDE.unpack_from(data)
        body = _PRELUDE.size + headers
        block = data[_PRELUDE.size : body]
        if (
            block not in self._known
            or total != size
            or size < body + _CRC.size
            or zlib.crc32(data[:8]) != crc
            or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "big")
        ):
            return None
        name, instead = self._known[block]
        return Frame(name, data[body:-4] if instead is None else instead)

    def _cut(self, data: bytes, frames: list[Frame]) -> int:
        """Append the whole messages of `data` to `frames`; return where they end."""
        start = 0
        while len(data) - start >= _PRELUDE.size:
            total, headers, crc = _PRELUDE.unpack_from(data, start)
            if zlib.crc32(data[start : start + 8]) != crc:
                raise ProtocolViolation("a message's prelude has a wrong checksum")
            if headers > MAX_HEADERS or total > headers + MAX_PAYLOAD + _OVERHEAD:
                raise ProtocolViolation(
                    f"a message of {total} bytes, {headers} of them headers, is too large"
                )
            if total < headers + _OVERHEAD:
                raise ProtocolViolation("a message is shorter than its headers")
            if len(data) - start < total:
                self._needed = total
                return start
            end = start + total
            (crc,) = _CRC.unpack_from(data, end - _CRC.size)
            if zlib.crc32(data[start : end - _CRC.size]) != crc:
                raise ProtocolViolation("a message has a wrong checksum")
            body = start + _PRELUDE.size + headers
            name, instead = self._name(data[start + _PRELUDE.size : body])
            payload = data[body : end - _CRC.size] if instead is None else instead
            frames.append(Frame(name, payload))
            start = end
        self._needed = _PRELUDE.size
        return start

    def _name(self, block: bytes) -> tuple[str, bytes | None]:
        """Return a message's name, and what stands for its payload, by its headers."""
        known = self._known.get(block)
        if known is None:
            known = _name_of(read_headers(block))
            if len(self._known) < _REMEMBERED and len(block) < 1024:
                self._known[block] = known
        return known


EVENT_STREAM = Framing("application/vnd.amazon.eventstream", EventStreamDecoder)


def _name_of(headers: Mapping[str, Value]) -> tuple[str, bytes | None]:
    match headers:
        case {":message-type": "event", ":event-type": str(name)}:
            return name, None
        case {":message-type": "exception", ":exception-type": str(name)}:
            return f":exception {name}", None
        case {":message-type": "error", ":error-code": str(code)}:
            words = headers.get(":error-message")
            return f":error {code}", words.encode() if isinstance(words, str) else b""
        case _:
            raise ProtocolViolation("a message's headers do not say what it is")


# ---------------------------------------------------------------- headers


def _fixed(form: str) -> Callable[[bytes, int], tuple[int, int]]:
    number = struct.Struct(form)

    def read(block: bytes, at: int) -> tuple[int, int]:
        (value,) = number.unpack_from(block, at)
        return value, at + number.size

    return read


def _sized(block: bytes, at: int) -> tuple[bytes, int]:
    (size,) = struct.unpack_from("!H", block, at)
    return _take(block, at + 2, size)


def _take(block: bytes, at: int, size: int) -> tuple[bytes, int]:
    if at + size > len(block):
        raise ProtocolViolation("a message's header is cut off")
    return block[at : at + size], at + size


def _text(block: bytes, at: int) -> tuple[str, int]:
    value, end = _sized(block, at)
    return value.decode(), end


_READERS: Mapping[int, Callable[[bytes, int], tuple[Value, int]]] = {
    0: lambda _, at: (True, at),
    1: lambda _, at: (False, at),
    2: _fixed("!b"),
    3: _fixed("!h"),
    4: _fixed("!i"),
    5: _fixed("!q"),
    6: _sized,
    7: _text,
    8: _fixed("!q"),  # milliseconds since 1970
    9: lambda block, at: _take(block, at, 16),  # a UUID
}
"""The types of header values."""


def read_headers(block: bytes) -> dict[str, Value]:
    """Read a message's headers.

    Raises:
        ProtocolViolation: one is cut off, of an unknown type, or there twice.
    """
    headers: dict[str, Value] = {}
    at = 0
    try:
        while at < len(block):
            name, at = _take(block, at + 1, block[at])
            read = _READERS[block[at]]
            key = name.decode()
            if key in headers:
                raise ProtocolViolation(f"a message has the header {key!r} twice")
            headers[key], at = read(block, at + 1)
    except (struct.error, IndexError, KeyError, UnicodeDecodeError):
        raise ProtocolViolation("a message's headers cannot be read") from None
    return headers
