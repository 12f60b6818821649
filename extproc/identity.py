"""Who asks, and what stands on them: keys, subjects, rate limits, budgets.

Plain values. Control compiles them, from ``gateway.yaml`` or from a database, into the
snapshot; workers only read them. A *subject* is whatever a limit can stand on; a request
has up to eight: everybody (``global``), the organization, team and user of its key, the
key, the end user it names, the virtual model and the deployment that serves it. All of
their limits hold at once.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Literal, Self

import msgspec

NANOS = 1_000_000_000
"""Nano-dollars in a dollar: the unit of all money that is stored or added up. A token's
price has at most five significant digits of a micro-dollar, so single costs are rounded
up by less than a nano; sums stay exact in 53 bits up to 9 million dollars."""

Unit = Literal["requests", "input_tokens", "output_tokens", "total_tokens"]
"""What a rate limit counts."""

Period = Literal["hour", "day", "week", "month", "quarter", "year", "total"]
"""Of the calendar: a month begins on its first day at midnight in the budget's zone, a
week on Monday. ``total`` never ends."""

Kind = Literal[
    "global", "organization", "team", "user", "key", "end_user", "model", "deployment"
]
"""What a subject is."""

Role = Literal["owner", "admin", "viewer", "member"]
"""What a key may do with the gateway itself; a ``member`` nothing but use it."""


class RateLimit(msgspec.Struct, frozen=True, gc=False):
    """So many of `unit` in any `seconds`: a sliding window."""

    unit: Unit
    limit: int
    seconds: int
    """60, 3600 or 86400."""


class Budget(msgspec.Struct, frozen=True):
    """So much money in a period of the calendar."""

    nanos: int
    """Nano-dollars."""
    period: Period
    zone: str = "UTC"
    """IANA name; `Snapshot.zones` has its offsets."""
    hard: bool = True
    """Whether a request reserves the most that it can cost (never overspent) or what
    such requests usually cost (more of them at once; the last ones may overspend)."""
    alerts: tuple[int, ...] = ()
    """Percentages at which control tells somebody."""


class Allowance(msgspec.Struct, frozen=True, cache_hash=True):
    """What one subject is held to; nothing of it is shared with another subject."""

    rates: tuple[RateLimit, ...] = ()
    concurrency: int | None = None
    """Requests at once; None: as many as Envoy lets in."""
    budgets: tuple[Budget, ...] = ()

    def __bool__(self) -> bool:
        """Say whether there is any limit at all."""
        return bool(self.rates or self.budgets) or self.concurrency is not None


UNLIMITED = Allowance()


@functools.lru_cache(maxsize=10_000)
def glob_pattern(glob: str) -> re.Pattern[str]:
    """Compile a glob in which only ``*`` is special.

    Each piece between two stars is looked for once, where it comes first: with `.*` alone
    a name of 500 characters and a glob of ten stars are more steps than a day has.
    """
    first, *pieces = map(re.escape, glob.split("*"))
    if not pieces:
        return re.compile(rf"{first}\Z")
    middle = "".join(f"(?>.*?{piece})" for piece in pieces[:-1] if piece)
    return re.compile(rf"(?s:{first}{middle}.*{pieces[-1]})\Z")


def matches(globs: tuple[str, ...], name: str) -> bool:
    """Say whether one of `globs` has `name`."""
    return any(glob == "*" or glob_pattern(glob).match(name) for glob in globs)


class Subject(msgspec.Struct, frozen=True):
    """Something other than a key that limits stand on.

    `id` is the name in ``gateway.yaml`` or in the database: of an ``end_user`` it may be
    a glob, whose limits every user that it matches has for itself; of a ``deployment``
    it is ``provider/model``; of ``global`` it is empty.
    """

    kind: Kind
    id: str
    allowance: Allowance = UNLIMITED
    models: tuple[str, ...] = ("*",)
    """Globs of the virtual models that its keys may use; theirs must match too."""
    blocked: bool = False
    """Whether all of its keys are refused."""
    organization: str | None = None
    """Whose a team or a user is, as `team`: keys say that themselves, tokens do not. Empty
    where no tokens are taken."""
    team: str | None = None


class Grant(msgspec.Struct, frozen=True):
    """A key, and what it may do. The key itself is never here."""

    id: str
    sha256: str
    """Of the whole key, in hex."""
    models: tuple[str, ...] = ("*",)
    """Globs of the virtual models that it may use."""
    prefix: str = ""
    """The key's first characters, to recognize it by."""
    organization: str | None = None
    team: str | None = None
    user: str | None = None
    role: Role = "member"
    not_before: float | None = None
    """Unix seconds, as `expires`: the key is good in between."""
    expires: float | None = None
    blocked: bool = False
    endpoints: tuple[str, ...] = ("*",)
    """Globs of the URL paths that it may use, such as ``/v1/chat/*``."""
    providers: tuple[str, ...] | None = None
    """Globs of the providers whose stored things (files, batches …) it may use. A batch
    names its models where nobody reads them, so that by default a key may only if it may
    use every model."""
    addresses: tuple[str, ...] = ()
    """Networks (CIDR) that its clients must be in; none: any."""
    metadata: dict[str, str] = {}
    tags: tuple[str, ...] = ()
    """Go into every record: spend is told by them too, and routes may be."""
    allowance: Allowance = UNLIMITED
    priority: int = 0
    """Higher is served first where something has to wait."""
    private: bool = False
    """Whether nothing of what is said with it is ever kept."""
    cut_off: bool = False
    """Whether a stream is ended when a budget runs out in the middle of it. Its requests
    then reserve what is usual and not the most that they can cost."""
    within: tuple[tuple[str, ...], ...] = ()
    """The globs of its organization, team and user, where they have any: a model must be
    in each. `Runtime.grant` fills it in."""

    def may_use(self, model: str) -> bool:
        """Say whether the key may use the virtual model of this name."""
        return _within(self.models, self.within, model)

    def may_keep_at(self, provider: str) -> bool:
        """Say whether the key may use what is stored at the provider of this name."""
        if self.providers is not None:
            return matches(self.providers, provider)
        return all("*" in globs for globs in (self.models, *self.within))


