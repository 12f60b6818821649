"""Who is asking, and whether the key may do this."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Mapping

from extproc.errors import Forbidden, Unauthenticated
from extproc.identity import Grant, matches
from extproc.runtime import Runtime
from extproc.tokens import HEADER


def authenticate(runtime: Runtime, headers: Mapping[str, str], *, at: float) -> Grant:
    """Return the grant of the key in ``authorization`` or ``x-api-key``, or of a JWT.

    Args:
        runtime: who there is.
        headers: of the request, as Envoy passes them on.
        at: Unix seconds.

    Raises:
        Unauthenticated: there is none, nobody has it, or it is not good now.
        Forbidden: the key may not be used for this, or from there.
    """
    grant = _identify(runtime, headers)
    if grant.blocked:
        raise Unauthenticated("This API key is blocked.", code="key_blocked")
    if grant.not_before is not None and at < grant.not_before:
        raise Unauthenticated(
            "This API key is not valid yet.", code="key_not_yet_valid"
        )
    if grant.expires is not None and at >= grant.expires:
        raise Unauthenticated("This API key has expired.", code="key_expired")
    if grant.endpoints != ("*",):
        path = headers.get(":path", "").partition("?")[0]
        if not matches(grant.endpoints, path):
            raise Forbidden(
                f"This API key may not use {path[:200]}.", code="endpoint_not_allowed"
            )
    if grant.addresses:
        address = client_address(headers, hops=runtime.trusted_hops)
        if not within(address, grant.addresses):
            raise Forbidden(
                "This API key may not be used from this address.",
                code="address_not_allowed",
            )
    return grant


def client_address(headers: Mapping[str, str], *, hops: int) -> str:
    """Return who Envoy says has connected; empty when it does not say.

    Envoy appends its peer to ``x-forwarded-for``; of what stands before that only as many
    entries are believed as there are proxies of ours in front (``xff_num_trusted_hops``).
    """
    entries = headers.get("x-forwarded-for", "").split(",")
    return entries[-1 - hops].strip() if len(entries) > hops else ""


def within(address: str, networks: tuple[str, ...]) -> bool:
    """Say whether `address` is in one of `networks`; what is no address is in none."""
    try:
        there = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(there, ipaddress.IPv6Address) and there.ipv4_mapped is not None:
        there = there.ipv4_mapped
    return any(there in _network(network) for network in networks)


@functools.lru_cache(maxsize=10_000)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text)


def _identify(runtime: Runtime, headers: Mapping[str, str]) -> Grant:
    if HEADER in headers and runtime.tokens:
        found = runtime.tokens.grant(headers[HEADER])
        if found is None:
            raise Unauthenticated("This token does not say whose it is.")
        return found
    key = credential(headers)
    if not key:
        raise Unauthenticated(
            "You did not provide an API key. Send it as `Authorization: Bearer KEY` "
            "or `x-api-key: KEY`."
        )
    grant = runtime.grant(key)
    if grant is None and runtime.tokens and key.count(".") == 2:
        raise Unauthenticated(
            "This token is expired, not for this gateway, or not signed by an issuer "
            "that it knows."
        )
    if grant is None:
        raise Unauthenticated(f"Incorrect API key provided: {masked(key)}.")
    return grant


def credential(headers: Mapping[str, str]) -> str:
    """Return what ``authorization`` or ``x-api-key`` has, empty where neither does."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    if bearer and scheme.lower() == "bearer":
        return bearer.strip()
    return headers.get("x-api-key", "").strip()


def masked(key: str) -> str:
    """Show enough of a key to recognize it, and not enough to use it."""
    return f"{key[:3]}…{key[-4:]}" if len(key) >= 16 else "…"
