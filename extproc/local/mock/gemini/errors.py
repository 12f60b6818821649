"""Gemini's errors: `google.rpc.Status`, and how each one is worded.

Reference: https://ai.google.dev/gemini-api/docs/troubleshooting
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from extproc.local.mock import strictjson
from extproc.local.mock.directives import UnknownDirective
from extproc.local.mock.reply import Refusal
from extproc.local.mock.rules import Bool, Enum, Int, Num, Path, Str, Violation

STATUSES: Final[dict[int, tuple[str, str]]] = {
    400: ("INVALID_ARGUMENT", "Request contains an invalid argument."),
    401: (
        "UNAUTHENTICATED",
        "Request had invalid authentication credentials. Expected OAuth 2 access token.",
    ),
    403: ("PERMISSION_DENIED", "The caller does not have permission"),
    404: ("NOT_FOUND", "Requested entity was not found."),
    409: ("ABORTED", "The operation was aborted."),
    429: (
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    499: ("CANCELLED", "The operation was cancelled."),
    500: ("INTERNAL", "An internal error has occurred. Please retry."),
    501: ("UNIMPLEMENTED", "The operation is not implemented."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "The request timed out. Please try again."),
}
"""Status → canonical code and message of an error that is asked for."""

KINDS: Final[dict[type, str]] = {
    Str: "TYPE_STRING",
    Int: "TYPE_INT32",
    Num: "TYPE_FLOAT",
    Bool: "TYPE_BOOL",
}

_HUMP: Final = re.compile(r"(?<=[a-z0-9])([A-Z])")


class Status(Refusal):
    """A refusal with `details`, each with its `@type`."""

    def __init__(
        self, status: int, message: str, *details: tuple[str, dict[str, Any]]
    ) -> None:
        code, _ = STATUSES.get(status, STATUSES[500 if status >= 500 else 400])
        super().__init__(status, message, type=code)
        self.details = [
            {"@type": f"type.googleapis.com/google.rpc.{kind}", **fields}
            for kind, fields in details
        ]


def body_of(refusal: Refusal) -> bytes:
    """Write the error as Google does."""
    known = {code for code, _ in STATUSES.values()}
    fallback = STATUSES.get(
        refusal.status, STATUSES[500 if refusal.status >= 500 else 400]
    )[0]
    error: dict[str, Any] = {
        "code": refusal.status,
        "message": refusal.message,
        "status": refusal.type if refusal.type in known else fallback,
    }
    if isinstance(refusal, Status) and refusal.details:
        error["details"] = refusal.details
    return msgspec.json.encode({"error": error})


def for_status(
    status: int, message: str | None = None, retry_after: float | None = None
) -> Status:
    """Return the error that Google would send with this status."""
    _, usual = STATUSES.get(status, STATUSES[500 if status >= 500 else 400])
    if retry_after is None:
        return Status(status, message or usual)
    return Status(
        status, message or usual, ("RetryInfo", {"retryDelay": f"{retry_after:g}s"})
    )


def bad(message: str) -> Status:
    """Return the error for an argument that cannot be."""
    return Status(400, message)


def spelled(path: Path) -> str:
    """Spell a path as Google does: `contents[0].parts[1].function_call`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + _HUMP.sub(r"_\1", step).lower()
    return text


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Turn what is wrong with a body into what Google answers.

    Raises:
        Refusal: it is no JSON, breaks a rule, or asks the mock for what it has not.
    """
    try:
        yield
    except strictjson.BadJson as exc:
        raise bad(f"Invalid JSON payload received. {exc}") from exc
    except Violation as exc:
        raise from_violation(exc) from exc
    except UnknownDirective as exc:
        raise bad(str(exc)) from exc


def from_violation(violation: Violation) -> Status:
    """Spell a broken rule in Google's words."""
    where = spelled(violation.path)
    if violation.fault == "unknown":
        where = spelled(violation.path[:-1])
        at = f" at '{where}'" if where else ""
        message = (
            f'Invalid JSON payload received. Unknown name "{violation.path[-1]}"{at}:'
            " Cannot find field."
        )
    else:
        message = _complaint(violation, where)
    field = {"field": where} if where else {}
    return Status(
        400,
        message,
        ("BadRequest", {"fieldViolations": [{**field, "description": message}]}),
    )


def _complaint(violation: Violation, where: str) -> str:
    got = msgspec.json.encode(violation.value).decode()
    match violation.fault:
        case "type":
            kind = KINDS.get(type(violation.rule), "Map")
            text = f"Invalid value at '{where}' ({kind}), {got}"
        case "enum" if isinstance(violation.rule, Enum):
            text = f"Invalid value at '{where}' (TYPE_ENUM), {got}"
        case "missing":
            text = f"* {where}: required field is missing"
        case _:
            text = (
                f"* {where}: value {got[:100]} is out of bounds, expected"
                f" {violation.fault.replace('_', ' ')} {violation.expected}"
            )
    return text
