"""Bedrock's errors: how each one is worded, and which status and exception it has.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html#API_runtime_Converse_Errors
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from extproc.local.mock.reply import Headers, Refusal
from extproc.local.mock.rules import Fault, Path, Violation

STATUS_ERRORS: Final[dict[int, tuple[str, str]]] = {
    400: ("ValidationException", "The request is invalid."),
    401: ("UnrecognizedClientException", "The security token is invalid."),
    403: (
        "AccessDeniedException",
        "User: arn:aws:iam::123456789012:user/mock is not authorized to do this.",
    ),
    404: ("ResourceNotFoundException", "Could not resolve the foundation model."),
    408: ("ModelTimeoutException", "Model processing time exceeded the timeout."),
    424: ("ModelErrorException", "The model failed to process the request."),
    429: (
        "ThrottlingException",
        "Too many requests, please wait before trying again.",
    ),
    500: ("InternalServerException", "The system encountered an unexpected error."),
    503: ("ServiceUnavailableException", "Bedrock is unable to process your request."),
}
"""Status → exception and message of an error that is asked for."""

STREAM_EXCEPTIONS: Final = frozenset(
    {
        "internalServerException",
        "modelStreamErrorException",
        "serviceUnavailableException",
        "throttlingException",
        "validationException",
    }
)
"""What may come in the middle of a stream."""

CONSTRAINTS: Final[Mapping[Fault, str]] = {
    "missing": "not be null",
    "enum": "satisfy enum value set:",
    "pattern": "satisfy regular expression pattern:",
    "below": "have value greater than or equal to",
    "above": "have value less than or equal to",
    "too_short": "have length greater than or equal to",
    "too_long": "have length less than or equal to",
}


def body_of(refusal: Refusal) -> bytes:
    """Write the error as Bedrock does."""
    return msgspec.json.encode({"message": refusal.message})


def headers_of(refusal: Refusal) -> Headers:
    """Return the header that names the exception."""
    kind = refusal.type
    if kind == "invalid_request_error":  # what the doors of all mocks say
        kind = "ValidationException"
    return (("x-amzn-errortype", f"{kind}:http://internal.amazon.com/"),)


def for_status(status: int, message: str | None = None) -> Refusal:
    """Return the error that Bedrock would send with this status."""
    kind, usual = STATUS_ERRORS.get(
        status, STATUS_ERRORS[500 if status >= 500 else 400]
    )
    return Refusal(status, message or usual, type=kind)


def invalid(message: str) -> Refusal:
    """Return a `ValidationException`."""
    return Refusal(400, message, type="ValidationException")


def dotted(path: Path) -> str:
    """Spell a path: `messages.0.content.1.text`."""
    return ".".join(str(step) for step in path)


def from_violation(violation: Violation) -> Refusal:
    """Spell a broken rule in Bedrock's words."""
    want = violation.expected
    where = dotted(violation.path)
    if violation.fault == "unknown":
        place = "/".join(str(step) for step in violation.path[:-1])
        return invalid(
            f"Malformed input request: #/{place}: extraneous key [{violation.path[-1]}]"
            " is not permitted, please reformat your input and try again."
        )
    if violation.fault == "type":
        names = want if isinstance(want, tuple) else ()
        return invalid(
            f"Malformed input request: {where}: expected {' or '.join(names)}."
        )
    if isinstance(want, tuple):
        want = f"[{', '.join(map(str, want))}]"
    return invalid(
        f"1 validation error detected: Value {violation.value!r} at '{where}' failed to"
        f" satisfy constraint: Member must {CONSTRAINTS[violation.fault]} {want or ''}"
    )
