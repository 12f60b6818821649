"""What is kept is what would be made anew."""

from __future__ import annotations

from hypothesis import given, strategies as st

from extproc.config.kept import FEW, Kept, common_ends


class Source:
    """Equal to another of the same words; the same as none."""

    def __init__(self, name: str, word: int) -> None:
        self.name, self.word = name, word

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Source) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(self.name)


def name_of(source: Source) -> str:
    return source.name


sources = st.dictionaries(st.integers(0, 9), st.integers(0, 3), max_size=8)


@given(st.lists(sources, min_size=1, max_size=6), st.integers(0, 3))
def test_whatever_changes_all_of_it_is_as_if_made_anew(steps, volatile):
    kept: Kept[Source, tuple[str, int]] = Kept()
    pool: dict[tuple[int, int], Source] = {}
    for now, step in enumerate(steps):
        current = tuple(
            pool.setdefault((name, word), Source(str(name), word))
            for name, word in step.items()
        )

        def make(source, now=now):
            return (source.name, now if source.word == volatile else source.word)

        found = kept.of(current, make, holds=lambda one: one.word != volatile)
        assert found == [make(one) for one in current]


def test_what_was_made_of_the_same_is_the_same():
    kept: Kept[Source, tuple[str]] = Kept()
    many = tuple(Source(str(number), 0) for number in range(2 * FEW))
    made: list[str] = []

    def make(source):
        made.append(source.name)
        return (source.name,)

    first = kept.of(many, make, name=name_of)
    other = (*many[:7], Source("7", 1), *many[8:])
    second = kept.of(other, make, name=name_of)
    assert made[2 * FEW :] == ["7"]
    assert all(a is b for a, b in zip(first, second, strict=True) if a != ("7",))
    # All are read again: those that are equal are found by their names.
    again = tuple(Source(str(number), 0) for number in range(2 * FEW))
    third = kept.of(again, make, name=name_of)
    assert made[2 * FEW + 1 :] == ["7"]
    assert third[9] is first[9]
    # What no longer holds is made anew, and nothing else.
    kept.of(again, make, still=lambda one, _: one.name != "3")
    assert made[2 * FEW + 2 :] == ["3"]


rows = st.lists(st.integers(0, 2), max_size=9).map(tuple)


@given(rows, rows, rows, rows)
def test_the_ends_that_are_the_same_do_not_overlap(before, old, new, behind):
    one, other = before + old + behind, before + new + behind
    begin, end = common_ends(one, other)
    assert begin + end <= min(len(one), len(other))
    assert one[:begin] == other[:begin]
    assert one[len(one) - end :] == other[len(other) - end :]
    rest = one[begin : len(one) - end], other[begin : len(other) - end]
    assert not all(rest) or (rest[0][0] != rest[1][0] and rest[0][-1] != rest[1][-1])


def test_long_rows_are_compared_by_the_piece():
    row = tuple(range(10_000))
    changed = (*row[:4_321], -1, *row[4_322:])
    assert common_ends(row, changed) == (4_321, 5_678)
    assert common_ends(row, (*row[:4_321], *row[4_322:])) == (4_321, 5_678)
    assert common_ends(row, row) == (10_000, 0)
