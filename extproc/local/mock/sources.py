"""What the mock's model finds on the web, and which of its words rest on that.

It searches when it may and the text says so, as it calls the tools that the text names.
"""

from __future__ import annotations

from typing import Final

PAGE: Final = "https://example.com/a-mock"
TITLE: Final = "A mock, explained"
EXCERPT: Final = "A mock has no opinion."
_ASKS: Final = "search the web"


def searches(text: str) -> bool:
    """Return whether the text asks for a search."""
    return _ASKS in text.lower()


def rests(said: str) -> tuple[int, int]:
    """Return the span of the words that rest on the page, in characters: the last line."""
    return said.rfind("\n") + 1, len(said)
