"""A target: something that reads what others wrote, and what may come of it."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.fuzz.shapes import BYTES, Shape


@dataclass(frozen=True)
class Target:
    """One thing to fuzz."""

    name: str
    seeds: Callable[[], Sequence[bytes]]
    """Inputs to begin with: the recorded cases, where there are any."""
    run: Callable[[bytes], None]
    """Reads one input. Whatever it raises is a bug: declared errors stay inside."""
    shape: Shape = BYTES
    few: int = 1
    """By how much the short form divides its inputs: what a kind of targets shares, or
    what takes milliseconds."""


def inputs(target: Target, count: int, seed: int) -> Iterator[bytes]:
    """Yield the seeds, and as many mutations of them as are wanted; always the same."""
    seeds = target.seeds()
    yield from seeds
    trees = []
    for one in seeds:
        try:
            trees.append(target.shape.parse(one))
        except ValueError:
            continue
    chance = random.Random(f"{target.name} {seed}")
    for _ in range(count):
        yield target.shape.vary(chance.choice(trees), chance)


def pieces(data: bytes) -> list[bytes]:
    """Cut `data` somewhere, always there: what is fuzzed must play again."""
    number = zlib.crc32(data)
    if len(data) < 2 or number % 8 == 0:
        return [data]
    if len(data) < 200 and number % 8 == 1:
        return [data[i : i + 1] for i in range(len(data))]
    first, second = sorted((number % len(data), number // 7 % len(data)))
    return [data[:first], data[first:second], data[second:]]


def pick(data: bytes, count: int) -> int:
    """Draw a number under `count` from the input itself."""
    return (zlib.crc32(data) >> 8) % count
