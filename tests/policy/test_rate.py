"""Sliding windows, against a list of everything that was taken."""

from __future__ import annotations

from hypothesis import given, strategies as st

from extproc.policy.rate import SLOTS, Window, seconds_until, slot_at

AMOUNTS = st.integers(0, 50)
PAUSES = st.integers(0, 90)


@given(st.lists(st.tuples(PAUSES, AMOUNTS, st.integers(-20, 20)), max_size=50))
def test_the_total_is_what_is_in_the_slots_that_count(steps):
    window, slot = Window(60), 1000
    taken: dict[int, int] = {}
    for pause, amount, difference in steps:
        slot += pause
        window.advance(slot)
        window.take(slot, amount)
        taken[slot] = taken.get(slot, 0) + amount
        window.correct(slot, difference, slot)
        taken[slot] += difference
        assert window.total == sum(n for at, n in taken.items() if at >= slot - SLOTS)
        assert window.last == slot


@given(st.lists(st.tuples(PAUSES, AMOUNTS), min_size=1, max_size=30), AMOUNTS)
def test_what_is_refused_fits_when_the_slot_is_over(steps, amount):
    window, slot, limit = Window(60), 1000, 50
    for pause, taken in steps:
        slot += pause
        window.advance(slot)
        if window.total + taken <= limit:
            window.take(slot, taken)
    if window.total + amount > limit:
        over = window.free_from(amount, limit)
        assert over is not None
        window.advance(over + SLOTS)
        assert window.total + amount > limit
        window.advance(over + SLOTS + 1)
        assert window.total + amount <= limit


def test_a_clock_that_goes_back_forgets_nothing():
    window = Window(60)
    window.take(1000, 5)
    window.advance(940)
    window.take(940, 1)
    window.advance(1000)
    assert window.total == 6


def test_a_slot_of_a_minute_is_a_second():
    assert slot_at(60, 1_800_000_000.9) == 1_800_000_000
    assert seconds_until(60, 1_800_000_000, 1_800_000_000.5) == 60.5
    assert seconds_until(86_400, slot_at(86_400, 0), 0) == 86_400 * 61 / 60