@functools.lru_cache(maxsize=10_000)
def _within(
    models: tuple[str, ...], within: tuple[tuple[str, ...], ...], model: str
) -> bool:
    return matches(models, model) and all(matches(globs, model) for globs in within)


NOBODY = Grant("", "", ())
"""May use nothing; stands where nobody has been authenticated yet."""


GrantBook = dict[bytes, Grant]
"""Grants by the SHA-256 of their keys."""


def grant_book(grants: Iterable[Grant]) -> GrantBook:
    """Index `grants`."""
    return {bytes.fromhex(grant.sha256): grant for grant in grants}


class Claims(msgspec.Struct, frozen=True):
    """Where a JWT says what; ``a.b`` is the ``b`` inside of ``a``."""

    user: str = "sub"
    team: str | None = None
    organization: str | None = None
    role: str | None = None


class Issuer(msgspec.Struct, frozen=True):
    """Somebody whose JWTs are keys; Envoy has verified them before we see them."""

    name: str
    """In ``gateway.yaml``; stands before the user in the id of the grant."""
    issuer: str
    """The ``iss`` claim."""
    claims: Claims
    teams: dict[str, str]
    """What the claim says to our name; empty: its own name is ours."""
    roles: dict[str, Role]
    grant: Grant
    """What its tokens may do."""


class Subjects(msgspec.Struct, frozen=True):
    """All subjects but keys, by kind and name."""

    _exact: dict[tuple[Kind, str], Subject]
    _globs: dict[Kind, tuple[tuple[re.Pattern[str], Subject], ...]]
    limited: bool
    """Whether there is a limit on any."""

    @classmethod
    def of(cls, subjects: tuple[Subject, ...]) -> Self:
        """Index `subjects`."""
        globs: dict[Kind, list[Subject]] = {}
        for subject in subjects:
            if "*" in subject.id:
                globs.setdefault(subject.kind, []).append(subject)
        return cls(
            {(s.kind, s.id): s for s in subjects if "*" not in s.id},
            {
                kind: tuple(
                    (glob_pattern(subject.id), subject)
                    for subject in sorted(found, key=lambda s: -len(s.id))
                )
                for kind, found in globs.items()
            },
            any(subject.allowance for subject in subjects),
        )

    def find(self, kind: Kind, name: str) -> Subject | None:
        """Return the subject of this name, else the longest glob that has it."""
        found = self._exact.get((kind, name))
        if found is None and kind in self._globs:
            for pattern, subject in self._globs[kind]:
                if pattern.match(name):
                    return subject
        return found

    def bind(self, grant: Grant) -> Grant:
        """Return `grant` with what its organization, team and user forbid it."""
        owners: list[tuple[Kind, str | None]] = [
            ("organization", grant.organization),
            ("team", grant.team),
            ("user", grant.user),
        ]
        found = [self.find(kind, name) for kind, name in owners if name is not None]
        within = tuple(s.models for s in found if s is not None and s.models != ("*",))
        blocked = any(s is not None and s.blocked for s in found)
        if not within and not blocked:
            return grant
        return msgspec.structs.replace(
            grant, within=within, blocked=grant.blocked or blocked
        )


class Zone(msgspec.Struct, frozen=True):
    """The offsets of a time zone for the years around the snapshot's compile."""

    since: tuple[int, ...] = (0,)
    """Unix seconds from which on the offset of the same place holds, ascending."""
    offsets: tuple[int, ...] = (0,)
    """Seconds east of UTC."""


Unpriced = Literal["refuse", "count"]


class Accounting(msgspec.Struct, frozen=True):
    """How limits and money are kept."""

    store: str | None = None
    """``redis://…``; None: the memory of the one worker."""
    unpriced: Unpriced = "count"
    """What becomes of a request for a model without a price that has a budget on it:
    ``refuse`` it, or ``count`` its tokens and no money."""
    deadline_seconds: float = 0.02
    """How long the store may take; after that the worker's own lease admits."""
    lease_percent: float = 1.0
    """Of each budget and limit: what one worker may admit by itself while the store is
    away. All together they overspend at most the number of workers
    times the lease."""
    fail_open: bool = False
    """Whether requests are admitted when the lease too is used up."""
    hold_seconds: float = 900.0
    """After this long without a sign of its worker, a reservation is settled as it is."""
