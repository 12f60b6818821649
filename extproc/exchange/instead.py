"""What is told in the place of an answer whose headers the client has not seen yet."""

from __future__ import annotations

from extproc.errors import GatewayError
from extproc.exchange.commands import (
    AnswerBody,
    AnswerHeaders,
    Command,
    Headers,
    Respond,
)

LENGTH_AND_CODING = ("content-length", "content-encoding")
"""What no longer holds once the body is another."""


def tell(
    error: GatewayError, body: bytes, headers: Headers, *, bodiless: bool
) -> list[Command]:
    """Return what tells `error`, as `body`, where the answer's headers wait for it.

    `bodiless`: of an answer that has no body, or has not even begun.
    """
    if bodiless:
        # Envoy drops a body that is added to an answer without one, and takes a header
        # reply only for headers that it has sent.
        details = f"gw_{error.code or error.type}"
        return [Respond(error.status, body, headers, details)]
    return [
        AnswerHeaders(error.status, headers, LENGTH_AND_CODING),
        AnswerBody(body, end=True),
    ]
