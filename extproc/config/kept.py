"""What was made of objects that do not change, so that a change of one makes no other anew.

Of 100,000 in a row of which one is another, Python code looks at that one and at the
thousand beside it; the rest is found to be the same by comparing pieces of the two rows,
in which what is the same object is not compared any further.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

S = TypeVar("S")
M = TypeVar("M", bound=tuple[Any, ...])

FEW: Final = 200
"""New sources of which each is made; among more, such as all that were read again, most
equal what was there before, and are looked for by name."""
_PIECE: Final = 1_000


def common_ends(old: tuple[S, ...], new: tuple[S, ...]) -> tuple[int, int]:
    """Return how many at the begin, and how many at the end, are the same in both."""
    most = min(len(old), len(new))
    begin = 0
    while begin + _PIECE <= most and (
        old[begin : begin + _PIECE] == new[begin : begin + _PIECE]
    ):
        begin += _PIECE
    while begin < most and _alike(old[begin], new[begin]):
        begin += 1
    most -= begin
    end = 0
    last_old, last_new = len(old), len(new)
    while end + _PIECE <= most and (
        old[last_old - end - _PIECE : last_old - end]
        == new[last_new - end - _PIECE : last_new - end]
    ):
        end += _PIECE
    while end < most and _alike(old[-1 - end], new[-1 - end]):
        end += 1
    return begin, end


def _alike(one: object, other: object) -> bool:
    return one is other or one == other


class Kept(Generic[S, M]):
    """Tuples, by the sources of which they were made."""

    def __init__(self) -> None:
        self._sources: tuple[S, ...] = ()
        """The last ones, held on to: no other object can get the `id` of one."""
        self._made: list[M] = []
        """Of each source its own."""
        self._loose = False
        """Whether there may be some of which nothing is kept."""

    def of(
        self,
        sources: tuple[S, ...],
        make: Callable[[S], M],
        *,
        holds: Callable[[S], bool] = lambda _: True,
        still: Callable[[S, M], bool] | None = None,
        name: Callable[[S], str] | None = None,
    ) -> list[M]:
        """Return what `make` makes of each of `sources`.

        Args:
            sources: what does not change.
            make: called for those that were not among the last `sources`.
            holds: whether what is made of it may be kept.
            still: whether what is kept holds; None: it does.
            name: by which a source of before is found that may equal it.
        """
        begin, end = common_ends(self._sources, sources)
        until, stop = len(self._sources) - end, len(sources) - end
        middle = sources[begin:stop]
        found = self._found(slice(begin, until), middle, name)
        made = [
            *self._made[:begin],
            *(make(one) if known is None else known for one, known in found),
            *self._made[until:],
        ]
        if still is not None or self._loose:
            for place, one in enumerate(sources):
                if not holds(one) or (
                    still is not None and not still(one, made[place])
                ):
                    made[place] = make(one)
        self._loose = self._loose or not all(map(holds, middle))
        self._sources, self._made = sources, made
        return made

    def _found(
        self, where: slice, new: tuple[S, ...], name: Callable[[S], str] | None
    ) -> list[tuple[S, M | None]]:
        """Return each of `new` with what was made of it, looked for in `where`."""
        old, made = self._sources[where], self._made[where]
        known = dict(zip(map(id, old), made, strict=True))
        found = [(one, known.get(id(one))) for one in new]
        if name is None or len(new) <= FEW:
            return found
        named = {name(one): (one, its) for one, its in zip(old, made, strict=True)}
        for place, (one, its) in enumerate(found):
            before = named.get(name(one)) if its is None else None
            if before is not None and before[0] == one:
                found[place] = (one, before[1])
        return found
