"""Every store: memory, and a real redis-server on a unix socket."""

from __future__ import annotations

import asyncio
import inspect
import itertools

import pytest

from extproc.state.memory import MemoryStore
from extproc.state.redis import RedisStore, connect
from tests.redis_server import RedisServer

_numbers = itertools.count()


@pytest.fixture(scope="session")
def redis_server():
    server = RedisServer()
    yield server
    server.stop()


class Played:
    """A store whose verbs are waited for, so that one test plays both kinds."""

    def __init__(self, store, runner):
        self.store = store
        self._runner = runner

    def __getattr__(self, verb):
        if verb.startswith("_"):
            raise AttributeError(verb)

        def call(*args, **kwargs):
            reply = getattr(self.store, verb)(*args, **kwargs)
            return (
                self._runner.run(_wait(reply)) if inspect.isawaitable(reply) else reply
            )

        return call

    def all(self, calls):
        """Play (verb, args, kwargs) at once, as far as the store can."""

        async def play():
            started = [getattr(self.store, verb)(*a, **k) for verb, a, k in calls]
            return [await r if inspect.isawaitable(r) else r for r in started]

        async def play_network():
            return await asyncio.gather(
                *(getattr(self.store, verb)(*a, **k) for verb, a, k in calls)
            )

        network = isinstance(self.store, RedisStore)
        return self._runner.run(play_network() if network else play())


async def _wait(reply):
    return await reply


@pytest.fixture(params=["memory", "redis"])
def store(request):
    if request.param == "memory":
        with asyncio.Runner() as runner:
            yield Played(MemoryStore(), runner)
        return
    server = request.getfixturevalue("redis_server")
    with asyncio.Runner() as runner:
        client = connect(server.url, timeout=5)
        # A tag of its own: nothing has to be flushed.
        made = RedisStore(client, tag=f"{{t{next(_numbers)}}}")
        yield Played(made, runner)
        runner.run(made.close())
