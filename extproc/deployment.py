"""What a configuration says of one target and one virtual model, for routing.

Plain data, part of the snapshot. A *deployment* is a provider, a model and one of the
provider's keys: what is up or down, busy or idle, limited or free.
"""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

Strategy = Literal[
    "priority",
    "round_robin",
    "weighted",
    "shuffle",
    "least_busy",
    "latency",
    "usage",
    "cost",
    "affinity",
    "adaptive",
]
"""Each is defined in ``docs/routing.md``."""

STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)


SWITCHES = ("tools", "vision", "documents", "audio", "json_schema", "streaming")
"""The `Abilities` that a model has or has not."""


class Abilities(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a model can do; None: not known, and then it is asked."""

    context_tokens: int | None = None
    """Of the prompt and the answer together."""
    output_tokens: int | None = None
    tools: bool | None = None
    vision: bool | None = None
    documents: bool | None = None
    audio: bool | None = None
    json_schema: bool | None = None
    streaming: bool | None = None

    @property
    def lacks(self) -> tuple[str, ...]:
        """What it is known not to be able to do."""
        return tuple(name for name in SWITCHES if getattr(self, name) is False)


class Edits(msgspec.Struct, frozen=True, omit_defaults=True):
    """Changes to the top level of the body that a target is sent; values are JSON."""

    set: dict[str, bytes] = {}
    default: dict[str, bytes] = {}
    """Set where the rendering has no such member."""
    remove: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.set or self.default or self.remove)


class Placement(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a target takes its part in routing."""

    key: str = ""
    """Which of the provider's keys, such as ``2``; empty where it has one."""
    credential: str = ""
    """Tells one value of the key from the next: a key that was benched and is replaced
    is tried at once."""
    tier: int = 0
    """A target of a higher number is asked only after those of the lower ones."""
    weight: int = 1
    tags: frozenset[str] = frozenset()
    region: str = ""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    max_concurrency: int | None = None
    first_byte: float | None = None
    """Seconds until the answer's headers, where they are not the gateway's own."""
    idle: float | None = None
    """Seconds of silence in the middle of the answer, likewise."""
    total: float | None = None
    """Seconds until the answer's end, likewise."""
    headers: tuple[tuple[str, str], ...] = ()
    edits: Edits = Edits()
    abilities: Abilities = Abilities()


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a rule applies: all that it names must hold."""

    headers: dict[str, str] = {}
    """By name, globs of the value."""
    metadata: dict[str, str] = {}
    """Of the body's ``metadata``."""
    tags: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    """Globs of the gateway key's id."""


class Share(msgspec.Struct, frozen=True):
    """One side of a split."""

    model: str
    weight: int


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """Sends a request for one virtual model on to another."""

    when: Condition = Condition()
    to: tuple[Share, ...] = ()
    """One, or a split between several."""
    by: str = "user"
    """What a split assigns by: ``user``, ``session``, ``key`` or ``header:<name>``."""


class ModelRouting(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a virtual model chooses among its targets, and where it turns to after them."""

    strategy: Strategy = "priority"
    aliases: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    """Virtual models that are asked after all targets."""
    context_fallbacks: tuple[str, ...] = ()
    """Those that are asked where a prompt is too long for every target."""
    content_fallbacks: tuple[str, ...] = ()
    """Those that are asked where a provider's filter refuses a prompt."""
    rules: tuple[Rule, ...] = ()

    @property
    def turns(self) -> bool:
        """Whether there is anything to turn to after its targets."""
        return bool(self.fallbacks or self.context_fallbacks or self.content_fallbacks)


class RoutingNumbers(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a deployment is left alone, for how long, and what overload is."""

    failures: int = 3
    """In a row, before a deployment cools down."""
    failure_share: float = 0.5
    """Of recent outcomes, before it cools down without a row of failures."""
    least_outcomes: int = 10
    """Recent outcomes before a share of them says anything."""
    half_life: float = 15.0
    """Seconds in which an outcome loses half its weight."""
    cooldown: float = 5.0
    """Seconds of the first cooldown; doubled with each failed trial."""
    longest_cooldown: float = 60.0
    longest_retry_after: float = 300.0
    """A provider's ``retry-after`` is respected up to here."""
    credential_cooldown: float = 300.0
    """Seconds for which a key that was refused is benched."""
    attempts: int = 4
    """Of a request at most, the first among them."""
    retry_share: float = 0.2
    """Fruitless retries for each request, beyond a first hundred."""
    max_in_flight: int = 10_000
    """Requests that one worker serves at a time; more are answered with 503."""
