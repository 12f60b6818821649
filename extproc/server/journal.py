"""A file that is a worker's memory: what is in it outlives the process, however that ends.

    header  magic, number of slots
    places  a byte a slot: what begins there (`Kind`), 0 for nothing
    slots   1,024 bytes each: head (the next slot, sequence, length, CRC) and data;
            an entry that needs more goes on in other slots, behind their 4 bytes of head

Everything is a store to memory that the process shares with the system: no call, nothing to
wait for. The byte of the place is written last, so that an entry is there whole or not at
all when the process is killed, at whatever byte. The file outlives the process, not the
machine: what a crash of that leaves torn, the CRC tells.
"""

from __future__ import annotations

import enum
import re
import struct
from typing import Final, NamedTuple, Protocol
from zlib import crc32

MAGIC: Final = b"extproc journal 1"
SLOT_BYTES: Final = 1024
"""Of a record 400 to 900 are used, in most cases."""
SLOTS: Final = 32 * 1024
"""32 MiB: half a minute of records at 1,000 requests/s while control is away."""
NOWHERE: Final = -1
"""There was no room."""

_HEADER: Final = struct.Struct("<24sI")
_HEADER_BYTES: Final = 64
_HEAD: Final = struct.Struct("<IQII")
_NEXT: Final = struct.Struct("<I")
_FIRST_BYTES: Final = SLOT_BYTES - _HEAD.size
_MORE_BYTES: Final = SLOT_BYTES - _NEXT.size


class Kind(enum.IntEnum):
    """What an entry is; see `extproc.server.notes`."""

    RECORD = 1
    SENT = 2
    CLAIM = 3
    MORE = 4
    SPENT = 5


RECORD, SENT, CLAIM, MORE, SPENT = Kind


class Entry(NamedTuple):
    """What was written and not forgotten."""

    kind: int
    data: bytes


class Readable(Protocol):
    """A map, or bytes."""

    def __getitem__(self, key: slice, /) -> bytes | bytearray:
        """Return what is there."""

    def __len__(self) -> int:
        """Return how many there are."""


class Memory(Readable, Protocol):
    """Such as can be changed."""

    def __setitem__(self, key: slice, value: bytes, /) -> None:
        """Replace it by as many bytes."""


def size_of(slots: int) -> int:
    """Return the bytes of a journal with so many slots."""
    return _HEADER_BYTES + slots + slots * SLOT_BYTES


class Journal:
    """Written by one process; `memory` is all zeros, and of the size for `slots`."""

    def __init__(self, memory: Memory, slots: int) -> None:
        self._memory = memory
        self._slots = slots
        self._base = _HEADER_BYTES + slots
        self._fresh = 0
        self._free: list[int] = []
        self._long: dict[int, list[int]] = {}
        """The slots of what takes more than one, by the first of them."""
        self._sequence = 0
        memory[0 : _HEADER.size] = _HEADER.pack(MAGIC, slots)

    @property
    def empty(self) -> bool:
        """Whether nothing is written that is not forgotten."""
        return len(self._free) == self._fresh

    def write(self, kind: int, data: bytes) -> int:
        """Write `data` down; return its place, `NOWHERE` if there is no room."""
        size = len(data)
        if size > _FIRST_BYTES:
            return self._write_long(kind, data)
        free = self._free
        if free:
            slot = free.pop()
        elif self._fresh < self._slots:
            slot = self._fresh
            self._fresh += 1
        else:
            return NOWHERE
        self._sequence = sequence = self._sequence + 1
        blob = _HEAD.pack(slot, sequence, size, crc32(data, kind ^ sequence)) + data
        memory, at = self._memory, self._base + slot * SLOT_BYTES
        memory[at : at + len(blob)] = blob
        at = _HEADER_BYTES + slot
        memory[at : at + 1] = _BYTES[kind]
        return slot

    def forget(self, place: int) -> None:
        """Take out what was written at `place`."""
        if place < 0:
            return
        at = _HEADER_BYTES + place
        self._memory[at : at + 1] = b"\0"
        if place in self._long:
            self._free += self._long.pop(place)
        else:
            self._free.append(place)

    def _write_long(self, kind: int, data: bytes) -> int:
        number = 1 + -(-(len(data) - _FIRST_BYTES) // _MORE_BYTES)
        if number > len(self._free) + self._slots - self._fresh:
            return NOWHERE
        slots = [self._free.pop() for _ in range(min(number, len(self._free)))]
        fresh = number - len(slots)
        slots += range(self._fresh, self._fresh + fresh)
        self._fresh += fresh
        self._sequence = sequence = self._sequence + 1
        head = _HEAD.pack(slots[1], sequence, len(data), crc32(data, kind ^ sequence))
        end = _FIRST_BYTES
        self._put(slots[0], head + data[:end])
        for slot, after in zip(slots[1:], [*slots[2:], slots[-1]], strict=True):
            self._put(slot, _NEXT.pack(after) + data[end : end + _MORE_BYTES])
            end += _MORE_BYTES
        at = _HEADER_BYTES + slots[0]
        self._memory[at : at + 1] = _BYTES[kind]
        self._long[slots[0]] = slots
        return slots[0]

    def _put(self, slot: int, blob: bytes) -> None:
        at = self._base + slot * SLOT_BYTES
        self._memory[at : at + len(blob)] = blob


def read(memory: Readable) -> tuple[list[Entry], int]:
    """Return what is in a journal, in the order of its writing, and how much of it is torn."""
    found: list[tuple[int, Entry]] = []
    torn = 0
    for place in _taken(memory):
        entry = _entry(memory, place)
        if entry is None:
            torn += 1
        else:
            found.append(entry)
    found.sort(key=_sequence)
    return [entry for _, entry in found], torn


_BYTES: Final = [bytes((n,)) for n in range(256)]


def _sequence(found: tuple[int, Entry]) -> int:
    return found[0]


def _slots_of(memory: Readable) -> int:
    """Return how many slots there are; 0 where it is no journal, or not a whole one."""
    if len(memory) < _HEADER_BYTES:
        return 0
    magic, slots = _HEADER.unpack(memory[0 : _HEADER.size])
    right = magic.rstrip(b"\0") == MAGIC and len(memory) >= size_of(slots)
    return slots if right else 0


def _taken(memory: Readable) -> list[int]:
    places = memory[_HEADER_BYTES : _HEADER_BYTES + _slots_of(memory)]
    return [match.start() for match in re.finditer(rb"[^\0]", places)]


def _entry(memory: Readable, place: int) -> tuple[int, Entry] | None:
    """Return what begins at `place`, with its sequence; None: it is torn."""
    slots = _slots_of(memory)
    base = _HEADER_BYTES + slots
    at = base + place * SLOT_BYTES
    slot = bytes(memory[at : at + SLOT_BYTES])
    after, sequence, size, crc = _HEAD.unpack_from(slot)
    parts = [slot[_HEAD.size :]]
    got, here = _FIRST_BYTES, place
    while got < size and after < slots and after != here and got < slots * SLOT_BYTES:
        here = after
        at = base + here * SLOT_BYTES
        slot = bytes(memory[at : at + SLOT_BYTES])
        [after] = _NEXT.unpack_from(slot)
        parts.append(slot[_NEXT.size :])
        got += _MORE_BYTES
    data = b"".join(parts)[:size]
    [kind] = memory[_HEADER_BYTES + place : _HEADER_BYTES + place + 1]
    if len(data) != size or crc32(data, kind ^ sequence) != crc:
        return None
    return sequence, Entry(kind, data)
