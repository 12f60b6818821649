"""What keys may do, on its way to the workers: all of it once, then what has changed.

A snapshot is some 40 MB where there are 100,000 keys: a worker that read it with every
change would stand still for a second. So a snapshot travels without its grants, behind
`GrantsPart` frames that say what to change of those that the worker has. Part of every
worker: it imports nothing but msgspec and the core.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

import msgspec

from extproc.config.kept import common_ends
from extproc.identity import Grant, GrantBook
from extproc.runtime import Snapshot

PART: Final = 1_000
"""Grants in one frame: some 400 kB, read in 10 ms; a worker turns to its streams between
two of them."""


class GrantsPart(msgspec.Struct, frozen=True, tag="grants"):
    """Grants that are new or others, and the hashes of those that are gone."""

    grants: tuple[Grant, ...] = ()
    gone: tuple[str, ...] = ()
    fresh: bool = False
    """Whether those that the worker has are all gone."""


def take(book: GrantBook, part: GrantsPart) -> None:
    """Change `book` as `part` says.

    Raises:
        ValueError: a hash is none.
    """
    if part.fresh:
        book.clear()
    for sha256 in part.gone:
        book.pop(bytes.fromhex(sha256), None)
    for grant in part.grants:
        book[bytes.fromhex(grant.sha256)] = grant


class Edition:
    """A snapshot as it is sent: what `parts` yields, and then `rest`."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.rest = msgspec.structs.replace(snapshot, grants=())
        self._after: tuple[Edition, tuple[GrantsPart, ...]] | None = None

    def parts(self, before: Edition | None) -> Iterable[GrantsPart]:
        """Return what makes its grants of those of `before`; None: of nothing.

        What came of the same `before` is remembered: all workers ask for it.
        """
        if before is None:
            return _parts(_by_hash(self.snapshot.grants).values(), fresh=True)
        if self._after is None or self._after[0] is not before:
            self._after = (before, tuple(self._changes(before)))
        return self._after[1]

    def _changes(self, before: Edition) -> Iterator[GrantsPart]:
        old, new = before.snapshot.grants, self.snapshot.grants
        begin, end = common_ends(old, new)
        touched = {
            grant.sha256
            for grants in (old, new)
            for grant in grants[begin : len(grants) - end]
        }
        if not touched:
            return
        # Of several grants of one hash the last holds, wherever in the rows it stands.
        was = _by_hash(grant for grant in old if grant.sha256 in touched)
        now = _by_hash(grant for grant in new if grant.sha256 in touched)
        if gone := tuple(was.keys() - now.keys()):
            yield GrantsPart(gone=gone)
        yield from _parts(
            grant for sha256, grant in now.items() if was.get(sha256) != grant
        )


def _by_hash(grants: Iterable[Grant]) -> dict[str, Grant]:
    return {grant.sha256: grant for grant in grants}


def _parts(grants: Iterable[Grant], *, fresh: bool = False) -> Iterator[GrantsPart]:
    left = iter(grants)
    while (batch := tuple(islice(left, PART))) or fresh:
        yield GrantsPart(batch, fresh=fresh)
        fresh = False
