"""What a request claims of the limits that it is under, and what comes of it.

All of it is decided in one step by the store (`extproc.state`): either every claim is
met, and everything is reserved, or none is.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from extproc.identity import Unit

Counted = Unit | Literal["nanos", "running"]
"""What a meter counts: of a rate limit, of a budget, or requests that are under way."""


class Claim(msgspec.Struct, frozen=True, gc=False):
    """So much of one limit."""

    meter: str
    """The name of what is counted: subject, unit and window or period; a budget's has
    the beginning of its period in it, so that a new period is a new meter."""
    counts: Counted
    limit: int
    amount: int
    """What to reserve: a token limit's is an estimate, a budget's nano-dollars."""
    seconds: int = 0
    """The window of a rate limit."""
    ends: int = 0
    """Unix seconds at which a budget's period is over."""
    first: bool = False
    """Of the deployment that is tried first: it pays for answers that it gives itself."""
    subject: str = ""
    """Whose limit it is, such as ``team 'search'``; for the error's text."""

    @property
    def name(self) -> str:
        """Which limit this is, without anybody's name: such as ``key requests``."""
        unit = "usd" if self.counts == "nanos" else self.counts
        return f"{self.meter.partition('/')[0]} {unit}"


class Admission(msgspec.Struct, frozen=True, gc=False):
    """All claims of one request."""

    id: str
    """``gw.id``: what makes every verb count once, and never anything of a client's."""
    claims: tuple[Claim, ...]


class Spent(msgspec.Struct, frozen=True, gc=False):
    """What a request really used."""

    requests: int = 1
    input_tokens: int = 0
    output_tokens: int = 0
    nanos: int = 0
    elsewhere: bool = False
    """Another deployment than the first one has answered."""

    def on(self, claim: Claim) -> int:
        """Return how much of what `claim` counts it is."""
        if claim.first and self.elsewhere:
            return self.requests if claim.counts == "requests" else 0
        return self.of(claim.counts)

    def of(self, counted: Counted) -> int:
        """Return how much of `counted` it is."""
        match counted:
            case "requests":
                return self.requests
            case "total_tokens":
                return self.input_tokens + self.output_tokens
            case "nanos":
                return self.nanos
            case "input_tokens":
                return self.input_tokens
            case "output_tokens":
                return self.output_tokens
            case "running":
                return 0


NOTHING = Spent(requests=0)
"""Nothing reached a provider: not even the request counts."""


class Left(msgspec.Struct, frozen=True, gc=False):
    """Where one limit stands after a verdict."""

    remaining: int
    reset: float
    """Seconds until all of it is there again; of a budget, until its period is over."""
    spent: int = 0
    """Of a budget: what is charged, without what is held."""


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """Every claim is met, and reserved."""

    left: tuple[Left, ...]
    """By claim."""
    leased: bool = False
    """Whether the worker admitted it by itself, the store being away."""


class Denied(msgspec.Struct, frozen=True, gc=False):
    """One claim cannot be met, and nothing was reserved."""

    claim: int
    """The first one, counted from 0."""
    left: Left
    retry_after: float | None
    """Seconds until it could be met, if nothing else comes; None: it never can."""
    waiting: bool = False
    """Whether a budget has it, and other requests' reservations are all that is in the
    way."""
    storeless: bool = False
    """Whether it is for want of the store that it is refused."""


Verdict = Admitted | Denied
