"""A worker's memory that outlives it: killed at any byte, it gives back what was not forgotten."""

from __future__ import annotations

import mmap
import random
import time

import pytest
from hypothesis import given, settings, strategies as st

from extproc.server import journal
from extproc.server.journal import (
    NOWHERE,
    SLOT_BYTES,
    Entry,
    Journal,
    Kind,
    read,
    size_of,
)

SLOTS = 12


class Memory(bytearray):
    """Bytes that remember how they were written."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.writes: list[tuple[int, bytes]] = []

    def __setitem__(self, key, value):
        self.writes.append((key.start, bytes(value)))
        assert key.stop - key.start == len(value), "a map cannot grow"
        super().__setitem__(key, value)


def killed_while_writing(before: bytes, writes: list[tuple[int, bytes]]):
    """Yield what the memory was after each byte of some writes."""
    memory = bytearray(before)
    for at, value in writes:
        # Inside of a long copy one byte is as another.
        steps = {0, 1, 2, len(value) // 2, len(value) - 1, len(value)}
        for done in sorted(n for n in steps if 0 <= n <= len(value)):
            memory[at : at + done] = value[:done]
            yield bytes(memory)


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(list(Kind)),
            st.sampled_from(
                [0, 1, 500, 1000, 1003, 1004, 1005, 2024, 2025, 3100, 9000]
            ),
        ),
        st.tuples(st.just(None), st.integers(0, 30)),
    ),
    max_size=40,
)


@given(STEPS)
@settings(max_examples=100, deadline=None)
def test_whatever_is_written_and_forgotten_a_kill_at_any_byte_leaves_the_rest(steps):
    memory = Memory(size_of(SLOTS))
    kept: list[tuple[int, Entry]] = []
    written = Journal(memory, SLOTS)
    for number, (kind, size) in enumerate(steps):
        before, there = bytes(memory), [entry for _, entry in kept]
        memory.writes.clear()
        if kind is not None:
            entry = Entry(kind, bytes([number % 251]) * size)
            place = written.write(*entry)
            if place == NOWHERE:
                assert bytes(memory) == before
                continue
            kept.append((place, entry))
        elif kept:
            written.forget(kept.pop(size % len(kept))[0])
        after = [entry for _, entry in kept]
        for torn in killed_while_writing(before, memory.writes):
            found, unread = read(torn)
            assert found in (there, after)
            assert unread == 0
        assert read(memory) == (after, 0)
    assert written.empty == (not kept)
    for place, _ in kept:
        written.forget(place)
    assert written.empty
    assert read(memory) == ([], 0)


def test_what_is_forgotten_makes_room():
    written = Journal(bytearray(size_of(SLOTS)), SLOTS)
    for _ in range(50):
        places = [written.write(Kind.RECORD, b"x" * 3000) for _ in range(SLOTS // 3)]
        assert NOWHERE not in places
        assert written.write(Kind.RECORD, b"") == NOWHERE
        for place in places:
            written.forget(place)
    assert written.write(Kind.RECORD, b"x" * SLOTS * SLOT_BYTES) == NOWHERE
    written.forget(NOWHERE)
    assert written.empty


@given(st.randoms(use_true_random=False), st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_what_a_crash_of_the_machine_tears_is_noticed_and_the_rest_is_there(dice, size):
    """Other than after a kill: pages of any time, in any order."""
    memory = bytearray(size_of(SLOTS))
    written = Journal(memory, SLOTS)
    entries = [
        Entry(Kind.RECORD, bytes([number]) + dice.randbytes(dice.randrange(2500)))
        for number in range(5)
    ]
    for entry in entries:
        written.write(*entry)
    at = journal._HEADER_BYTES + SLOTS + dice.randrange(SLOTS * SLOT_BYTES - size)
    before = bytes(memory[at : at + size])
    memory[at : at + size] = dice.randbytes(size)
    found, torn = read(memory)
    assert len(found) + torn == len(entries)
    if bytes(memory[at : at + size]) == before:
        assert torn == 0
    assert [one for one in entries if one in found] == found
    # Bytes that are within one slot are of one entry.
    if at % SLOT_BYTES + size <= SLOT_BYTES:
        assert torn <= 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x" * 100,
        bytes(size_of(SLOTS)),
        journal.MAGIC + bytes(100),
        b"extproc journal 9" + bytes(size_of(SLOTS)),
        journal._HEADER.pack(journal.MAGIC, 2**31) + bytes(size_of(SLOTS)),
    ],
)
def test_what_is_no_journal_has_nothing_in_it(content):
    assert read(content) == ([], 0)


def test_garbage_is_read_without_an_error():
    dice = random.Random(4)
    head = journal._HEADER.pack(journal.MAGIC, SLOTS)
    for _ in range(300):
        memory = head + dice.randbytes(size_of(SLOTS) - len(head))
        found, torn = read(memory)
        assert found == []
        assert torn > 0


def test_a_note_costs_microseconds():
    """Some 1.5 where nothing else runs; a system call in it would be seen."""
    memory = mmap.mmap(-1, size_of(SLOTS))
    written = Journal(memory, SLOTS)
    data = b"x" * 700
    best = min(_timed(written, data) for _ in range(20))
    assert best < 20e-6


def _timed(written: Journal, data: bytes) -> float:
    began = time.perf_counter()
    for _ in range(500):
        written.forget(written.write(Kind.RECORD, data))
    return (time.perf_counter() - began) / 500
