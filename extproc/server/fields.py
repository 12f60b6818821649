"""Protobuf's fields, written by hand: numbers, lengths, and what is nested in what.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

VARINTS: Final = (
    *(bytes((number,)) for number in range(128)),
    *(bytes((low, high)) for high in range(1, 128) for low in range(128, 256)),
)
"""Of all numbers that take one byte or two: most lengths do, and a request has dozens."""
_TABLED: Final = len(VARINTS)


def varint(number: int) -> bytes:
    """Write a number."""
    if number < _TABLED:
        return VARINTS[number]
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, *payload: bytes) -> bytes:
    """Write a length-delimited field: a message, string or bytes."""
    size = sum(map(len, payload))
    return b"".join((varint(number << 3 | 2), varint(size), *payload))


_TRUE = b"\x01"


def flag(number: int) -> bytes:
    """Write a field that is true."""
    return varint(number << 3) + _TRUE


Level = tuple[bytes, bytes, int]
"""A field that has others in it: its tag of one byte, what stands in it before the next
one, and how many bytes that is."""


def level(tag: bytes, before: bytes = b"") -> Level:
    """Return a field's tag, and what stands in it before the next one."""
    return tag, before, len(before)


def around(size: int, levels: Iterable[Level]) -> bytes:
    """Write the heads of nested fields, the inmost first, around `size` bytes of content."""
    head = b""
    for tag, before, more in levels:
        size += more
        length = varint(size)
        head = tag + length + before + head
        size += 1 + len(length)
    return head


class Nest:
    """Levels that are written again and again, around content of other sizes."""

    __slots__ = ("_levels", "_most", "_outmost", "_steps")

    def __init__(self, levels: tuple[Level, ...]) -> None:
        self._levels = levels
        self._outmost = levels[-1][0]
        # Where each length takes two bytes, each is the content's and a constant.
        steps, more, behind = [], 0, b""
        for tag, before, size in levels:
            more += size
            steps.append((more, before + behind))
            more, behind = more + 3, tag
        self._steps = tuple(reversed(steps))
        self._most = _TABLED - self._steps[0][0]

    def around(self, size: int) -> bytes:
        """Write the heads of all levels around `size` bytes of content."""
        if 0x7F < size < self._most:
            steps = [VARINTS[size + more] + behind for more, behind in self._steps]
            return self._outmost + b"".join(steps)
        return around(size, self._levels)
