"""OpenAI's errors: how each one is worded, and which status, type and code it has.

Reference: https://platform.openai.com/docs/guides/error-codes
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import msgspec

from extproc.local.mock import strictjson
from extproc.local.mock.directives import UnknownDirective
from extproc.local.mock.reply import Refusal
from extproc.local.mock.rules import Int, ListOf, Path, Violation, json_type

ARTICLES: Final = {
    "string": "a string",
    "integer": "an integer",
    "number": "a decimal",
    "boolean": "a boolean",
    "object": "an object",
    "array": "an array",
    "null": "null",
}

STATUS_ERRORS: Final[dict[int, tuple[str, str | None, str]]] = {
    400: ("invalid_request_error", None, "The request is invalid."),
    401: (
        "invalid_request_error",
        "invalid_api_key",
        "Incorrect API key provided.",
    ),
    403: (
        "invalid_request_error",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    404: ("invalid_request_error", None, "The resource was not found."),
    408: ("server_error", None, "The request timed out."),
    413: ("invalid_request_error", None, "The request is too large."),
    429: (
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached for requests. Please slow down.",
    ),
    500: (
        "server_error",
        None,
        "The server had an error while processing your request. Sorry about that!",
    ),
    503: (
        "server_error",
        None,
        "The engine is currently overloaded, please try again later",
    ),
}
"""Status → type, code, message of an error that is asked for."""


def body_of(refusal: Refusal) -> bytes:
    """Write the error as OpenAI does."""
    return msgspec.json.encode(
        {
            "error": {
                "message": refusal.message,
                "type": refusal.type,
                "param": refusal.param,
                "code": refusal.code,
                **refusal.more,
            }
        }
    )


def for_status(status: int, message: str | None = None) -> Refusal:
    """Return the error that OpenAI would send with this status."""
    type_, code, usual = STATUS_ERRORS.get(
        status, STATUS_ERRORS[500 if status >= 500 else 400]
    )
    return Refusal(status, message or usual, type=type_, code=code)


def dotted(path: Path) -> str:
    """Spell a path: `messages[0].content`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def _listed(values: tuple[str, ...]) -> str:
    quoted = [f"'{value}'" for value in values]
    if len(quoted) < 3:
        return " and ".join(quoted)
    return f"{', '.join(quoted[:-1])}, and {quoted[-1]}"


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Turn what is wrong with a body into what OpenAI answers.

    Raises:
        Refusal: it is no JSON, breaks a rule, or asks the mock for what it has not.
    """
    try:
        yield
    except strictjson.BadJson as exc:
        raise Refusal(
            400,
            "We could not parse the JSON body of your request. (HINT: This likely means"
            f" you aren't using your HTTP library correctly.) {exc}",
        ) from exc
    except Violation as exc:
        raise from_violation(exc) from exc
    except UnknownDirective as exc:
        raise Refusal(400, str(exc), code="mock_unknown_directive") from exc


def from_violation(violation: Violation) -> Refusal:  # noqa: C901, PLR0911 - one arm a fault
    """Spell a broken rule in OpenAI's words."""
    where, want, got = dotted(violation.path), violation.expected, violation.value
    kind = "integer" if isinstance(violation.rule, Int) else "decimal"
    match violation.fault:
        case "unknown" if len(violation.path) == 1:
            return _bad(
                f"Unrecognized request argument supplied: {where}",
                where,
                "unknown_parameter",
            )
        case "unknown":
            return _bad(f"Unknown parameter: '{where}'.", where, "unknown_parameter")
        case "missing" if where == "model":
            return _bad("you must provide a model parameter", None, None)
        case "missing":
            return _bad(
                f"Missing required parameter: '{where}'.",
                where,
                "missing_required_parameter",
            )
        case "tag_missing":
            where = f"{where}.{got}"
            return _bad(
                f"Missing required parameter: '{where}'.",
                where,
                "missing_required_parameter",
            )
        case "type":
            assert isinstance(want, tuple)  # noqa: S101 - rules.py says so
            kinds = " or ".join(ARTICLES[name] for name in want if name != "null")
            one_of = "one of " if len(want) > 1 and " or " in kinds else ""
            have = ARTICLES[json_type(got)]
            instead = have if have == "null" else f"{have} instead"
            return _bad(
                f"Invalid type for '{where}': expected {one_of}{kinds}, but got {instead}.",
                where,
                "invalid_type",
            )
        case "enum" | "tag_unknown":
            assert isinstance(want, tuple)  # noqa: S101 - rules.py says so
            if violation.fault == "tag_unknown":
                where = f"{where}.{getattr(violation.rule, 'tag', 'type')}"
            return _bad(
                f"Invalid value: '{got}'. Supported values are: {_listed(want)}.",
                where,
                "invalid_value",
            )
        case "below":
            return _bad(
                f"Invalid '{where}': {kind} below minimum value. Expected a value >= {want}, but got {got} instead.",
                where,
                f"{kind}_below_min_value",
            )
        case "above":
            return _bad(
                f"Invalid '{where}': {kind} above maximum value. Expected a value <= {want}, but got {got} instead.",
                where,
                f"{kind}_above_max_value",
            )
        case "pattern":
            return _bad(
                f"Invalid '{where}': string does not match pattern. Expected a string that matches the pattern '{want}'.",
                where,
                "invalid_value",
            )
        case "too_short" | "too_long":
            return _length(violation, where)


def _length(violation: Violation, where: str) -> Refusal:
    got = violation.value
    size = len(got) if isinstance(got, (str, list, dict)) else 0
    array = isinstance(violation.rule, ListOf)
    thing = "array" if array else json_type(got)
    if violation.fault == "too_short":
        code = f"empty_{thing}" if size == 0 else f"{thing}_below_min_length"
        return _bad(
            f"Invalid '{where}': empty {thing}. Expected {ARTICLES[thing]} with minimum length {violation.expected}, but got an empty {thing} instead.",
            where,
            code,
        )
    return _bad(
        f"Invalid '{where}': {thing} too long. Expected {ARTICLES[thing]} with maximum length {violation.expected}, but got {ARTICLES[thing]} with length {size} instead.",
        where,
        f"{thing}_above_max_length",
    )


def _bad(message: str, param: str | None, code: str | None) -> Refusal:
    return Refusal(400, message, param=param, code=code)
