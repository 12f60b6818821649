"""How long one attempt at a target may take: its own word, its provider's, the gateway's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from extproc.config.models import TargetConfig
from extproc.config.schema import Config


class Times(NamedTuple):
    """Seconds; None: as the gateway says for all."""

    first_byte: float | None
    """Until the answer's headers."""
    idle: float | None
    """Silence in the middle of the answer."""
    total: float | None
    """From when it is sent until the answer's end."""


def target_times(config: Config, target: TargetConfig) -> Times:
    """Return the times of attempts at `target`."""
    own, general = target.timeouts, config.providers[target.provider].timeouts
    first_byte = own.first_byte or general.first_byte
    total = own.total or general.total
    longest = total or config.timeouts.total
    # Whoever may not take that long in all may not take it to the headers either.
    if longest < (first_byte or config.timeouts.first_byte):
        first_byte = longest
    return Times(first_byte, own.idle or general.idle, total)


def longest_first_byte(config: Config) -> float:
    """Return the most seconds that any attempt may take to its answer's headers."""
    times = (one.first_byte for one in _every(config))
    return max(config.timeouts.first_byte, *(one or 0 for one in times))


def longest_silence(config: Config) -> float:
    """Return the longest that any answer may be silent, in the middle or before it begins."""
    silences = (one.idle or 0 for one in _every(config))
    return max(config.timeouts.idle, longest_first_byte(config), *silences)


def longest_total(config: Config) -> float:
    """Return the most seconds that any attempt may take in all."""
    return max(config.timeouts.total, *(one.total or 0 for one in _every(config)))


def _every(config: Config) -> Iterator[Times]:
    for model in config.models.values():
        for target in model.targets:
            yield target_times(config, target)
