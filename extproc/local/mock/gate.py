"""What every provider's door refuses before it reads a body.

Headers that only a gateway writes, the credential of another provider, bodies that are
not plain JSON. The real APIs ignore the first two; the mock does not, because a gateway
that lets them through leaks its inside, or one provider's key to another.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from extproc.local.mock.reply import Refusal, Request

GATEWAY_PREFIXES: Final = ("x-envoy-", "x-gw-", "x-extproc-", "x-forwarded-")
CREDENTIAL_HEADERS: Final = frozenset(
    {"authorization", "x-api-key", "api-key", "x-goog-api-key", "proxy-authorization"}
)


OWNERS: Final = (
    "openai", "anthropic", "gemini", "bedrock", "azure", "vertex", "cohere", "mistral",
)  # fmt: skip


def check_headers(request: Request, *, credentials: frozenset[str]) -> None:
    """Refuse headers that must not arrive; `credentials` are those that may."""
    for name, _ in request.headers:
        if name.startswith(GATEWAY_PREFIXES):
            raise Refusal(
                400, f"mock_unexpected_header: {name}", code="mock_unexpected_header"
            )
        if name in CREDENTIAL_HEADERS and name not in credentials:
            raise Refusal(
                400,
                f"unexpected credential header: {name}",
                code="mock_unexpected_credential",
            )


def bearer(request: Request) -> str | None:
    """Return the token that stands in `authorization`; None: there is none."""
    scheme, _, token = (request.header("authorization") or "").partition(" ")
    return token if scheme.lower() == "bearer" else None


def check_body_headers(request: Request) -> None:
    """Refuse a body that is not plain JSON."""
    coding = request.header("content-encoding")
    if coding is not None and coding.lower() != "identity":
        raise Refusal(415, f"Unsupported content-encoding: {coding}")
    media_type = (request.header("content-type") or "").partition(";")[0].strip()
    if media_type.lower() != "application/json":
        raise Refusal(
            415 if media_type else 400,
            f"Unsupported content type: {media_type!r}. This API method only accepts"
            " 'application/json' requests, but you specified the header"
            f" 'Content-Type: {media_type}'. Please try again with a supported content"
            " type.",
            code="unsupported_content_type",
        )


def is_key(key: str | None, keys: Iterable[str], provider: str | None) -> bool:
    """Tell whether a credential is one of `keys`: an exact key, or `prefix*`.

    Raises:
        Refusal: it names another provider than this: `sk-mock-openai-…` at Anthropic.
    """
    if key is None:
        return False
    owner = next((name for name in OWNERS if key.startswith(f"sk-mock-{name}")), None)
    if None not in (owner, provider) and owner != provider:
        raise Refusal(
            400, f"this is a key of {owner}", code="mock_unexpected_credential"
        )
    return any(
        key.startswith(known[:-1]) if known.endswith("*") else key == known
        for known in keys
    )


def masked(key: str) -> str:
    """Show the ends of a key, as the providers do in their errors."""
    if len(key) <= 8:
        return "*" * len(key)
    return f"{key[:3]}{'*' * (len(key) - 7)}{key[-4:]}"
