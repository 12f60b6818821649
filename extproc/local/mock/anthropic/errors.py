"""Anthropic's errors: how each one is worded, and which status and type it has.

Reference: https://docs.anthropic.com/en/api/errors
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import msgspec

from extproc.local.mock import strictjson
from extproc.local.mock.directives import UnknownDirective
from extproc.local.mock.reply import Refusal
from extproc.local.mock.rules import (
    Bool,
    Enum,
    Int,
    ListOf,
    Num,
    OneOf,
    Path,
    Str,
    Violation,
)

STATUS_ERRORS: Final[dict[int, tuple[str, str]]] = {
    400: ("invalid_request_error", "The request is invalid."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low to access the API."),
    403: (
        "permission_error",
        "Your API key does not have permission to use the specified resource.",
    ),
    404: ("not_found_error", "Not found"),
    413: ("invalid_request_error", "Request exceeds the maximum size"),
    429: (
        "rate_limit_error",
        "This request would exceed your organization's rate limit.",
    ),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "The request timed out."),
    529: ("overloaded_error", "Overloaded"),
}
"""Status → type and message of an error that is asked for."""

EXPECTED: Final[dict[type, str]] = {
    Str: "Input should be a valid string",
    Enum: "Input should be a valid string",
    Int: "Input should be a valid integer",
    Num: "Input should be a valid number",
    Bool: "Input should be a valid boolean",
    ListOf: "Input should be a valid list",
}


def body_of(refusal: Refusal, request_id: str) -> bytes:
    """Write the error as Anthropic does."""
    return msgspec.json.encode(
        {
            "type": "error",
            "error": {"type": refusal.type, "message": refusal.message},
            "request_id": request_id,
        }
    )


def for_status(status: int, message: str | None = None) -> Refusal:
    """Return the error that Anthropic would send with this status."""
    type_, usual = STATUS_ERRORS.get(
        status, STATUS_ERRORS[500 if status >= 500 else 400]
    )
    return Refusal(status, message or usual, type=type_)


def dotted(path: Path) -> str:
    """Spell a path: `messages.0.content.1.text.text`."""
    return ".".join(str(step).strip("<>") for step in path)


def _quoted(values: tuple[str, ...], last: str) -> str:
    names = [f"'{value}'" for value in values]
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])}{last}{names[-1]}"


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Turn what is wrong with a body into what Anthropic answers.

    Raises:
        Refusal: it is no JSON, breaks a rule, or asks the mock for what it has not.
    """
    try:
        yield
    except strictjson.BadJson as exc:
        raise Refusal(400, f"The request body is not valid JSON: {exc}") from exc
    except Violation as exc:
        raise from_violation(exc) from exc
    except UnknownDirective as exc:
        raise Refusal(400, str(exc)) from exc


def from_violation(violation: Violation) -> Refusal:
    """Spell a broken rule in Anthropic's words."""
    return Refusal(400, f"{dotted(violation.path)}: {_complaint(violation)}")


def _complaint(violation: Violation) -> str:
    want, got = violation.expected, violation.value
    values = want if isinstance(want, tuple) else ()
    match violation.fault:
        case "unknown":
            text = "Extra inputs are not permitted"
        case "missing":
            text = "Field required"
        case "type":
            rule = violation.rule
            first = rule.choices[0] if isinstance(rule, OneOf) else rule
            text = EXPECTED.get(type(first), "Input should be a valid dictionary")
        case "enum":
            text = f"Input should be {_quoted(values, ' or ')}"
        case "tag_missing":
            text = f"Unable to extract tag using discriminator '{got}'"
        case "tag_unknown":
            text = (
                f"Input tag '{got}' found using 'type' does not match any of the"
                f" expected tags: {_quoted(values, ', ')}"
            )
        case "below":
            text = f"Input should be greater than or equal to {want}"
        case "above":
            text = f"Input should be less than or equal to {want}"
        case "pattern":
            text = f"String should match pattern '{want}'"
        case _:
            text = _length_complaint(violation)
    return text


def _length_complaint(violation: Violation) -> str:
    got, want = violation.value, violation.expected
    side = "at least" if violation.fault == "too_short" else "at most"
    if isinstance(got, str):
        return f"String should have {side} {want} characters"
    size = len(got) if isinstance(got, (list, dict)) else 0
    return f"List should have {side} {want} items after validation, not {size}"
