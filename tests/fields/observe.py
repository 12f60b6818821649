"""What becomes of a member: a request with it and one without, through the real gateway."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from typing import Any

from tests import casebook
from tests.fields.rows import DATA, Row, lookup, pattern


@dataclasses.dataclass(frozen=True)
class Seen:
    """What became of one value at one provider."""

    value: Any
    kind: str
    """``kept``, ``left out``, ``refused``, or ``nothing``: none of the three."""
    where: tuple[str, ...] = ()
    """Kept: the places of the provider's request that differ. Left out: what the report
    names. Refused: what the error names. Nothing: why that is no loss."""
    body: bytes = b""
    """What the provider is sent."""
    message: str = ""
    left_out: tuple[str, ...] = ()
    """What is reported besides, where something is kept."""


def observe(row: Row, provider: str) -> list[Seen]:
    """Return what becomes of each of a row's values."""
    model = lookup(DATA["models"].get(provider, {}), f"{row.client}:{row.path}")
    model = model or casebook._models()[provider]
    without = _ask(row.client, provider, row.without, model)
    asked = [_ask(row.client, provider, request, model) for request in row.requests]
    seen = []
    for i, value in enumerate(row.values):
        before = without
        if before.refusal is not None and len(asked) > 1:
            # It has to be there: another value is what it is compared with.
            before = asked[i - 1]
        seen.append(_compare(row, before, asked[i], value))
    return seen


_asked: dict[tuple[str, str, str, str], casebook.Asked] = {}


def _ask(client: str, provider: str, said: Any, model: str) -> casebook.Asked:
    key = (client, provider, json.dumps(said), model)
    if key not in _asked:
        _asked[key] = casebook.ask(client, provider, key[2].encode(), model)
    return _asked[key]


def _compare(
    row: Row, before: casebook.Asked, after: casebook.Asked, value: Any
) -> Seen:
    if after.refusal is not None:
        error = json.loads(after.refusal.body)["error"]
        names = error.get("param") or error["message"].partition(":")[0]
        kind = "refused" if after.refusal.status == 400 else "failed"
        return Seen(value, kind, (names,), message=error["message"])
    assert after.attempt is not None
    body = after.attempt.body
    old = json.loads(before.attempt.body) if before.attempt else {}
    places = tuple(dict.fromkeys(_changes(old, json.loads(body), "")))
    told = tuple(one for one in after.dropped if one not in before.dropped)
    if places:
        return Seen(value, "kept", places, body, left_out=told)
    # What it stands in may be left out whole.
    told = told or tuple(one for one in after.dropped if _is_about(one, row.path))
    if told:
        return Seen(value, "left out", told, body)
    return Seen(value, "nothing", why_silent(row, value), body)


def why_silent(row: Row, value: Any) -> tuple[str, ...]:
    """Return why it is no loss that nothing becomes of a value; empty: it is one."""
    for note in DATA["silent"]:
        if pattern(note["path"]).fullmatch(f"{row.client}:{row.path}") and (
            "values" not in note or value in note["values"]
        ):
            return (note["why"],)
    return ()


def _is_about(named: str, path: str) -> bool:
    """Whether a report names a member, or what it stands in."""
    named = re.sub(r"\[\d+\]", "[]", named)
    path = re.sub(r"<\w*>", "", path)
    return path == named or path.startswith((f"{named}.", f"{named}["))


def _changes(old: Any, new: Any, path: str) -> Iterator[str]:
    """Yield the places that differ, without the numbers of elements."""
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in {**new, **old}:
            inner = f"{path}.{key}" if path else key
            if key not in old:
                yield _deepest(new[key], inner)
            elif key not in new:
                yield inner
            else:
                yield from _changes(old[key], new[key], inner)
    elif isinstance(old, list) and isinstance(new, list):
        longer, shorter = (new, old) if len(new) >= len(old) else (old, new)
        # What is added in the middle moves what follows.
        start = 0
        while start < len(shorter) and longer[start] == shorter[start]:
            start += 1
        rest = len(shorter) - start
        if len(longer) > len(shorter) and (
            not rest or longer[-rest:] == shorter[start:]
        ):
            for one in longer[start : len(longer) - rest]:
                yield from _added(one, f"{path}[]")
            return
        for i, one in enumerate(longer):
            if i >= len(shorter):
                yield from _added(one, f"{path}[]")
            else:
                other = shorter[i]
                pair = (other, one) if longer is new else (one, other)
                yield from _changes(*pair, f"{path}[]")
    else:
        yield path


def _deepest(value: Any, path: str) -> str:
    """Return where something is that has only wrappers around it."""
    while isinstance(value, dict) and len(value) == 1:
        ((key, value),) = value.items()
        path = f"{path}.{key}"
    return path


def _added(one: Any, path: str) -> Iterator[str]:
    """Yield what an element that is new is: what it says, not that it is there."""
    if not isinstance(one, dict):
        yield path
        return
    kind = one.get("type") or one.get("role")
    if isinstance(kind, str) and re.fullmatch("[a-z_]+", kind):
        yield f"{path}<{kind}>"
    else:
        yield from (f"{path}.{name}" for name in one)
