"""Room for bodies: who has it comes to an end, who has none waits in order of arrival."""

from __future__ import annotations

import asyncio
import random
from functools import partial

import pytest

from extproc.server.bodies import FREE, Bodies, Room

MIB = 1 << 20


@pytest.fixture
def run():
    with asyncio.Runner() as runner:
        yield runner.run


def waits(room):
    return room.turn is not None and not room.turn.done()


def test_short_bodies_are_counted_and_wait_for_nobody(run):
    async def play():
        bodies = Bodies(MIB)
        rooms = [Room() for _ in range(4)]
        for room in rooms:
            assert bodies.hold(room, 1000, lambda: MIB)
            assert bodies.hold(room, FREE, lambda: MIB)
        assert not any(map(waits, rooms))
        assert bodies.held == 4 * FREE
        for room in rooms:
            bodies.leave(room)
        assert bodies.held == 0

    run(play())


def test_far_too_many_short_bodies_are_refused(run):
    async def play():
        bodies = Bodies(MIB)
        for _ in range(MIB // FREE):
            assert bodies.hold(Room(), FREE, lambda: MIB)
        assert not bodies.hold(Room(), 1, lambda: MIB)

    run(play())


def test_long_bodies_have_room_for_all_of_themselves_or_wait_in_order(run):
    async def play():
        bodies = Bodies(10 * MIB)
        first, second, third, fourth = rooms = [Room() for _ in range(4)]
        for room, whole in zip(rooms, (6, 4, 8, 1), strict=True):
            assert bodies.hold(room, FREE + 1, partial(int, whole * MIB))
        # The last would have room: but whoever needs much would never get on.
        assert [waits(room) for room in rooms] == [False, False, True, True]
        assert bodies.waiting == 2
        assert bodies.held == 10 * MIB + 2 * (FREE + 1)
        turn = third.turn
        assert turn is not None
        bodies.leave(second)
        assert waits(third)
        bodies.leave(first)
        assert turn.done()
        assert not waits(third)
        assert not waits(fourth)
        assert bodies.held == 9 * MIB
        for room in rooms:
            bodies.leave(room)
        assert (bodies.held, bodies.waiting) == (0, 0)

    run(play())


def test_a_body_that_is_longer_than_all_that_may_be_held_is_held_alone(run):
    async def play():
        bodies = Bodies(MIB)
        one, other = Room(), Room()
        assert bodies.hold(one, FREE + 1, lambda: 5 * MIB)
        assert not waits(one)
        assert bodies.hold(other, FREE + 1, lambda: 2 * MIB)
        assert waits(other)
        bodies.leave(one)
        assert not waits(other)

    run(play())


def test_whoever_leaves_the_line_lets_the_next_one_on(run):
    async def play():
        bodies = Bodies(2 * MIB)
        one, gone, last = Room(), Room(), Room()
        for room, whole in ((one, MIB), (gone, 2 * MIB), (last, MIB)):
            bodies.hold(room, FREE + 1, partial(int, whole))
        assert waits(gone)
        assert waits(last)
        assert gone.turn is not None
        gone.turn.cancel()  # its deadline has passed
        bodies.leave(gone)
        assert not waits(last)
        bodies.leave(last)
        bodies.leave(one)
        assert bodies.held == 0

    run(play())


@pytest.mark.parametrize("seed", range(20))
def test_everybody_gets_on_and_the_bound_holds(run, seed):
    chance = random.Random(seed)

    async def play():
        bodies = Bodies(8 * MIB)
        wholes = {
            Room(): chance.choice((FREE // 2, FREE * 2, 3 * MIB, 20 * MIB))
            for _ in range(30)
        }
        here = dict.fromkeys(wholes, 0)
        for _ in range(40_000):
            if not here:
                break
            room = chance.choice([*here])
            if waits(room):
                continue
            here[room] = min(wholes[room], here[room] + chance.randrange(1, FREE))
            most = here[room]
            if most == wholes[room]:
                bodies.leave(room)
                del here[room]
            else:
                # What comes of one that has to wait is no more than it may send unasked.
                assert bodies.hold(room, most, lambda: wholes[room])  # noqa: B023  asked at once
            assert bodies.held >= sum(here.values())
            large = [one for one in here if one.large]
            assert sum(one.size for one in large) <= 8 * MIB or len(large) == 1
        assert here == {}
        assert (bodies.held, bodies.waiting) == (0, 0)

    run(play())


def test_what_comes_to_more_than_was_said_finds_room_at_once_or_is_refused(run):
    async def play():
        bodies = Bodies(10 * MIB)
        one, other = Room(), Room()
        for room in (one, other):
            assert bodies.hold(room, FREE + 1, lambda: 4 * MIB)
        assert bodies.hold(one, 4 * MIB, lambda: 99 * MIB), "it has as much"
        assert bodies.hold(one, 4 * MIB + 1, lambda: 6 * MIB)
        assert bodies.held == 10 * MIB
        assert not bodies.hold(other, 4 * MIB + 1, lambda: 5 * MIB)
        assert bodies.held == 10 * MIB
        bodies.leave(one)
        assert bodies.hold(other, 99 * MIB, lambda: 0), "alone it may have more"
        bodies.leave(other)
        assert (bodies.held, bodies.waiting) == (0, 0)

    run(play())
