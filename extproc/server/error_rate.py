"""How many of the last minutes' requests have failed, through a provider or us."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from extproc.exchange.completion import Completion
from extproc.server.conditions import Condition
from extproc.telemetry.request_lines import OWN

WINDOW_SECONDS: Final = 300.0
SLOT_SECONDS: Final = 10.0
MAX_PROVIDERS: Final = 200
FAILED: Final = frozenset({"upstream_error", "gateway_error"})
ALL: Final = ""
"""In the place of a provider's name: the gateway as a whole."""


class ErrorRate:
    """Counts in slots; `clock` gives seconds."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._slots: deque[tuple[float, Counter[str], Counter[str]]] = deque()

    def note(self, completions: Iterable[Completion]) -> None:
        """Count requests that have ended."""
        now = self._clock()
        if not self._slots or now - self._slots[-1][0] >= SLOT_SECONDS:
            self._slots.append((now, Counter(), Counter()))
        _, asked, failed = self._slots[-1]
        alike = Counter(
            [
                (one.provider or ALL, one.outcome in FAILED)
                for one in completions
                if one.operation not in OWN
            ]
        )
        for (provider, bad), number in alike.items():
            for name in {ALL, provider}:
                if name in asked or len(asked) < MAX_PROVIDERS:
                    asked[name] += number
                    failed[name] += bad * number

    def conditions(self, share: float, least: int) -> Iterator[Condition]:
        """Yield where more than `share` has failed, of `least` requests or more."""
        now = self._clock()
        while self._slots and now - self._slots[0][0] > WINDOW_SECONDS:
            self._slots.popleft()
        asked, failed = Counter[str](), Counter[str]()
        for _, slot_asked, slot_failed in self._slots:
            asked.update(slot_asked)
            failed.update(slot_failed)
        for name, number in asked.items():
            if number < least or failed[name] <= share * number:
                continue
            whose = f" of {name}" if name else ""
            yield Condition(
                f"errors/{name}",
                f"{failed[name]} of {number} requests{whose} have failed in the last "
                f"{WINDOW_SECONDS / 60:.0f} minutes",
                0.0,
                "errors",
                {"requests": number, "failed": failed[name], "provider": name or None},
            )
