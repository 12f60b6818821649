"""How one deployment does: in flight, times, outcomes, cooldown, and a score of it all.

    CLOSED ──failures──▶ COOLING ──time──▶ TRIAL ──one request──▶ CLOSED
                            ▲                └────── it fails ────┐
                            └──────────── twice as long ──────────┘

Another thread may be reading a large body meanwhile. What must never drift, the requests
in flight, is a set: adding and discarding are one step each. The rest are estimates.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Hashable

import msgspec

from extproc.deployment import RoutingNumbers

SMOOTHING = 0.2
"""Of a moving average: how much of it the newest time is."""

STALE_SECONDS = 60.0
"""After that a time is measured anew: a target that was slow once gets another chance."""

BUCKET_SECONDS = 5.0
BUCKETS = 12

NO_CAP = 100
"""Requests in flight at which a deployment without a cap counts as half busy."""
SLOW_SECONDS = 10.0
"""The time at which a deployment counts as half as good."""


class Phase(enum.IntEnum):
    """Whether a deployment is asked."""

    CLOSED = enum.auto()
    TRIAL = enum.auto()
    """It was cooling down; the next request tries it."""
    COOLING = enum.auto()
    """Asked only when nothing else is left."""
    LIMITED = enum.auto()
    """It said when to come back: not asked before."""


CLOSED, TRIAL, COOLING, LIMITED = Phase


class Load(msgspec.Struct, frozen=True):
    """What one worker has sent to a deployment."""

    in_flight: int = 0
    requests: int = 0
    """In the last minute."""
    tokens: int = 0


IDLE = Load()


class Window:
    """How much of something there was in the last minute."""

    __slots__ = ("_buckets", "_current", "_last", "_until")

    def __init__(self) -> None:
        self._buckets = [0] * BUCKETS
        self._current = 0
        """Of the last bucket, which itself is empty until it is over."""
        self._last = 0
        self._until = BUCKET_SECONDS
        """When the last bucket is over."""

    def add(self, amount: int, now: float) -> None:
        """Count `amount`."""
        if now >= self._until:
            self._turn(now)
        self._current += amount

    def total(self, now: float) -> int:
        """Return what was counted in the last minute."""
        self._turn(now)
        return sum(self._buckets) + self._current

    def _turn(self, now: float) -> None:
        bucket = int(now // BUCKET_SECONDS)
        if bucket <= self._last:
            return
        self._buckets[self._last % BUCKETS] += self._current
        self._current = 0
        for gone in range(max(self._last + 1, bucket - BUCKETS + 1), bucket + 1):
            self._buckets[gone % BUCKETS] = 0
        self._last = bucket
        self._until = (bucket + 1) * BUCKET_SECONDS


class Health:
    """One deployment, for as long as the worker lives."""

    __slots__ = (
        "_counted_at", "_failed", "_limited", "_ok", "_strikes",
        "borrowed", "cap", "cooling_until", "first_byte", "half_open", "hard",
        "healed_at", "id",
        "in_flight", "measured_at", "reason", "remote", "requests", "row", "standby",
        "tokens", "total", "trial",
    )  # fmt: skip

    def __init__(self, id: str) -> None:  # noqa: A002  cluster/model
        self.id = id
        self.cap: int | None = None
        """Its target's `concurrency`; of several targets, that of who was asked for last."""
        self.in_flight: set[Hashable] = set()
        self.standby: dict[Health, set[Hashable]] = {}
        """Requests that come here next when the deployment that they are at fails."""
        self.remote = IDLE
        """At all other workers, as they said last."""
        self.first_byte: float | None = None
        """Seconds to the first byte of a stream, averaged."""
        self.total: float | None = None
        """Seconds to the end of an answer that is no stream, averaged."""
        self.measured_at = -math.inf
        self.row = 0
        """Failures without a success in between."""
        self.cooling_until = -math.inf
        self.hard = False
        """The provider said when to come back."""
        self.reason = ""
        self.half_open = False
        self.borrowed = False
        """Another worker's experience, not our own."""
        self.healed_at = -math.inf
        """When its trial went well."""
        self.trial: Hashable | None = None
        self.requests = Window()
        self.tokens = Window()
        self._ok = self._failed = self._limited = 0.0
        self._counted_at = 0.0
        self._strikes = 0

    @property
    def load(self) -> int:
        """Requests in flight, at all workers."""
        return len(self.in_flight) + self.remote.in_flight

    def requests_a_minute(self, now: float) -> int:
        """Return what it was sent in the last minute, by all workers."""
        return self.requests.total(now) + self.remote.requests

    def tokens_a_minute(self, now: float) -> int:
        """Return what it has used in the last minute, for all workers."""
        return self.tokens.total(now) + self.remote.tokens

    def foreseen(self, now: float, numbers: RoutingNumbers) -> float:
        """Return how many requests are likely to fail over to it, of those in flight."""
        return sum(
            len(waiting) * before.failing(now, numbers)
            for before, waiting in tuple(self.standby.items())
        )

    def failing(self, now: float, numbers: RoutingNumbers) -> float:
        """Return which part of its requests fails, as things are."""
        if self.phase(now) >= COOLING:
            return 1.0
        self._decay(now, numbers)
        outcomes = self._ok + self._failed + self._limited
        return (self._failed + self._limited) / (outcomes + 1)

    def phase(self, now: float) -> Phase:
        """Say whether it is asked."""
        if self.cooling_until > now:
            return LIMITED if self.hard else COOLING
        if not self.half_open:
            return CLOSED
        return TRIAL if self.trial is None else COOLING

    def succeeded(self, now: float, numbers: RoutingNumbers) -> None:
        """Note an answer."""
        self._decay(now, numbers)
        self._ok += 1
        self.row = 0
        if self.half_open:
            self.healed_at = now
            self._close()

    def heal(self, now: float) -> None:
        """Take another worker's word that its trial went well."""
        if self.half_open and self.cooling_until <= now and self.trial is None:
            self._close()

    def failed(
        self,
        now: float,
        numbers: RoutingNumbers,
        *,
        reason: str,
        retry_after: float | None = None,
    ) -> None:
        """Note a failure; enough of them begin a cooldown."""
        self._decay(now, numbers)
        self._failed += 1
        self.row += 1
        outcomes = self._ok + self._failed + self._limited
        enough = (
            self.row >= numbers.failures
            or self.half_open
            or (
                outcomes >= numbers.least_outcomes
                and self._failed >= numbers.failure_share * outcomes
            )
        )
        if enough or retry_after is not None:
            self._cool(now, numbers, reason, retry_after)

    def limited(
        self, now: float, numbers: RoutingNumbers, *, retry_after: float | None
    ) -> None:
        """Note a 429: a cooldown at once, and a hard one when it said how long."""
        self._decay(now, numbers)
        self._limited += 1
        self._cool(now, numbers, "429", retry_after)
        self.hard = self.hard or retry_after is not None

    def borrow(self, *, seconds: float, hard: bool, reason: str, now: float) -> None:
        """Respect a cooldown that another worker has begun."""
        until = now + seconds
        if until > self.cooling_until:
            self.cooling_until, self.hard, self.reason = until, hard, reason
            self.half_open = self.borrowed = True
            self.trial = None

    def measure(
        self, now: float, *, first_byte: float | None = None, total: float | None = None
    ) -> None:
        """Average a time in."""
        self.measured_at = now
        if first_byte is not None:
            self.first_byte = _average(self.first_byte, first_byte)
        if total is not None:
            self.total = _average(self.total, total)

    def time(self, now: float, *, stream: bool) -> float | None:
        """Return the average that counts for a request; None: to be measured."""
        if now - self.measured_at > STALE_SECONDS:
            return None
        return self.first_byte if stream else self.total

    def share(
        self, now: float, requests_per_minute: int | None, tokens_per_minute: int | None
    ) -> float:
        """Return how much of its limits is used: 1 is all of one of them."""
        shares = [0.0]
        if requests_per_minute is not None:
            shares.append(self.requests_a_minute(now) / requests_per_minute)
        if tokens_per_minute is not None:
            shares.append(self.tokens_a_minute(now) / tokens_per_minute)
        return max(shares)

    def score(self, now: float, numbers: RoutingNumbers) -> int:
        """Return 0 (not to be asked) to 100 (no fault): see ``docs/routing.md``."""
        if self.phase(now) >= COOLING:
            return 0
        self._decay(now, numbers)
        outcomes = self._ok + self._failed + self._limited
        # As if one success had come before: a first failure is no verdict.
        errors = self._failed / (outcomes + 1)
        limits = self._limited / (outcomes + 1)
        seconds = self.first_byte if self.first_byte is not None else self.total
        speed = SLOW_SECONDS / (SLOW_SECONDS + (seconds or 0))
        cap = self.cap or NO_CAP
        room = cap / (cap + self.load)
        return round(100 * (1 - errors) ** 2 * (1 - limits) * speed * room)

    def _close(self) -> None:
        self.row = 0
        self._strikes = 0
        self.half_open = False
        self.trial = None

    def _cool(
        self,
        now: float,
        numbers: RoutingNumbers,
        reason: str,
        retry_after: float | None,
    ) -> None:
        if retry_after is not None:
            seconds = min(retry_after, numbers.longest_retry_after)
        elif self.cooling_until > now:
            # A request that had begun before the cooldown tells nothing new.
            return
        else:
            doubled = numbers.cooldown * 2.0 ** min(self._strikes, 16)
            seconds = min(doubled, numbers.longest_cooldown)
            self._strikes += 1
        self.hard = self.hard and self.cooling_until > now
        self.cooling_until = max(self.cooling_until, now + seconds)
        self.reason = reason
        self.half_open = True
        self.borrowed = False
        self.trial = None
        # It comes back as one that nobody knows.
        self.measured_at = -math.inf

    def _decay(self, now: float, numbers: RoutingNumbers) -> None:
        age = now - self._counted_at
        if age > 0:
            kept = 0.5 ** (age / numbers.half_life)
            self._ok *= kept
            self._failed *= kept
            self._limited *= kept
        self._counted_at = now


def _average(old: float | None, new: float) -> float:
    return new if old is None else old + SMOOTHING * (new - old)
