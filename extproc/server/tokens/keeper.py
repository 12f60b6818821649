"""Holds a token for each identity, and asks for the next one before it ends.

    asked for ──▶ held ──(4/5 of its life)──▶ asked for again ──▶ held …
                                └─ refused ──▶ tried again, ever more slowly,
                                               the old one used to its end

Whoever serves several providers by one identity asks once. Nothing is written here: `publish`
is told of every new token, and what stood on disk before is given to `configure`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

import httpx

from extproc.config.identities import Identity
from extproc.server.tokens.token import Source, Token, TokenRefused

log = logging.getLogger(__name__)

EARLY: Final = 0.8
"""Of a token's life, after which the next one is asked for at the latest. An hour's token
leaves twelve minutes for whatever is wrong to be seen and mended."""
JITTER: Final = 0.1
"""Of a token's life, by which that is earlier at random: many gateways that started
together do not ask together."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
"""Seconds between two tries; the pause doubles with each failure."""
ANSWER_SECONDS: Final = 10.0
"""For one try. Token endpoints answer within one."""
FIRST_SECONDS: Final = 5.0
"""How long a new configuration waits for the first tokens of its identities."""

Publish = Callable[[], Awaitable[None]]


@dataclasses.dataclass(slots=True)
class Held:
    """What is known of one identity's token; times are those of the monotonic clock."""

    source: Source
    clusters: tuple[str, ...] = ()
    token: str | None = dataclasses.field(default=None, repr=False)
    expires: float = math.inf
    """Unknown, thus infinite, of a token that an earlier process fetched."""
    due: float = -math.inf
    failures: int = 0
    """In a row."""
    problem: str = ""

    def got(self, token: Token, asked: float, jitter: float) -> None:
        """Hold `token`, which was asked for at `asked`; `jitter` is from 0 to 1."""
        self.token = token.value
        self.expires = asked + token.seconds
        self.due = asked + token.seconds * (EARLY - JITTER * jitter)
        self.failures, self.problem = 0, ""

    def failed(self, problem: str, now: float, jitter: float) -> None:
        """Keep the old token, and say when to try again."""
        self.failures += 1
        self.problem = problem
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self.failures - 1, 16))
        self.due = now + pause * (1 - jitter / 2)


class Keeper:
    """Keeps the tokens of all identities that a configuration names."""

    def __init__(
        self,
        *,
        source_of: Callable[[Identity], Source],
        http: httpx.AsyncClient,
        monotonic: Callable[[], float],
        wall_clock: Callable[[], float],
        jitter: Callable[[], float],
        publish: Publish,
        failed: Callable[[str], None] = lambda cluster: None,  # noqa: ARG005
    ) -> None:
        """Hold nothing yet.

        Args:
            source_of: who gives tokens to an identity.
            http: asks them.
            monotonic: seconds, for what is due.
            wall_clock: Unix seconds, for statements that are dated.
            jitter: random numbers from 0 to 1.
            publish: told when `tokens` has changed.
            failed: told the cluster whose token could not be renewed.
        """
        self._source_of = source_of
        self._http = http
        self._monotonic = monotonic
        self._wall_clock = wall_clock
        self._jitter = jitter
        self._publish = publish
        self._failed = failed
        self._held: dict[Identity, Held] = {}
        self._changed = asyncio.Event()

    @property
    def tokens(self) -> dict[str, str]:
        """The token of each cluster that has one."""
        return {
            cluster: held.token
            for held in self._held.values()
            if held.token is not None
            for cluster in held.clusters
        }

    async def configure(
        self, wanted: Mapping[str, Identity], known: Mapping[str, str]
    ) -> None:
        """Keep the tokens of these identities, by cluster, and of no others.

        A new identity's first token is waited for, a little: a gateway starts, and serves
        its other providers, while a token endpoint is away.

        Args:
            wanted: the identity of each cluster that has one.
            known: tokens that an earlier process left, by cluster.
        """
        clusters: dict[Identity, list[str]] = {}
        for cluster, identity in wanted.items():
            clusters.setdefault(identity, []).append(cluster)
        before, self._held = self._held, {}
        for identity, names in clusters.items():
            held = before.get(identity) or Held(self._source_of(identity))
            held.clusters = tuple(names)
            if held.token is None:
                held.token = next((known[n] for n in names if n in known), None)
            self._held[identity] = held
        new = [held for identity, held in self._held.items() if identity not in before]
        if new:
            async with asyncio.TaskGroup() as tasks:
                for held in new:
                    tasks.create_task(self._renew(held, FIRST_SECONDS))
        self._changed.set()

    async def run(self) -> None:
        """Renew what is due, for ever."""
        while True:
            wait = self.next_due() - self._monotonic()
            try:
                async with asyncio.timeout(
                    None if math.isinf(wait) else max(0.0, wait)
                ):
                    await self._changed.wait()
            except TimeoutError:
                await self.renew_due()
            self._changed.clear()

    def next_due(self) -> float:
        """Return when the next token is to be asked for; infinite where there is none."""
        return min((held.due for held in self._held.values()), default=math.inf)

    async def renew_due(self) -> None:
        """Ask for every token that is due, and tell of those that came."""
        now = self._monotonic()
        due = [held for held in self._held.values() if held.due <= now]
        before = self.tokens
        async with asyncio.TaskGroup() as tasks:
            for held in due:
                tasks.create_task(self._renew(held, ANSWER_SECONDS))
        if self.tokens != before:
            await self._publish()

    def report(self) -> list[dict[str, object]]:
        """Return how each identity's token fares, without the tokens."""
        now = self._monotonic()
        return [
            {
                "clusters": list(held.clusters),
                "ok": not held.problem,
                "expires_in": _left(held, now),
                "failures": held.failures,
                "problem": held.problem,
            }
            for held in self._held.values()
        ]

    def seconds_left(self) -> dict[str, float]:
        """Return for how long each cluster's token is good still; 0 where there is none."""
        now = self._monotonic()
        return {
            cluster: 0.0 if held.token is None else max(0.0, held.expires - now)
            for held in self._held.values()
            for cluster in held.clusters
        }

    async def _renew(self, held: Held, seconds: float) -> None:
        asked = self._monotonic()
        try:
            async with asyncio.timeout(seconds):
                token = await held.source.fetch(self._http, self._wall_clock())
        except TokenRefused as error:
            self._note(held, str(error))
        except TimeoutError:
            self._note(held, f"no answer in {seconds:g} s")
        except httpx.HTTPError as error:
            self._note(held, f"{type(error).__name__}: {error}")
        except (OSError, UnicodeDecodeError) as error:
            self._note(held, str(error))
        else:
            if held.failures:
                log.info("got a token for %s again", _named(held.clusters))
            held.got(token, asked, self._jitter())

    def _note(self, held: Held, problem: str) -> None:
        now = self._monotonic()
        held.failed(problem, now, self._jitter())
        for cluster in held.clusters:
            self._failed(cluster)
        left = _left(held, now)
        if held.token is None:
            standing = "there is none"
        elif left is None:
            standing = "the last one is used on"
        elif left > 0:
            standing = f"the last one is good for {left:.0f} s"
        else:
            standing = "the last one has expired"
        log.warning(
            "no token for %s (%s): %s", _named(held.clusters), standing, problem
        )


def _left(held: Held, now: float) -> float | None:
    """Return the seconds that a token is good for still, None where nobody knows."""
    if held.token is None:
        return 0.0
    return None if math.isinf(held.expires) else max(0.0, held.expires - now)


def _named(clusters: Iterable[str]) -> str:
    return ", ".join(clusters)
