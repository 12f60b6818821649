"""What Redis replies, of RESP 2: integers, strings, errors, arrays of them.

https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from redis.exceptions import InvalidResponse, ResponseError

Reply = int | bytes | None | ResponseError | list["Reply"]

DEEPEST: Final = 8
"""Arrays in arrays; our scripts return two in one."""
LONGEST: Final = 64 << 20
"""Bytes of one reply: thousands of workers' words."""
_END: Final = b"\r\n"


class Replies:
    """Makes replies of bytes, however these are split."""

    def __init__(self) -> None:
        self._left = b""

    def feed(self, data: bytes) -> list[Reply]:
        """Return the replies that are whole with `data`; an error is one of them.

        Raises:
            InvalidResponse: it is not RESP 2, or too long.
        """
        if self._left:
            data = self._left + data
        found: list[Reply] = []
        at = 0
        try:
            while at < len(data):
                reply, at = _read(data, at, DEEPEST)
                found.append(reply)
        except EOFError:
            if len(data) - at > LONGEST:
                raise InvalidResponse("the reply is too long") from None
        except ValueError:
            raise InvalidResponse("this is no reply") from None
        self._left = data[at:]
        return found


def _read(data: bytes, at: int, depth: int) -> tuple[Reply, int]:
    """Return the reply that begins at `at`, and where it ends.

    Raises:
        EOFError: it is not whole.
        ValueError: it is none.
    """
    end = data.find(_END, at)
    if end < 0:
        raise EOFError
    kind, said, at = data[at], data[at + 1 : end], end + 2
    if kind in _SIMPLE:
        return _SIMPLE[kind](said), at
    size = int(said)
    if size < 0:
        return None, at
    if kind == ord("$"):
        if len(data) < at + size + 2:
            raise EOFError
        return data[at : at + size], at + size + 2
    if kind != ord("*") or not depth:
        raise ValueError
    several: list[Reply] = []
    for _ in range(size):
        one, at = _read(data, at, depth - 1)
        several.append(one)
    return several, at


def _error(said: bytes) -> ResponseError:
    return ResponseError(said.decode(errors="replace"))


_SIMPLE: Final[dict[int, Callable[[bytes], Reply]]] = {
    ord(":"): int,
    ord("+"): bytes,
    ord("-"): _error,
}


def command(*parts: bytes) -> bytes:
    """Return a command as it is sent."""
    return b"*%d\r\n" % len(parts) + b"".join(map(argument, parts))


def argument(part: bytes) -> bytes:
    """Return one part of a command as it is sent."""
    return b"$%d\r\n%s\r\n" % (len(part), part)
