"""Workers that tell each other of deployments through a real redis-server."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from redis.exceptions import RedisError

from extproc.routing.health import Phase
from extproc.server.fleet import Fleet, Rights
from extproc.server.link_frames import Live
from extproc.state.peers import RedisPeers
from extproc.state.redis import connect
from tests.redis_server import RedisServer
from tests.routing.world import World, target

_numbers = itertools.count()


@pytest.fixture(scope="module")
def server():
    server = RedisServer()
    yield server
    server.stop()


class Node:
    """One worker's routing, and its place in the fleet."""

    def __init__(
        self,
        server: RedisServer,
        tag: str,
        name: str,
        *,
        kept: float = 5.0,
        lease: float = 2.0,
    ):
        self.world = World(target("a", tier=0), target("b", tier=1))
        self.linked = True
        client = connect(server.url, timeout=0.5)
        self.peers = RedisPeers(client, kept=kept, lease=lease, tag=tag)
        self.fleet = Fleet(
            self.peers,
            id=name,
            live=self._live,
            learn=self._learn,
            linked=lambda: self.linked,
            error=RedisError,
            trials=Rights(
                self.world.state.trials,
                lambda: self.world.state.ask_trials(self.world.now),
            ),
        )

    def _live(self) -> Live:
        deployments, benches = self.world.state.live(self.world.now)
        return Live(tuple(deployments), tuple(benches))

    def _learn(self, peer: str, live: Live) -> None:
        self.world.state.learn(peer, live.deployments, live.benches, self.world.now)

    @property
    def load(self) -> int:
        return int(self.world.health("a").load)


def meeting(server, play, **options):
    """Play with three nodes that share a part of the store of their own."""

    async def run():
        tag = f"{{f{next(_numbers)}}}"
        nodes = [Node(server, tag, name, **options) for name in ("w0", "w1", "w2")]
        try:
            await play(*nodes)
        finally:
            for node in nodes:
                await node.peers.close()

    asyncio.run(run())


def test_a_cooldown_and_a_refused_key_are_respected_everywhere_after_one_meeting(
    server,
):
    async def play(one, two, three):
        one.world.play(429, 200, retry_after="30")
        two.world.play(401, 200)
        for node in (one, two, three, one):
            await node.fleet.meet()
        assert three.world.chain() == ["b"]
        assert three.world.health("a").phase(three.world.now) is Phase.LIMITED
        assert three.world.state.benched("a", "", three.world.now)
        assert one.world.state.benched("a", "", one.world.now)
        # Nobody repeats what is not their own.
        deployments, benches = three.world.state.live(three.world.now)
        assert [told.cooling for told in deployments] == [0.0]
        assert benches == []

    meeting(server, play)


def test_requests_in_flight_and_used_limits_are_summed_over_all(server):
    async def play(one, two, three):
        tickets = [node.world.send() for node in (one, one, two)]
        tickets[2].end(two.world.now, tokens=70)
        await one.fleet.meet()
        await two.fleet.meet()
        await three.fleet.meet()
        health = three.world.health("a")
        assert (health.load, health.requests_a_minute(three.world.now)) == (2, 3)
        assert health.tokens_a_minute(three.world.now) == 70
        for ticket in tickets[:2]:
            ticket.end(one.world.now)
        await one.fleet.meet()
        await three.fleet.meet()
        assert three.load == 0

    meeting(server, play)


def test_what_is_heard_late_is_over_so_much_sooner(server):
    async def play(one, two, _):
        one.world.play(429, 200, retry_after="30")
        await one.fleet.meet()
        await asyncio.sleep(0.3)
        await two.fleet.meet()
        left = two.world.health("a").cooling_until - two.world.now
        assert 28 < left <= 29.71

    meeting(server, play)


def test_a_worker_that_is_silent_has_nothing_in_flight(server):
    async def play(one, two, _):
        one.world.send()
        await one.fleet.meet()
        await two.fleet.meet()
        assert two.load == 1
        while two.load:
            await asyncio.sleep(0.02)
            await two.fleet.meet()

    meeting(server, play, kept=0.2)


def test_who_is_on_the_link_is_not_counted_twice(server):
    async def play(one, two, _):
        one.world.send()
        two.fleet.near.add("w0")
        await one.fleet.meet()
        await two.fleet.meet()
        assert two.load == 0
        two.linked = False  # control is away: what the store says is all there is
        await two.fleet.meet()
        assert two.load == 1

    meeting(server, play)


def test_words_of_another_version_are_left_alone(server):
    async def play(one, two, _):
        await two.fleet._peers.meet("old", 1, b"\x93\x01\x02\x03", {})
        one.world.send()
        await one.fleet.meet()
        await two.fleet.meet()
        assert two.load == 1

    meeting(server, play)


def test_without_the_store_each_goes_by_what_it_sees_itself_and_then_together_again():
    server = RedisServer()

    async def play(one, two, _):
        one.world.send()
        running = [
            asyncio.create_task(node.fleet.run(), name=name)
            for name, node in (("one", one), ("two", two))
        ]
        await _until(lambda: two.load == 1)
        server.kill()
        await _until(lambda: two.fleet.away and two.load == 0)
        assert one.world.chain() == ["a", "b"]
        server.restart()
        await _until(lambda: two.load == 1)
        assert not two.fleet.away
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    try:
        meeting(server, play)
    finally:
        server.stop()


def _trying(node):
    """Let the node send a request; return its ticket if it is a trial."""
    ticket = node.world.send()
    if node.world.health("a").trial is ticket:
        return ticket
    ticket.end(node.world.now)
    return None


def test_what_was_cooling_down_is_tried_by_one_request_of_all_nodes(server):
    async def play(*nodes):
        for node in nodes:
            await node.fleet.meet()
            for _ in range(3):
                node.world.play(500, 200)
            node.world.now += 5
        assert not any(_trying(node) for node in nodes), "nobody has asked for it yet"
        for node in nodes:
            await node.fleet.meet()
        found = [one for node in nodes for _ in range(3) if (one := _trying(node))]
        assert len(found) == 1
        for node in nodes:
            await node.fleet.meet()
        assert not any(_trying(node) for node in nodes)
        found[0].answered([], 200, None, nodes[0].world.now)
        for node in nodes:
            await node.fleet.meet()
        assert [node.world.chain()[0] for node in nodes] == ["a"] * 3

    meeting(server, play)


def test_the_right_of_a_node_that_has_died_goes_to_another(server):
    async def play(one, two, _):
        for node in (one, two):
            await node.fleet.meet()
            for _ in range(3):
                node.world.play(500, 200)
            node.world.now += 5
            assert _trying(node) is None
            await node.fleet.meet()
        assert _trying(one)
        await one.fleet.meet()
        while _trying(two) is None:
            await asyncio.sleep(0.02)
            await two.fleet.meet()

    meeting(server, play, lease=0.3)


def test_a_cooldown_is_told_at_once(server):
    async def play(one, two, _):
        running = asyncio.create_task(one.fleet.run())
        await _until(lambda: one.fleet._text)
        one.world.play(429, 200, retry_after="30")
        one.fleet.tell()
        await asyncio.sleep(0.1)  # less than SHARE_SECONDS: nothing else would tell it
        await two.fleet.meet()
        assert two.world.chain() == ["b"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    meeting(server, play)


async def _until(true) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)
