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


def test_long_bodies_go_on_while_all_can_come_to_an_end_and_else_wait_in_order(run):
    async def play():
        bodies = Bodies(12 * MIB)
        first, second, third = rooms = [Room() for _ in range(3)]
        for room in rooms:
            assert bodies.hold(room, FREE + 1, lambda: 6 * MIB)
        assert not any(map(waits, rooms))
        # They may come to 18 MiB, and one after the other that is not too much.
        assert bodies.hold(first, 5 * MIB, int)
        assert bodies.hold(second, 5 * MIB, int)
        assert not waits(first)
        assert waits(second)
        assert bodies.hold(first, 6 * MIB - 1, int)
        assert not waits(first)
        newcomer, last = Room(), Room()
        for room in (newcomer, last):
            assert bodies.hold(room, FREE + 1, lambda: 6 * MIB)
            assert waits(room)
        assert bodies.waiting == 3
        turn = second.turn
        assert turn is not None
        bodies.leave(first)
        assert turn.done()
        assert not waits(second)
        for room in (second, third, newcomer, last):
            bodies.leave(room)
        assert (bodies.held, bodies.waiting) == (0, 0)

    run(play())


def test_what_is_announced_and_does_not_come_takes_no_room_from_anybody(run):
    async def play():
        bodies = Bodies(64 * MIB)
        for _ in range(15):
            assert bodies.hold(Room(), FREE + 1, lambda: 32 * MIB)
        body = Room()
        for size in range(FREE + 1, 20 * MIB, FREE):
            assert bodies.hold(body, size, lambda: 20 * MIB)
            assert not waits(body)
        bodies.leave(body)

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
        bodies.hold(one, 3 * MIB // 2, lambda: 2 * MIB)
        for room in (gone, last):
            bodies.hold(room, FREE + 1, partial(int, FREE + 2))
        assert waits(gone)
        assert waits(last)
        assert gone.turn is not None
        gone.turn.cancel()  # its deadline has passed
        bodies.leave(gone)
        bodies.leave(one)
        assert not waits(last)
        bodies.leave(last)
        assert bodies.held == 0

    run(play())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("longest", [7, 20])
def test_everybody_gets_on_and_the_bound_holds(run, seed, longest):
    chance = random.Random(seed)
    # One that is longer than all that may be held comes to its end all the same.
    bound = 8 * MIB + max(0, longest - 8) * MIB + 2 * FREE

    async def play():
        bodies = Bodies(8 * MIB)
        wholes = {
            Room(): chance.choice((FREE // 2, FREE * 2, 3 * MIB, longest * MIB))
            for _ in range(20)
        }
        here = dict.fromkeys(wholes, 0)
        unasked = {}
        for _ in range(40_000):
            if not here:
                break
            room = chance.choice([*here])
            if not waits(room):
                unasked[room] = FREE
            # Who has to wait may still send a window.
            more = min(
                chance.randrange(1, FREE), unasked[room], wholes[room] - here[room]
            )
            unasked[room] -= more
            here[room] += more
            if here[room] == wholes[room]:
                bodies.leave(room)
                del here[room]
            else:
                whole = wholes[room]
                if not bodies.hold(room, here[room], partial(int, whole)):
                    assert room.new, "who has had room is never refused"
                    bodies.leave(room)
                    del here[room]
            assert bodies.held >= sum(here.values())
            assert sum(one.size for one in here if not one.new) <= bound
        assert here == {}
        assert (bodies.held, bodies.waiting) == (0, 0)

    run(play())
