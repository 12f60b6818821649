"""The same key to the same place, wherever it is computed: nothing is remembered."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

from extproc.deployment import Share

_SPAN = 1 << 64


def fraction(*parts: str) -> float:
    """Return a number in (0, 1) that these texts always give, evenly spread."""
    digest = hashlib.blake2b(
        "\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8
    )
    return (int.from_bytes(digest.digest(), "big") + 0.5) / _SPAN


def distance(key: str, place: str, weight: int) -> float:
    """Return how far `place` is from `key`; the nearest serves it.

    Weighted rendezvous hashing: where a place is gone, only its own keys move.
    """
    return -math.log(fraction(key, place)) / weight


def split(shares: Sequence[Share], *salted: str) -> str:
    """Return the model of the share that these texts fall into."""
    at = fraction(*salted) * sum(share.weight for share in shares)
    for share in shares:
        at -= share.weight
        if at < 0:
            return share.model
    return shares[-1].model
