"""Who is asking, and whether the key may do this."""

from __future__ import annotations

from collections.abc import Mapping

from extproc.errors import Unauthenticated
from extproc.runtime import Grant, Runtime


def authenticate(runtime: Runtime, headers: Mapping[str, str]) -> Grant:
    """Return the grant of the key in ``authorization`` or ``x-api-key``.

    Raises:
        Unauthenticated: there is none, or nobody has it.
    """
    scheme, _, credential = headers.get("authorization", "").partition(" ")
    if credential and scheme.lower() == "bearer":
        key = credential.strip()
    else:
        key = headers.get("x-api-key", "").strip()
    if not key:
        raise Unauthenticated(
            "You did not provide an API key. Send it as `Authorization: Bearer KEY` "
            "or `x-api-key: KEY`."
        )
    grant = runtime.grant(key)
    if grant is None:
        raise Unauthenticated(f"Incorrect API key provided: {masked(key)}.")
    return grant


def masked(key: str) -> str:
    """Show enough of a key to recognize it, and not enough to use it."""
    return f"{key[:3]}…{key[-4:]}" if len(key) >= 16 else "…"
