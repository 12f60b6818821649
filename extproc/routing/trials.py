"""Who may try what was cooling down: one request at a time, of all workers of all nodes.

Where they share a store it decides. A worker that would try a deployment asks for the right
to, sends its requests elsewhere meanwhile, and has the right for `LEASE_SECONDS`, and for as
long as its trial takes. No request waits for any of it. Without a store, or while that is
away, each worker tries by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

LEASE_SECONDS = 2.0
"""Of a right that is not used, or whose worker has died: then others may have it."""

WANTED_SECONDS = 60.0
"""For how long a right is asked for again after the last request that had a use for it."""

MOST_WANTED = 100
"""That a worker asks for at a time."""


class Asking(msgspec.Struct, frozen=True):
    """What a worker says of trials to the store, by deployment."""

    at: float = 0.0
    want: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    """Under way."""
    drop: tuple[str, ...] = ()
    """Over."""


class Trials:
    """One worker's rights.

    Attributes:
        shared: whether a store decides now.
    """

    __slots__ = ("_granted", "_over", "_running", "_wanted", "shared")

    def __init__(self) -> None:
        self.shared = False
        self._wanted: dict[str, float] = {}
        self._granted: dict[str, float] = {}
        self._running: set[str] = set()
        self._over: set[str] = set()

    def may(self, deployment: str, now: float) -> bool:
        """Say whether a request may try it now."""
        return not self.shared or self._granted.get(deployment, now) > now

    def want(self, deployment: str, now: float) -> bool:
        """Note that a request would have tried it; say whether that is news."""
        news = deployment not in self._wanted
        if news and len(self._wanted) >= MOST_WANTED:
            return False
        self._wanted[deployment] = now + WANTED_SECONDS
        return news

    def begin(self, deployment: str) -> None:
        """Note that a trial is under way."""
        self._running.add(deployment)
        self._over.discard(deployment)

    def end(self, deployment: str) -> None:
        """Note that it has ended, whatever came of it."""
        self._running.discard(deployment)
        self._granted.pop(deployment, None)
        self._wanted.pop(deployment, None)
        self._over.add(deployment)

    def ask(self, now: float, due: Iterable[str]) -> Asking:
        """Return what the store is to be asked for.

        Args:
            now: seconds.
            due: of what `wanted` names, what has not been tried yet.
        """
        due = set(due)
        self._wanted = {
            name: until
            for name, until in self._wanted.items()
            if until > now and name in due
        }
        over, self._over = tuple(self._over), set()
        return Asking(now, tuple(self._wanted), tuple(self._running), over)

    @property
    def wanted(self) -> tuple[str, ...]:
        """What has been asked for."""
        return tuple(self._wanted)

    def grant(self, asked: Asking, granted: Iterable[str]) -> None:
        """Take what the store says to `asked`."""
        self.shared = True
        self._granted = dict.fromkeys(granted, asked.at + LEASE_SECONDS)

    def lose(self, asked: Asking) -> None:
        """Note that the store did not answer: everybody goes by themselves."""
        self.shared = False
        self._granted.clear()
        self._over |= set(asked.drop) - self._running
