"""What one request asks of a target, read off its bytes only as far as somebody asks."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Mapping

import msgspec

from extproc.framing.members import Members
from extproc.identity import NOBODY, Grant

BYTES_PER_TOKEN = 4
"""Of English JSON; other languages have fewer bytes to a token in no tokenizer in use.
An estimate that is too low costs a context fallback, one that is too high a target."""

USUAL_OUTPUT = 500
"""Tokens of an answer, where a request does not say how many it may have."""

_PREFIX = 1024
"""Bytes of a conversation that tell it from others: its system prompt and beginning."""

_ENCODED = re.compile(rb"[A-Za-z0-9+/=]{512,}")
"""Base64 of a picture or file, which is not counted by its length."""

_OUTPUT_FIELDS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_PROMPT_FIELDS = ("messages", "input", "prompt")

TAGS_HEADER = "x-extproc-tags"
REGION_HEADER = "x-extproc-region"
SESSION_HEADER = "x-extproc-session"
USER_HEADER = "x-extproc-user"


def _kinds(*names: bytes) -> re.Pattern[bytes]:
    return re.compile(rb'"type"\s*:\s*"(?:' + b"|".join(names) + rb')"')


_PARTS = {
    "vision": _kinds(rb"image_url", rb"input_image", rb"image"),
    "documents": _kinds(rb"file", rb"input_file", rb"document"),
    "audio": _kinds(rb"input_audio"),
}
"""Parts of a message, as OpenAI's and Anthropic's APIs spell their types. Inside a string
the quotes are escaped, so that no text is taken for one."""

_SCHEMA = re.compile(rb'"type"\s*:\s*"json_schema"')


_WHOLE = msgspec.json.Decoder(int)

_UNREAD = -1
"""Stands for an output limit that nobody has asked for yet; a request may say it too."""


SHORT = 1_000
"""Bytes of a member that may be kept when the rest of a body is not."""


class Demand(msgspec.Struct, eq=False, dict=True):
    """One request, as routing looks at it."""

    members: Members = {}
    headers: Mapping[str, str] = {}
    grant: Grant = NOBODY
    size: int = 0
    """Bytes of its body."""
    stream: bool = False
    chat: bool = True
    """Whether what a model can do in a conversation matters."""
    _output: int | None = _UNREAD

    def forget(self) -> None:
        """Let go of the request's body; what is short in it stays."""
        self.members = {
            name: raw.copy()
            for name, raw in self.members.items()
            if len(memoryview(raw)) <= SHORT
        }

    def needs(self, ability: str) -> bool:
        """Say whether only a model with this one of the `Abilities` can serve it."""
        return _NEEDS[ability](self)

    @property
    def input_tokens(self) -> int:
        """The prompt's tokens, estimated: rather too few than too many."""
        return self.size // BYTES_PER_TOKEN

    @functools.cached_property
    def least_input_tokens(self) -> int:
        """The same without what pictures and files are encoded in."""
        return (
            sum(
                len(_ENCODED.sub(b"", memoryview(raw))) for raw in self.members.values()
            )
            // BYTES_PER_TOKEN
        )

    @property
    def output_tokens(self) -> int | None:
        """The most tokens that the answer may have, where the request says."""
        # Asked of every request: a cached property takes a lock.
        if self._output == _UNREAD:
            self._output = self._read_output()
        return self._output

    def _read_output(self) -> int | None:
        members = self.members
        for field in _OUTPUT_FIELDS:
            if field in members:
                try:
                    return _WHOLE.decode(members[field])
                except msgspec.DecodeError:
                    continue
        return None

    def fits(self, tokens: int) -> bool:
        """Say whether the prompt may be of at most so many tokens."""
        return (
            self.size // BYTES_PER_TOKEN <= tokens or self.least_input_tokens <= tokens
        )

    @functools.cached_property
    def tags(self) -> frozenset[str]:
        """What the request says that its target must have."""
        given = self.headers.get(TAGS_HEADER, "")
        return frozenset(tag for part in given.split(",") if (tag := part.strip()))

    @property
    def region(self) -> str:
        """Where it must be served; empty: anywhere."""
        return self.headers.get(REGION_HEADER, "")

    @functools.cached_property
    def metadata(self) -> dict[str, str]:
        """The texts in the body's ``metadata``."""
        found = self._read("metadata")
        if not isinstance(found, dict):
            return {}
        return {k: v for k, v in found.items() if isinstance(v, str)}

    @functools.cached_property
    def user(self) -> str:
        """Who stands behind the request, as far as it says; else its key."""
        said = self.headers.get(USER_HEADER) or self._read("safety_identifier")
        said = said or self._read("user") or self.metadata.get("user_id")
        return said if isinstance(said, str) and said else self.grant.id

    @functools.cached_property
    def session(self) -> str:
        """What its conversation has in common with the requests before it."""
        said = self.headers.get(SESSION_HEADER) or self._read("prompt_cache_key")
        if isinstance(said, str) and said:
            return said
        digest = hashlib.blake2b(self.grant.id.encode(), digest_size=16)
        for field in ("system", "instructions", *_PROMPT_FIELDS):
            if (raw := self.members.get(field)) is not None:
                digest.update(memoryview(raw)[:_PREFIX])
        return digest.hexdigest()

    def _read(self, field: str) -> object:
        raw = self.members.get(field)
        try:
            return None if raw is None else msgspec.json.decode(raw)
        except msgspec.DecodeError:
            return None

    def _has(self, field: str) -> bool:
        raw = self.members.get(field)
        return raw is not None and bytes(memoryview(raw)[:2]) not in {b"[]", b"nu"}

    def _has_parts(self, ability: str) -> bool:
        search = _PARTS[ability].search
        return any(
            search(memoryview(self.members[field])) is not None
            for field in _PROMPT_FIELDS
            if field in self.members
        )

    def _has_schema(self) -> bool:
        return any(
            field in self.members and _SCHEMA.search(memoryview(self.members[field]))
            for field in ("response_format", "text", "output_config", "output_format")
        )


_NEEDS: dict[str, Callable[[Demand], bool]] = {
    "tools": lambda demand: demand._has("tools"),  # noqa: SLF001  its own table
    "json_schema": Demand._has_schema,  # noqa: SLF001
    "streaming": lambda demand: demand.stream,
    **{
        ability: functools.partial(Demand._has_parts, ability=ability)  # noqa: SLF001
        for ability in _PARTS
    },
}
