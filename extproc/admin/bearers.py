"""Tokens of an identity provider, verified by control itself: no Envoy stands before it.

RFC 7519 (JWT) and RFC 7517 (JWK). The issuers are those of ``jwt`` in ``gateway.yaml``, and
what a token amounts to is what it amounts to on the data path (`extproc.tokens`).
Everything here blocks.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import certifi
import httpx
import jwt
import msgspec

from extproc import bounded
from extproc.config.issuers import IssuerConfig

ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
     "EdDSA"}
)  # fmt: skip
"""None with a shared secret: a public key could be taken for one."""
SKEW_SECONDS: Final = 60.0
"""How far the issuer's clock may be off, as with Envoy."""
FETCH_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 5.0
"""Between two fetches while the issuer does not answer, or a token names a key that it did
not have: who sends such tokens makes us ask no more often."""
MOST_TIME: Final = 1e11
"""Unix seconds: beyond it, a token would never end."""
MAX_KEYS_BYTES: Final = 1 << 20

Fetch = Callable[[IssuerConfig], bytes]
Jwk = dict[str, Any]


def fetch(issuer: IssuerConfig) -> bytes:
    """Return the issuer's keys (JSON), from its server or its file.

    Raises:
        OSError: the file cannot be read.
        httpx.HTTPError: the server does not have them, or too much of them.
    """
    if issuer.jwks_uri is None:
        assert issuer.jwks_file is not None  # noqa: S101  `IssuerConfig` has one of them
        return issuer.jwks_file.read_bytes()
    ends = time.monotonic() + FETCH_SECONDS
    trusted = ssl.create_default_context(
        cafile=str(issuer.ca_file or Path(certifi.where()))
    )
    with (
        httpx.Client(verify=trusted, timeout=FETCH_SECONDS, trust_env=False) as http,
        http.stream("GET", issuer.jwks_uri, headers=bounded.PLAIN) as answer,
    ):
        answer.raise_for_status()
        # Everybody with a token waits for this.
        return bounded.read(answer, most=MAX_KEYS_BYTES, ends=ends)


class Bearers:
    """Verifies tokens, with keys that are never older than their issuer allows.

    Args:
        issuers: returns those of the configuration that is served, by name.
        clock: Unix seconds.
        fetch: returns an issuer's keys, or raises.
    """

    def __init__(
        self,
        issuers: Callable[[], Mapping[str, IssuerConfig]],
        *,
        clock: Callable[[], float],
        fetch: Fetch = fetch,
    ) -> None:
        self._issuers = issuers
        self._clock = clock
        self._fetch = fetch
        self._known: dict[tuple[object, ...], _Keys] = {}
        self._lock = threading.Lock()

    def payload(self, token: str) -> str | None:
        """Return the payload of a good token as it stands there; None: it is not good."""
        try:
            header = jwt.get_unverified_header(token)
            said = jwt.decode(token, options={"verify_signature": False})
        except jwt.InvalidTokenError:
            return None
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            return None
        for issuer in self._issuers().values():
            if issuer.issuer != said.get("iss"):
                continue
            for jwk in self._keys(issuer, kid):
                if self._verifies(token, jwk, algorithm, issuer):
                    return token.split(".")[1]
        return None

    def _verifies(
        self, token: str, jwk: Jwk, algorithm: str, issuer: IssuerConfig
    ) -> bool:
        if jwk.get("use", "sig") != "sig" or jwk.get("alg", algorithm) != algorithm:
            return False
        try:
            claims = jwt.decode(
                token,
                jwt.PyJWK(jwk, algorithm),
                algorithms=[algorithm],
                audience=list(issuer.audiences),
                issuer=issuer.issuer,
                options={
                    "require": ["exp", "iss", "aud"],
                    # By the clock that we are given, below.
                    "verify_exp": False, "verify_nbf": False, "verify_iat": False,
                },
            )  # fmt: skip
            now, end, start = self._clock(), claims["exp"], claims.get("nbf", 0)
            return (
                _is_time(end)
                and _is_time(start)
                and end + SKEW_SECONDS > now
                and start - SKEW_SECONDS <= now
            )
        except (jwt.PyJWTError, TypeError, ValueError):
            return False

    def _keys(self, issuer: IssuerConfig, kid: object) -> list[Jwk]:
        """Return the keys that may have signed, fetched again when they are old."""
        place = (issuer.issuer, issuer.jwks_uri, issuer.jwks_file)
        with self._lock:
            now = self._clock()
            known = self._known.get(place, _NONE)
            due = known.fetched + issuer.refresh <= now
            # The last one came: RETRY_SECONDS are for an issuer that does not answer.
            well = due and known.asked == known.fetched
            wanted = due or not known.named(kid)
            if well or (wanted and known.asked + RETRY_SECONDS <= now):
                try:
                    keys = _read(self._fetch(issuer))
                except (OSError, ValueError, httpx.HTTPError, msgspec.MsgspecError):
                    known = msgspec.structs.replace(known, asked=now)
                else:
                    known = _Keys(keys, fetched=now, asked=now)
                self._known[place] = known
            if known.fetched + issuer.refresh <= now:
                return []  # a key that was taken back must not live on
            return known.named(kid)


def _is_time(value: object) -> bool:
    """Say whether a claim is a time that comes, as Envoy would take it."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and -MOST_TIME < value < MOST_TIME  # type: ignore[operator]


class _Keys(msgspec.Struct, frozen=True):
    keys: tuple[Jwk, ...] = ()
    fetched: float = float("-inf")
    asked: float = float("-inf")

    def named(self, kid: object) -> list[Jwk]:
        """Return those of this ``kid``; all, where the token names none."""
        return [key for key in self.keys if kid is None or key.get("kid", kid) == kid]


_NONE: Final = _Keys()


class _Set(msgspec.Struct):
    keys: tuple[Jwk, ...]


def _read(content: bytes) -> tuple[Jwk, ...]:
    return msgspec.json.decode(content, type=_Set).keys
