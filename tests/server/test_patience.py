"""The time that a store has: the clock's on an idle loop, and turns on a busy one."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from extproc.server.patience import LONGEST, STEPS, Patience

SECONDS = 0.02


class Clock(asyncio.SelectorEventLoop):
    """Its time is what the test says; it never waits."""

    now = 1000.0

    def time(self):
        return self.now

    async def turns(self, seconds, count):
        for _ in range(count):
            self.now += seconds
            # A timer is seen in one turn, and what it does next in the following one.
            await asyncio.sleep(0)
            await asyncio.sleep(0)


def play(scene):
    with asyncio.Runner(loop_factory=Clock) as runner:
        return runner.run(scene(runner.get_loop()))


async def given_up_after(loop, length):
    """Return after how many turns of this length it is."""
    patience, gone = Patience(), []
    verdict = loop.create_future()
    patience.wait(loop, SECONDS, verdict, lambda: gone.append(1))
    turns = 0
    while not gone:
        await loop.turns(length, 1)
        turns += 1
    return turns


@pytest.mark.parametrize("length", [SECONDS / 100, SECONDS / 20, SECONDS / STEPS])
def test_an_idle_loop_waits_as_long_as_it_is_told(length):
    turns = play(lambda loop: given_up_after(loop, length))
    assert SECONDS <= turns * length + 1e-9 <= SECONDS * 1.15


@pytest.mark.parametrize("length", [0.005, 0.02, 0.3])
def test_a_loop_that_is_busy_waits_some_turns_however_long_they_are(length):
    turns = play(lambda loop: given_up_after(loop, length))
    assert turns == pytest.approx(STEPS / LONGEST, abs=1)


def test_who_is_answered_is_not_given_up_and_each_has_a_time_of_its_own():
    async def scene(loop):
        patience = Patience()
        gone: list[int] = []
        verdicts = []
        for number in range(4):
            verdict = loop.create_future()
            patience.wait(loop, SECONDS, verdict, partial(gone.append, number))
            verdicts.append(verdict)
            await loop.turns(0.001, 5)
        verdicts[1].set_result(None)
        assert gone == [0]
        await loop.turns(0.001, 10)
        assert gone == [0, 2]
        await loop.turns(0.001, 5)
        assert gone == [0, 2, 3]
        assert patience._timer is None, "it looks only while somebody waits"

    play(scene)
