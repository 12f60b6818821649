"""JSON as the providers read it: no duplicate keys, no `NaN`, an object at the top."""

from __future__ import annotations

import json  # noqa: TID251 - msgspec cannot tell that a key came twice
from typing import Any, NoReturn


class BadJson(Exception):
    """The body is not the JSON that a provider reads; says why."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise BadJson(f"duplicate key {key!r}")
            seen.add(key)
    return found


def _constant(name: str) -> NoReturn:
    raise BadJson(f"{name} is not JSON")


DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant)


def read_object(body: bytes) -> dict[str, Any]:
    """Return the decoded body.

    Raises:
        BadJson: it is not UTF-8, not JSON, not an object, or has a key twice.
    """
    try:
        value = DECODER.decode(body.decode())
    except (ValueError, RecursionError) as exc:
        raise BadJson(str(exc)) from exc
    if not isinstance(value, dict):
        raise BadJson("the body is not an object")
    return value
