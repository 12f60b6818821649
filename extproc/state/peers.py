"""Where the workers of all nodes leave word for each other, on the store that they share.

    {tag}l:<id>   msgpack {revision, text}, gone when its worker is silent
    {tag}peers    set: who has left word
    {tag}t:<id>   who alone may try this deployment, for the length of a lease

It knows nothing of what the texts say. Ages are Redis' own: no two nodes' clocks are
compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    granted: frozenset[str] = frozenset()
    """Of the deployments that this worker would try: those that nobody else may now."""


class RedisPeers:
    """One worker's end."""

    def __init__(
        self, client: Redis, *, kept: float, lease: float = 2.0, tag: str = TAG
    ) -> None:
        """Ask `client`.

        Args:
            client: of the server.
            kept: seconds for which a worker that says nothing is believed.
            lease: seconds for which it may try a deployment, unless it keeps it.
            tag: of all keys.
        """
        self._client = client
        self._pipeline = Pipeline(client, tag)
        self._script = Script("meet")
        self._kept = int(kept * 1000)
        self._lease = int(lease * 1000)

    async def meet(
        self,
        id: str,  # noqa: A002  of the worker
        revision: int,
        text: bytes,
        known: Mapping[str, int],
        *,
        want: Sequence[str] = (),
        keep: Sequence[str] = (),
        drop: Sequence[str] = (),
    ) -> Meeting:
        """Leave word, and return what the others have left since `known`.

        Args:
            id: of this worker; nobody else's.
            revision: of `text`: another one where it is another text.
            text: what this worker says.
            known: the revisions that were heard last.
            want: deployments that it would try.
            keep: those that it is trying.
            drop: those that it has tried.

        Raises:
            RedisError: the server cannot be asked.
        """
        request = msgspec.msgpack.encode(
            (id, revision, self._kept, dict(known), self._lease, want, keep, drop)
        )
        present, news, granted = await self._pipeline.run(self._script, request, text)
        return Meeting(
            frozenset(peer.decode() for peer in present),
            tuple(
                Word(peer.decode(), its, age / 1000, said)
                for peer, its, age, said in news
            ),
            frozenset(name.decode() for name in granted),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._pipeline.close()
        await self._client.aclose()
