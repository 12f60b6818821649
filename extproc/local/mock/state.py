"""What the mock remembers between requests, and the clock that it is given."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from extproc.local.mock.directives import Conduct
from extproc.local.mock.reply import Refusal


@dataclass(frozen=True, slots=True)
class Token:
    """An access token: whom it is for, and until when."""

    audience: str
    expires: float


@dataclass(slots=True)
class Memory:
    """Counters that outlive a request; one for each server."""

    clock: Callable[[], float]
    """Seconds since 1970; only `created` and the like come from it."""
    failures: Counter[str] = field(default_factory=Counter)
    """How often each `fail-first` key has failed."""
    cached_prefixes: set[str] = field(default_factory=set)
    """Digests of the prompts that a cache has seen."""
    tokens: dict[str, Token] = field(default_factory=dict)
    """The access tokens that the mock's own identity providers gave out."""
    service_accounts: dict[str, bytes] = field(default_factory=dict)
    """The public keys of Google's accounts that a test made: address → PEM."""
    kept: int = 0
    """Things that were given an id of their own."""
    served: int = 0
    """Requests answered, for request ids."""

    def failing_status(self, conduct: Conduct) -> int | None:
        """Return the status to fail with now, if the conduct asks for one."""
        if conduct.status is not None:
            return conduct.status
        if self.failures[conduct.fail_key] < conduct.fail_times:
            self.failures[conduct.fail_key] += 1
            return conduct.fail_status
        return None

    def fail_if_asked(
        self, conduct: Conduct, refuse: Callable[[int, str | None], Refusal]
    ) -> None:
        """Fail if the conduct says so, with what `refuse` makes of status and message.

        Raises:
            Refusal: it does.
        """
        status = self.failing_status(conduct)
        if status is None:
            return
        refusal = refuse(status, conduct.message)
        if conduct.retry_after is not None:
            refusal.headers = (("retry-after", f"{conduct.retry_after:g}"),)
        raise refusal

    def seen_before(self, digest: str) -> bool:
        """Tell whether this prefix is cached already; from now on it is."""
        seen = digest in self.cached_prefixes
        self.cached_prefixes.add(digest)
        return seen

    def issue(self, audience: str, seconds: float) -> str:
        """Return a new access token for `audience`."""
        value = f"mock-token-{len(self.tokens):06d}.{secrets.token_urlsafe(24)}"
        self.tokens[value] = Token(audience, self.clock() + seconds)
        return value

    def is_issued(self, token: str, audience: str) -> bool:
        """Tell whether the mock gave out this token for `audience`, and it still holds."""
        known = self.tokens.get(token)
        return (
            known is not None
            and known.audience == audience
            and self.clock() < known.expires
        )

    def next_request_id(self) -> str:
        """Return an id that no other request of this server has."""
        self.served += 1
        return f"req_mock{self.served:020d}"

    def next_id(self) -> str:
        """Return what no other thing that is kept here is called by."""
        self.kept += 1
        return f"mock{self.kept:08d}"
