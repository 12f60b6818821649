"""The mock's tokens: a word or a mark, with the white space before it.

Deterministic and cheap; the real tokenizers count differently, as they do among
themselves. What matters is that usage, limits and streamed pieces agree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

TOKEN: Final = re.compile(r"\s*(?:\w+|[^\w\s])|\s+")
COUNTED_EXACTLY: Final = 200_000
"""Characters: a longer text is estimated, so that a 32 MiB prompt costs nothing."""
IMAGE_TOKENS: Final = 85
"""What an image costs, whatever its size (OpenAI's price of a low-detail image)."""

_INLINE: Final = ({"bytes"}, {"mimeType", "data"})
"""The fields of a file's own bytes: at Bedrock, at Gemini."""


def tokens_of(text: str) -> list[str]:
    """Cut a text into tokens; joined, they are the text."""
    return TOKEN.findall(text)


def count(text: str) -> int:
    """Return how many tokens a text has (an estimate for very long ones)."""
    if len(text) > COUNTED_EXACTLY:
        return len(text) // 5
    return len(TOKEN.findall(text))


def count_tree(value: object) -> int:
    """Return the tokens of every string, key and number in a decoded JSON value."""
    match value:
        case str():
            return IMAGE_TOKENS if value.startswith("data:") else count(value)
        case list():
            return sum(map(count_tree, value))
        case dict():
            return _count_object(value)
        case None:
            return 0
        case _:
            return 1


def _count_object(value: Mapping[str, Any]) -> int:
    if value.get("type") == "base64" or value.keys() in _INLINE:
        return IMAGE_TOKENS
    return sum(count(key) + count_tree(member) for key, member in value.items())
