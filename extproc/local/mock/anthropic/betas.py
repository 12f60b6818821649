"""Fields that Anthropic takes only with a beta flag, as its command line client sends them.

Without the flag they are as unknown as any other
(https://github.com/anthropics/claude-code/issues/21612); with it nothing more of them is
checked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

TOP: Final = {"context_management": "context-management-2025-06-27"}
"""At the top of the body, each with its flag."""
SCOPE: Final = "prompt-caching-scope-2026-01-05"
"""Of a ``cache_control``: who shares the cache."""


def plain(body: Mapping[str, Any], betas: Collection[str]) -> dict[str, Any]:
    """Return `body` without the fields that `betas` have switched on."""
    kept = {
        name: value
        for name, value in body.items()
        if name not in TOP or TOP[name] not in betas
    }
    if SCOPE in betas:
        return {name: _unscoped(value) for name, value in kept.items()}
    return kept


def _unscoped(node: object) -> object:
    match node:
        case {"cache_control": {"scope": _, **rest}, **others}:
            return {
                **{name: _unscoped(value) for name, value in others.items()},
                "cache_control": rest,
            }
        case dict():
            return {name: _unscoped(value) for name, value in node.items()}
        case list():
            return [_unscoped(item) for item in node]
        case _:
            return node
