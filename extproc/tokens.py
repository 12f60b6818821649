"""From a verified JWT's claims to what its bearer may do.

Envoy (``jwt_authn``) verifies a token, takes it off the request and passes its payload on
in `HEADER`, which no client can send: the listener drops it first. A token that is not
good gets no such header, and is a wrong key.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from extproc.identity import Grant, Issuer, Role, Subjects

HEADER: Final = "x-extproc-jwt"
"""The payload as it stood in the token: base64url of a JSON object."""
MAX_REMEMBERED: Final = 10_000
"""Payloads whose grants are kept: those of an hour's users, some 10 MB."""
LONGEST_REMEMBERED: Final = 4_096
"""Characters of such a payload, as with Envoy's own cache of tokens: who can have any claims
written into a token would fill our memory with some thousands of them."""
LONGEST_NAME: Final = 256
"""Characters of whoever a claim names; the books have no more."""


class Tokens:
    """The issuers, and the grants of the tokens seen lately."""

    __slots__ = ("_issuers", "_seen", "_subjects")

    def __init__(self, issuers: Iterable[Issuer], subjects: Subjects) -> None:
        self._issuers = {issuer.issuer: issuer for issuer in issuers}
        self._subjects = subjects
        self._seen: dict[str, Grant | None] = {}

    def __bool__(self) -> bool:
        """Say whether there is any issuer."""
        return bool(self._issuers)

    def grant(self, payload: str) -> Grant | None:
        """Return what the bearer of a verified token may do; None: it says of nobody."""
        try:
            return self._seen[payload]
        except KeyError:
            pass
        found = self.read(_decoded(payload))
        if len(payload) > LONGEST_REMEMBERED:
            return found
        if len(self._seen) >= MAX_REMEMBERED:
            self._seen.clear()
        self._seen[payload] = found
        return found

    def read(self, claims: Mapping[str, Any] | None) -> Grant | None:
        """Return what these claims, of a verified token, amount to.

        None: they say of nobody, or of somebody of another organization than the token's.
        """
        issuer = self._issuers.get(str(claims.get("iss"))) if claims else None
        if issuer is None or claims is None:
            return None
        where, default = issuer.claims, issuer.grant
        user = _first(_at(claims, where.user))
        if user is None:
            return None
        known = self._subjects.find("user", user)
        team = (
            _mapped(_at(claims, where.team), issuer.teams)
            or default.team
            or (known and known.team)
        )
        group = self._subjects.find("team", team) if team else None
        said = _first(_at(claims, where.organization))
        fences = {name for name in (default.organization, said) if name}
        homes = [one.organization for one in (known, group) if one and one.organization]
        if fences and len(fences.union(homes)) > 1:
            return None
        grant = msgspec.structs.replace(
            default,
            id=f"{issuer.name}:{user}",
            user=user,
            team=team,
            organization=next(iter((*fences, *homes)), None),
            role=_role(_at(claims, where.role), issuer.roles) or default.role,
        )
        return self._subjects.bind(grant)


def _decoded(payload: str) -> dict[str, Any] | None:
    try:
        text = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
        return msgspec.json.decode(text, type=dict[str, Any])
    except (binascii.Error, ValueError, RecursionError):
        return None


def _at(claims: Mapping[str, Any], path: str | None) -> list[str]:
    """Return the words at `path`: a claim has one, or a list of them."""
    if path is None:
        return []
    found: object = claims.get(path)
    if found is None:
        # A name with dots in it may also be a claim's whole name, such as a URL.
        found = claims
        for name in path.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
    words = found if isinstance(found, list) else [found]
    return [word for word in words if isinstance(word, str) and _is_name(word)]


def _is_name(word: str) -> bool:
    """Say whether all who read `word` read the same name."""
    # A database takes no zero, and cuts what is longer: it would be somebody else's.
    return 0 < len(word) <= LONGEST_NAME and word.isprintable()


def _first(words: list[str]) -> str | None:
    return words[0] if words else None


def _mapped(words: list[str], names: Mapping[str, str]) -> str | None:
    if not names:
        return _first(words)
    return next((names[word] for word in words if word in names), None)


_BY_POWER: Final[tuple[Role, ...]] = ("owner", "admin", "viewer", "member")


def _role(words: list[str], roles: Mapping[str, Role]) -> Role | None:
    """Return the most that one of the words stands for."""
    found = {roles[word] for word in words if word in roles}
    return next((role for role in _BY_POWER if role in found), None)
