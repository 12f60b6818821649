"""What the workers of all nodes tell each other of deployments, over the store they share.

Loads, cooldowns and refused keys, as `extproc.server.link` carries them within a node. No
request waits for it: a task of its own leaves word and looks for the others' four times a
second, and at once when a cooldown has begun here. So what one worker has learned, all
respect after `SHARE_SECONDS` and two round trips at most. While the store is away each
node goes by what it sees itself; cooldowns that it had heard of run out as they would.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from extproc.routing.state import LiveBench, LiveDeployment
from extproc.routing.trials import LEASE_SECONDS, Asking, Trials
from extproc.server.link_frames import Live

if TYPE_CHECKING:
    from extproc.state.peers import Meeting

log = logging.getLogger(__name__)

SHARE_SECONDS: Final = 0.25
"""Between two looks; as on the link."""
KEPT_SECONDS: Final = 5.0
"""A worker that is silent for so long has nothing in flight any more."""
AWAY_SECONDS: Final = (0.25, 2.0)
"""First and longest pause while the store is away."""


class Peers(Protocol):
    """See `extproc.state.peers.RedisPeers`."""

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
        """Leave word, and return what the others have left."""


@dataclass(frozen=True, slots=True)
class Rights:
    """A worker's rights to try what was cooling down, and what it has to say of them."""

    rights: Trials
    ask: Callable[[], Asking]


class Fleet:
    """One worker among all others.

    Attributes:
        near: the workers that the link tells of, which is faster; not listened to here.
        away: whether the store could not be asked when it was last tried.
    """

    def __init__(
        self,
        peers: Peers,
        *,
        id: str,  # noqa: A002  of the worker
        live: Callable[[], Live],
        learn: Callable[[str, Live], None],
        linked: Callable[[], bool],
        error: type[Exception],
        trials: Rights | None = None,
    ) -> None:
        """Know nobody yet.

        Args:
            peers: the store.
            id: of this worker; nobody else's.
            live: how its deployments do.
            learn: takes in what another worker says; what it does not name is idle there.
            linked: whether the link works, so that `near` can be relied on.
            error: what the store raises when it cannot be asked.
            trials: its rights to try what was cooling down.
        """
        self.near: set[str] = set()
        self.away = False
        self._peers = peers
        self._id = id
        self._live = live
        self._learn = learn
        self._linked = linked
        self._error = error
        self._trials = trials or Rights(Trials(), Asking)
        self._asked = Asking()
        self._news = asyncio.Event()
        self._known: dict[str, int] = {}
        self._text = b""
        self._revision = 0

    def tell(self) -> None:
        """Let the others know at once what has changed."""
        self._news.set()

    async def run(self) -> None:
        """Meet the others until canceled."""
        shortest, longest = AWAY_SECONDS
        pause = shortest
        while True:
            self._news.clear()
            try:
                await self.meet()
            except self._error as error:
                self._lose(error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
                continue
            if self.away:
                self.away, pause = False, shortest
                log.warning("the other nodes are heard again")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SHARE_SECONDS):
                    await self._news.wait()

    async def meet(self) -> None:
        """Leave word once, and take in what is new.

        Raises:
            Exception: of the `error` type, when the store cannot be asked.
        """
        live = self._live()
        text = msgspec.msgpack.encode((live.deployments, live.benches))
        if text != self._text:
            self._text, self._revision = text, self._revision + 1
        near = self.near if self._linked() else set()
        asked = self._asked = self._trials.ask()
        said = await self._peers.meet(
            self._id, self._revision, self._text, self._known,
            want=asked.want, keep=asked.keep, drop=asked.drop,
        )  # fmt: skip
        for word in said.news:
            if word.id in near:
                # Should the link break, its last word here is news.
                self._known.pop(word.id, None)
                continue
            self._known[word.id] = word.revision
            try:
                heard = _words.decode(word.text)
            except msgspec.DecodeError:
                continue  # of another version, whose words mean something else
            self._learn(word.id, _aged(*heard, word.age))
        for gone in self._known.keys() - said.present:
            self._forget(gone)
        # Behind the news: what has begun to cool down again is not tried.
        self._trials.rights.grant(asked, said.granted)

    def _forget(self, peer: str) -> None:
        del self._known[peer]
        if peer not in self.near:
            self._learn(peer, Live())

    def _lose(self, error: Exception) -> None:
        self._trials.rights.lose(self._asked)
        if not self.away:
            self.away = True
            # Its text can have the address with a password in it.
            log.warning("the other nodes are not heard: %s", type(error).__name__)
            for peer in tuple(self._known):
                self._forget(peer)


_Words = tuple[tuple[LiveDeployment, ...], tuple[LiveBench, ...]]
_words: msgspec.msgpack.Decoder[_Words] = msgspec.msgpack.Decoder(_Words)


def _aged(
    deployments: tuple[LiveDeployment, ...], benches: tuple[LiveBench, ...], age: float
) -> Live:
    """Return it as it is now: what was left for a while is over so much sooner."""
    replace = msgspec.structs.replace
    return Live(
        tuple(
            replace(one, cooling=max(0.0, one.cooling - age)) if one.cooling else one
            for one in deployments
        ),
        tuple(
            replace(bench, seconds=bench.seconds - age)
            for bench in benches
            if bench.seconds > age
        ),
    )


def make_fleet(
    store: str | None,
    *,
    id: str,  # noqa: A002  of the worker
    live: Callable[[], Live],
    learn: Callable[[str, Live], None],
    linked: Callable[[], bool],
    trials: Rights,
) -> Fleet | None:
    """Return the fleet on `store`; None: there is no store, and so nobody else.

    Raises:
        ValueError: the store's address is none.
    """
    if store is None:
        return None
    from extproc.state.peers import RedisPeers  # noqa: PLC0415  as the till's
    from extproc.state.redis import RedisError, connect  # noqa: PLC0415

    # A connection of its own: no verdict waits behind it, nor it behind them.
    client = connect(store, timeout=STORE_SECONDS)
    return Fleet(
        RedisPeers(client, kept=KEPT_SECONDS, lease=LEASE_SECONDS),
        id=id,
        live=live,
        learn=learn,
        linked=linked,
        error=RedisError,
        trials=trials,
    )


STORE_SECONDS: Final = 1.0
"""After which a store that does not reply is away."""
