"""A request on its way to a server that reads this format in its own manner."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import msgspec

from extproc.formats.base import Adapted, Members, Unsupported

Object = dict[str, msgspec.Raw]
"""A JSON object whose values are left as they came."""

_OBJECTS = msgspec.json.Decoder(list[Object])
_NULL = b"null"


class Draft:
    """The top-level members, what has been changed of them, and what was left out.

    A value that nobody changes keeps its bytes. A member of the wrong type is left for
    the server to refuse: it does so in its own words.
    """

    def __init__(self, members: Members, provider: str) -> None:
        self.provider = provider
        """What an error calls the server."""
        self._members = members
        self._changes: dict[str, bytes | None] = {}
        self._dropped: list[str] = []
        self._lists: dict[str, list[Object]] = {}
        self._touched: set[str] = set()

    def get(self, name: str) -> bytes | None:
        """Return the JSON of a member, or None where it is absent or null."""
        value = self._changes.get(name, self._members.get(name))
        if value is None:
            return None
        raw = bytes(value)
        return None if raw == _NULL else raw

    def mentions(self, name: str, *words: str) -> bool:
        """Say whether any of `words` stands in a member as a key, or as a whole text."""
        value = self.get(name) or b""
        for quoted in _quoted(words):  # noqa: SIM110  a search, and no generator around it
            if quoted in value:
                return True
        return False

    def put(self, name: str, value: bytes) -> None:
        """Set a member."""
        self._changes[name] = value

    def remove(self, name: str) -> None:
        """Leave a member out of which nothing is lost."""
        self._changes[name] = None

    def drop(self, name: str) -> None:
        """Leave a member out, and say so."""
        self.remove(name)
        self._dropped.append(name)

    def report(self, path: str) -> None:
        """Say that something deeper was left out."""
        self._dropped.append(path)

    def refuse(self, path: str, why: str) -> Unsupported:
        """Return the error for what cannot be kept: ``<provider> <why>``."""
        return Unsupported(f"{self.provider} {why}", param=path)

    def objects(self, name: str) -> list[Object]:
        """Return the objects of the list `name`; see `touch`."""
        if name not in self._lists:
            try:
                self._lists[name] = _OBJECTS.decode(self.get(name) or b"[]")
            except msgspec.MsgspecError:
                self._lists[name] = []
        return self._lists[name]

    def touch(self, name: str) -> None:
        """Note that one of `objects` has been changed in place."""
        self._touched.add(name)

    def messages(self, *roles: str) -> Iterator[tuple[str, Object]]:
        """Yield the messages of these roles, or all, each with its path."""
        for i, message in enumerate(self.objects("messages")):
            if not roles or read_text(message.get("role")) in roles:
                yield f"messages[{i}]", message

    def adapted(self) -> Adapted:
        """Return all that has to change."""
        for name in self._touched:
            if self._changes.get(name, b"") is not None:
                self._changes[name] = msgspec.json.encode(self._lists[name])
        return Adapted(self._changes, tuple(dict.fromkeys(self._dropped)))


@functools.lru_cache(maxsize=100)
def _quoted(words: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(b'"%b"' % word.encode() for word in words)


_TEXT = msgspec.json.Decoder(str)


def read_text(value: msgspec.Raw | bytes | None) -> str | None:
    """Return the string that `value` is, or None when it is something else."""
    if value is None:
        return None
    try:
        return _TEXT.decode(value)
    except msgspec.MsgspecError:
        return None


def read_objects(value: msgspec.Raw | bytes | None) -> list[Object] | None:
    """Return the objects of the list that `value` is, or None when it is none."""
    if value is None:
        return None
    try:
        return _OBJECTS.decode(value)
    except msgspec.MsgspecError:
        return None


def raw(value: object) -> msgspec.Raw:
    """Return the JSON of `value`, to stand among values that were never decoded."""
    return msgspec.Raw(msgspec.json.encode(value))
