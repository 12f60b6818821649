"""What a worker has learned of its deployments: it survives every reload.

`RoutingState` is the one mutable thing in routing. It is given the time with each call
and a source of randomness once; the same calls give the same answers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import msgspec

from extproc.deployment import RoutingNumbers
from extproc.routing.health import Health, Load, Phase
from extproc.routing.retry import RetryShare
from extproc.routing.trials import Asking, Trials

MAX_DEPLOYMENTS = 10_000
"""A glob makes a deployment of every name that a client thinks of; the ones that nobody
has asked for longest are forgotten."""

HEALED_SECONDS = 1.0
"""For how long a worker tells that a trial went well: the others hear it within half of
that, and no cooldown that has begun meanwhile is over by then."""

CLASSES = ((0, 0.95), (-1, 0.8))
"""Priorities and the part of all places that requests of at most this one may fill: the
rest is kept for those that matter more."""


class Random(Protocol):
    """Where chance comes from."""

    def random(self) -> float:
        """Return a number in [0, 1)."""


class Still:
    """Chance that has none: for what is computed once and must be the same again."""

    def random(self) -> float:
        """Return the middle."""
        return 0.5


class Bench(msgspec.Struct):
    """A provider's key that was refused."""

    until: float
    credential: str
    """Another one in its place is tried at once."""
    borrowed: bool = False
    """Another worker's experience, not our own."""


