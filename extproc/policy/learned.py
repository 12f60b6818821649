"""How long answers usually are: what a soft budget and a token limit reserve."""

from __future__ import annotations

KEPT = 64
"""Answers remembered of each key and model: the 95th percentile is the 4th longest."""
PAIRS = 20_000
"""Keys by models that are remembered: some 12 MB."""
ENOUGH = 5
"""Answers without which nothing is known."""


class Outputs:
    """The output tokens of the last answers, by key and model; of one worker."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], list[int]] = {}
        self._known: dict[tuple[str, str], int] = {}

    def expected(self, key: str, model: str) -> int | None:
        """Return the 95th percentile; None when too little is known."""
        return self._known.get((key, model))

    def learn(self, key: str, model: str, tokens: int) -> None:
        """Note an answer that came to its end."""
        pair = (key, model)
        seen = self._seen.get(pair)
        if seen is None:
            if len(self._seen) >= PAIRS:
                oldest = next(iter(self._seen))
                del self._seen[oldest]
                self._known.pop(oldest, None)
            seen = self._seen[pair] = []
        seen.append(tokens)
        if len(seen) > KEPT:
            del seen[0]
        if len(seen) >= ENOUGH:
            self._known[pair] = sorted(seen)[int(0.95 * (len(seen) - 1) + 0.5)]
