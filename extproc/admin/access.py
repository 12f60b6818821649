"""Who may do what through the admin API, and how wrong keys are slowed.

The roles are those of keys. What each may do is `MATRIX`, which `docs/admin.md` shows and
the tests try cell by cell.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from typing import Final, Literal

import msgspec

from extproc.admin.errors import NotAllowed, TooMany
from extproc.identity import Role

Action = Literal[
    "read", "read_audit", "change", "change_keys", "change_staff", "export", "import"
]
"""``change_keys``: keys that only call models. ``change_staff``: keys that have a role."""

MATRIX: Final[dict[Role, frozenset[Action]]] = {
    "owner": frozenset(
        {"read", "read_audit", "change", "change_keys", "change_staff", "export",
         "import"}
    ),
    "admin": frozenset({"read", "read_audit", "change", "change_keys"}),
    "viewer": frozenset({"read"}),
    "member": frozenset(),
}  # fmt: skip


class Actor(msgspec.Struct, frozen=True):
    """Who makes a change."""

    id: str
    """Of the key; ``cli`` on the machine itself."""
    role: Role

    def must(self, action: Action) -> None:
        """Go on if the role allows `action`.

        Raises:
            NotAllowed: it does not.
        """
        if action not in MATRIX[self.role]:
            raise NotAllowed(
                f"The role {self.role!r} may not {action.replace('_', ' ')}."
            )


MACHINE: Final = Actor("cli", "owner")
"""Whoever may read the state folder may do everything."""

FREE_FAILURES: Final = 10
"""Wrong keys from one address before it has to wait: a person's typing errors."""
WAIT_SECONDS: Final = 30.0
"""How long after that; a key of 256 bits is not found at any rate, a short one that
somebody chose is not found at 20 a minute."""
MAX_ADDRESSES: Final = 10_000
"""Remembered at once; the ones that were quiet the longest are forgotten first."""


class Doorkeeper:
    """Counts the wrong keys of each address."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: collections.OrderedDict[str, tuple[int, float]] = (
            collections.OrderedDict()
        )
        self._lock = threading.Lock()

    def admit(self, address: str) -> None:
        """Go on if this address may try a key now.

        Raises:
            TooMany: it has to wait.
        """
        with self._lock:
            count, last = self._failures.get(address, (0, 0.0))
            wait = last + WAIT_SECONDS - self._clock()
        if count >= FREE_FAILURES and wait > 0:
            raise TooMany(
                "Too many wrong keys from this address.", retry_after=int(wait) + 1
            )

    def refused(self, address: str) -> None:
        """Note that a key was wrong."""
        with self._lock:
            now = self._clock()
            count, last = self._failures.pop(address, (0, now))
            if now - last > WAIT_SECONDS:
                count = 0
            self._failures[address] = (count + 1, now)
            while len(self._failures) > MAX_ADDRESSES:
                self._failures.popitem(last=False)
