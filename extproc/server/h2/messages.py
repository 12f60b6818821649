"""gRPC's length-prefixed messages: ``compressed:8 length:32 message``.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md ("Length-Prefixed-Message")
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from extproc.server.h2.errors import Status

PREFIX = struct.Struct(">BI")
PREFIX_SIZE = PREFIX.size

MESSAGE_HEAD = struct.Struct(">IBIBI")
"""What stands before a message that a frame begins with: `frames.HEAD` and `PREFIX`."""
MESSAGE_HEAD_SIZE = MESSAGE_HEAD.size


class Unacceptable(Exception):
    """A message that the call is ended for, with a gRPC status."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.before: list[bytes] = []
        """The good messages that came in the same bytes."""


class MessageCutter:
    """Cut the body of one call into messages, at any split.

    Whole bodies of 32 MiB come in frames of some KiB, so the pieces are kept as they came
    and joined once; a message that comes whole is sliced once.
    """

    __slots__ = ("_needed", "_pieces", "size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._needed = 0
        self.size = 0
        """Bytes held back because their message is not whole."""

    def feed(self, buffer: bytes, start: int, stop: int, limit: int) -> list[bytes]:
        """Return the messages that the bytes from `start` to `stop` complete.

        Raises:
            Unacceptable: a message is compressed, or longer than `limit`.
        """
        if self.size:
            self._pieces.append(buffer[start:stop])
            self.size += stop - start
            if self.size < self._needed:
                return []
            buffer = b"".join(self._pieces)
            start, stop = 0, self.size
            self.clear()
        messages: list[bytes] = []
        needed = PREFIX_SIZE
        while stop - start >= PREFIX_SIZE:
            try:
                end = start + PREFIX_SIZE + _length_at(buffer, start, limit)
            except Unacceptable as exc:
                exc.before = messages
                raise
            if end > stop:
                needed = end - start
                break
            messages.append(buffer[start + PREFIX_SIZE : end])
            start = end
        if start < stop:
            self._pieces = [buffer[start:stop]]
            self.size, self._needed = stop - start, needed
        return messages

    def clear(self) -> None:
        """Drop what is held back."""
        self._pieces = []
        self.size = 0


def _length_at(buffer: bytes, start: int, limit: int) -> int:
    """Return the length that the prefix at `start` announces.

    Raises:
        Unacceptable: the message is compressed, or longer than `limit`.
    """
    compressed, length = PREFIX.unpack_from(buffer, start)
    if compressed:
        # We never announce an encoding, so that no client may use one.
        raise Unacceptable(Status.UNIMPLEMENTED, "compressed messages are not accepted")
    if length > limit:
        raise Unacceptable(
            Status.RESOURCE_EXHAUSTED, f"a message is over {limit} bytes"
        )
    return int(length)


def wrap(messages: Sequence[bytes]) -> bytes:
    """Return the messages with their prefixes, as one run of bytes."""
    if len(messages) == 1:
        return PREFIX.pack(0, len(messages[0])) + messages[0]
    return b"".join(
        part for message in messages for part in (PREFIX.pack(0, len(message)), message)
    )
