"""How much may be tried again, and how long all of it may take."""

from __future__ import annotations

BURST = 100.0
"""Fruitless retries before the share counts: a provider that goes down takes its requests
in flight with it, and the cooldown that ends that needs some outcomes first."""

SHORT_CHAIN = 2
"""Attempts of a request when the share is used up."""

PAUSE_SECONDS = 5.0
"""Between two attempts at most: connecting, and Envoy's back-off."""


class RetryShare:
    """Bounds how much more a gateway asks of providers that all fail.

    Each request adds its share; each attempt after the first that fails too takes one.
    Retries that are answered cost nothing: they are what retrying is for.
    """

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = BURST

    @property
    def spent(self) -> bool:
        """Whether requests must do with fewer attempts for now."""
        return self._left < 1

    @property
    def left(self) -> float:
        """Fruitless retries that are left."""
        return self._left

    def deposit(self, share: float) -> None:
        """Note a request."""
        if self._left < BURST:
            self._left = min(BURST, self._left + share)

    def withdraw(self, fruitless: int) -> None:
        """Note attempts after the first that failed."""
        self._left = max(0.0, self._left - fruitless)


def deadline(attempts: int, first_byte: float) -> float:
    """Return the seconds in which a chain must have an answer's headers."""
    return attempts * (first_byte + PAUSE_SECONDS)
