"""What LiteLLM's routes share: finding entries, and showing them in its words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from fastapi.responses import Response

from extproc.admin import spending
from extproc.admin.entries import Section
from extproc.admin.errors import Invalid, Missing
from extproc.admin.http import Admin, allowed, json
from extproc.admin.litellm import words
from extproc.db.usage import Dimension, Filter

Entry = dict[str, Any]


class Shop:
    """What the routes share."""

    def __init__(self, admin: Admin, clock: Callable[[], float]) -> None:
        self.directory = admin.directory
        self.database = admin.database
        self.clock = clock
        self.reader = allowed(admin, "read")
        self.writer = allowed(admin, "change")
        self.key_writer = allowed(admin, "change_keys")

    def find_key(self, key: str) -> str:
        """Return the id of a key, named by itself, by its alias or by its hash.

        Raises:
            Missing: there is none.
        """
        id_ = self.directory.find_key(key)
        if id_ is None:
            id_ = self.directory.find_key(words.id_of_alias(key))
        if id_ is None:
            raise Missing("There is no such key.", param="key")
        return id_

    def spent(self, dimension: Dimension) -> dict[str | None, Decimal]:
        """Return what each of a kind has spent, ever."""
        groups = spending.spend(self.database, [dimension], Filter())
        return {group[dimension]: group["cost_usd"] for group in groups}

    def all(self, section: Section, **owner: str) -> list[Entry]:
        """Return all entries of a kind."""
        found: list[Entry] = []
        after: str | None = ""
        while after is not None:
            page = self.directory.page(section, after=after, limit=1000, owner=owner)
            found += page.data
            after = page.next
        return found


def answer(content: Entry, dropped: tuple[str, ...]) -> Response:
    """Answer with `content`, and say what of the request was left out."""
    response = json(content)
    if dropped:
        response.headers["x-extproc-dropped"] = ", ".join(dropped)
    return response


def show_key(entry: Entry, spent: Decimal | None) -> Entry:
    """Return a key as LiteLLM shows one."""
    secret = {"key": entry["key"]} if "key" in entry else {}
    return {
        **secret,
        "token_id": entry["id"],
        "key_alias": entry["id"],
        "key_name": f"{entry.get('prefix', 'sk-')}...",
        "expires": when(entry.get("expires")),
        "user_id": entry.get("user"),
        "team_id": entry.get("team"),
        "organization_id": entry.get("organization"),
        "spend": spent or Decimal(0),
        **words.write(entry),
    }


def when(at: object) -> str | None:
    """Return Unix seconds as LiteLLM writes a time."""
    if isinstance(at, int | float):
        return datetime.fromtimestamp(at, UTC).isoformat()
    return None


def text_of(asked: Entry, field: str) -> str:
    """Return a field that must be there.

    Raises:
        Invalid: it is no text.
    """
    value = asked.get(field)
    if not isinstance(value, str):
        raise Invalid(f"{field} must be a string.", param=field)
    return value


def texts_of(asked: Entry, field: str) -> list[str]:
    """Return a list that may be there.

    Raises:
        Invalid: it is no list of texts.
    """
    value = asked.get(field) or []
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise Invalid(f"{field} must be a list of strings.", param=field)
    return value
