"""Field names as protocol buffers take them in JSON: lowerCamelCase, or as in the .proto.

The official SDK sends a mix of both. What callers put into maps keeps its spelling.
"""

from __future__ import annotations

import re
from typing import Any, Final

from extproc.local.mock.gemini.errors import bad
from extproc.local.mock.rules import FreeObj, ListOf, Obj, Rule

SNAKE: Final = re.compile(r"_([a-z0-9])")


def documented(rule: Rule, value: Any) -> Any:  # noqa: ANN401
    """Return `value` with the documented names of the fields that `rule` has.

    Raises:
        Status: a field was given in both spellings.
    """
    match rule:
        case ListOf(item) if isinstance(value, list):
            return [documented(item, one) for one in value]
        case FreeObj(Obj() as inner) if isinstance(value, dict):
            return {key: documented(inner, one) for key, one in value.items()}
        case Obj(fields) if isinstance(value, dict):
            made = {}
            for key, one in value.items():
                name = SNAKE.sub(lambda found: found[1].upper(), key)
                member = fields.get(f"{name}!") or fields.get(name)
                name = key if member is None else name
                if name in made:
                    raise bad(
                        "Invalid JSON payload received. Field specified twice:"
                        f" {name!r}"
                    )
                made[name] = one if member is None else documented(member, one)
            return made
        case _:
            return value
