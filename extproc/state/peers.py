"""Where the workers of all nodes leave word for each other, on the store that they share.

    {tag}l:<id>   msgpack {revision, text}, gone when its worker is silent
    {tag}peers    set: who has left word

It knows nothing of what the texts say. Ages are Redis' own: no two nodes' clocks are
compared.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from redis.asyncio import Redis

from extproc.state.pipeline import Pipeline, Script
from extproc.state.redis import TAG


class Word(msgspec.Struct, frozen=True):
    """What another worker has left."""

    id: str
    revision: int
    age: float
    """Seconds."""
    text: bytes


class Meeting(msgspec.Struct, frozen=True):
    """Who else is there, and what is new."""

    present: frozenset[str]
    news: tuple[Word, ...]


class RedisPeers:
    """One worker's end."""

    def __init__(self, client: Redis, *, kept: float, tag: str = TAG) -> None:
        """`kept` is for how many seconds a worker that says nothing is believed."""
        self._client = client
        self._pipeline = Pipeline(client, tag)
        self._script = Script("meet")
        self._kept = int(kept * 1000)

    async def meet(
        self,
        id: str,  # noqa: A002  of the worker
        revision: int,
        text: bytes,
        known: Mapping[str, int],
    ) -> Meeting:
        """Leave word, and return what the others have left since `known`.

        Args:
            id: of this worker; nobody else's.
            revision: of `text`: another one where it is another text.
            text: what this worker says.
            known: the revisions that were heard last.

        Raises:
            RedisError: the server cannot be asked.
        """
        request = msgspec.msgpack.encode((id, revision, self._kept, dict(known)))
        present, news = await self._pipeline.run(self._script, request, text)
        return Meeting(
            frozenset(peer.decode() for peer in present),
            tuple(
                Word(peer.decode(), its, age / 1000, said)
                for peer, its, age, said in news
            ),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()