class LiveDeployment(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a deployment does at one worker, as the others are told."""

    id: str
    in_flight: int = 0
    requests: int = 0
    """In the last minute."""
    tokens: int = 0
    cooling: float = 0.0
    """Seconds that are left of a cooldown which this worker began itself."""
    hard: bool = False
    reason: str = ""
    healed: bool = False
    """Its trial has just gone well here."""
    phase: str = "closed"
    score: int = 100
    first_byte: float | None = None
    total: float | None = None


class LiveBench(msgspec.Struct, frozen=True):
    """A benched key, as the others are told."""

    cluster: str
    credential: str
    seconds: float


class RoutingState:
    """All deployments, and what was decided before."""

    def __init__(
        self,
        chance: Random,
        numbers: RoutingNumbers | None = None,
        *,
        on_change: Callable[[], None] = lambda: None,
        on_bench: Callable[[str, float], None] = lambda *_: None,
    ) -> None:
        self.chance = chance
        self.numbers = numbers or RoutingNumbers()
        self.retries = RetryShare()
        self.trials = Trials()
        self.credits: dict[tuple[str, str, int], dict[str, int]] = {}
        """Of smooth weighted round robin, by the virtual model that this one is a fallback
        of, itself, and tier."""
        self.open: set[object] = set()
        """Exchanges that this worker serves now."""
        self.on_change = on_change
        """Called when a cooldown has begun: the other workers should know."""
        self.on_bench = on_bench
        """Called when a key is benched that was not: its cluster, and the seconds."""
        self.cooldowns: Counter[tuple[str, str]] = Counter()
        """Those that began here, by cluster and reason, until somebody takes them."""
        self._deployments: dict[str, Health] = {}
        self._benches: dict[str, Bench] = {}
        self._told: dict[str, dict[str, Load]] = {}

    def health(self, id: str) -> Health:  # noqa: A002  cluster/model
        """Return the deployment `id`, a new one if nothing is known of it."""
        found = self._deployments.get(id)
        if found is None:
            if len(self._deployments) >= MAX_DEPLOYMENTS:
                self._forget()
            found = self._deployments[id] = Health(id)
        return found

    def benched(self, cluster: str, credential: str, now: float) -> bool:
        """Say whether the key of `cluster` was refused not long ago."""
        bench = self._benches.get(cluster)
        return (
            bench is not None and bench.until > now and bench.credential == credential
        )

    def bench(self, cluster: str, credential: str, now: float) -> None:
        """Leave the key of `cluster` alone for a while."""
        seconds = self.numbers.credential_cooldown
        if not self.benched(cluster, credential, now):
            self.on_bench(cluster, seconds)
        until = now + seconds
        self._benches[cluster] = Bench(until, credential)
        self.on_change()

    def broke(self, id: str, now: float) -> None:  # noqa: A002  cluster/model
        """Note that an answer of a deployment, well begun, did not come to its end."""
        health = self.health(id)
        until = health.cooling_until
        health.failed(now, self.numbers, reason="broken stream")
        if health.cooling_until != until:
            self.cooled(health)

    def cooled(self, health: Health) -> None:
        """Note that a cooldown of a deployment has begun."""
        self.cooldowns[health.id.partition("/")[0], health.reason] += 1
        self.on_change()

    def may_try(self, health: Health, now: float) -> bool:
        """Say whether a request may be the trial of a deployment; if not, ask for it."""
        if self.trials.may(health.id, now):
            return True
        if self.trials.want(health.id, now):
            self.on_change()
        return False

    def tried(self, health: Health) -> None:
        """Note that a trial has ended."""
        self.trials.end(health.id)
        self.on_change()

    def ask_trials(self, now: float) -> Asking:
        """Return what the store is to be told and asked of trials."""
        due = [
            name
            for name in self.trials.wanted
            if self.health(name).phase(now) is Phase.TRIAL
        ]
        return self.trials.ask(now, due)

    def has_room(self, priority: int) -> bool:
        """Say whether another request of this priority may begin."""
        places = self.numbers.max_in_flight
        if len(self.open) < places // 2:
            return True  # whatever its class
        for limit, part in CLASSES:
            if priority <= limit:
                places = int(self.numbers.max_in_flight * part)
        return len(self.open) < places

    def live(self, now: float) -> tuple[list[LiveDeployment], list[LiveBench]]:
        """Return what the other workers, and operators, are told: who is not idle."""
        deployments = [
            _told(health, now, self.numbers)
            for health in tuple(self._deployments.values())
            if health.in_flight
            or health.phase(now) is not Phase.CLOSED
            or health.requests.total(now)
        ]
        benches = [
            LiveBench(cluster, bench.credential, bench.until - now)
            for cluster, bench in tuple(self._benches.items())
            if bench.until > now and not bench.borrowed
        ]
        return deployments, benches

    def learn(
        self,
        peer: str,
        deployments: Iterable[LiveDeployment],
        benches: Sequence[LiveBench],
        now: float,
    ) -> None:
        """Take in what another worker said; what it does not name is idle there."""
        loads: dict[str, Load] = {}
        for told in deployments:
            if told.in_flight or told.requests or told.tokens:
                loads[told.id] = Load(told.in_flight, told.requests, told.tokens)
            if told.cooling > 0:
                self.health(told.id).borrow(
                    seconds=told.cooling, hard=told.hard, reason=told.reason, now=now
                )
            elif told.healed:
                self.health(told.id).heal(now)
        before = self._told.pop(peer, {})
        if loads:
            self._told[peer] = loads
        for id_ in before.keys() | loads.keys():
            self._sum_up(id_)
        for bench in benches:
            until = now + bench.seconds
            known = self._benches.get(bench.cluster)
            if (
                known is None
                or known.credential != bench.credential
                or known.until < until
            ):
                self._benches[bench.cluster] = Bench(until, bench.credential, True)

    def forget_peer(self, peer: str) -> None:
        """Let go of the requests of a worker that is gone."""
        self.learn(peer, (), (), 0.0)

    def _sum_up(self, id_: str) -> None:
        known = [loads[id_] for loads in self._told.values() if id_ in loads]
        self.health(id_).remote = Load(
            sum(load.in_flight for load in known),
            sum(load.requests for load in known),
            sum(load.tokens for load in known),
        )

    def _forget(self) -> None:
        idle = [id_ for id_, health in self._deployments.items() if not health.load]
        for id_ in idle[: MAX_DEPLOYMENTS // 10]:
            del self._deployments[id_]


def _told(health: Health, now: float, numbers: RoutingNumbers) -> LiveDeployment:
    cooling = 0.0 if health.borrowed else max(0.0, health.cooling_until - now)
    phase = health.phase(now)
    return LiveDeployment(
        id=health.id,
        in_flight=len(health.in_flight),
        requests=health.requests.total(now),
        tokens=health.tokens.total(now),
        cooling=cooling,
        hard=health.hard and phase is Phase.LIMITED,
        reason=health.reason if phase is not Phase.CLOSED else "",
        healed=phase is Phase.CLOSED and now - health.healed_at < HEALED_SECONDS,
        phase=phase.name.lower(),
        score=health.score(now, numbers),
        first_byte=health.first_byte,
        total=health.total,
    )
