"""What a client heard, in no API's words: each client dialect reads it out of an answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Finish = Literal["stop", "length", "tools", "refused", ""]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; `arguments` are JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens, as the client's API counts them; `cached` were read from a cache."""

    input: int
    output: int
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Cited:
    """A citation: what it names, and the words of the answer that rest on it."""

    source: str
    """A URL, or ``document 0``, the first of the request's."""
    words: str


@dataclass(slots=True, kw_only=True)
class Heard:
    """One answer."""

    text: str = ""
    thinking: str = ""
    calls: tuple[Call, ...] = ()
    cited: tuple[Cited, ...] = ()
    finish: Finish = ""
    counts: Counts | None = None
    choices: int = 1
    logprobs: int = 0
    """How many tokens came with their probability."""
    echo: list[Any] = field(default_factory=list)
    """The answer as the client gives it back in its next request, whole."""
    error: str = ""
    """The error's message, where the answer is one or ends in one."""
    ended: bool = True
    """The last event of a stream came: of success, or of an error."""

    status: int = 0
    retry_after: str = ""
    sent: Any = None
    """What the gateway sent to the provider, decoded."""
    proofs: tuple[str, ...] = ()
    """Signatures and encrypted reasoning in the provider's answer."""
    dropped: tuple[str, ...] = ()
    """What the gateway reports to have left out."""


def leaves(tree: object) -> Iterator[object]:
    """Yield every key and every value of a decoded JSON text that has no members."""
    match tree:
        case dict():
            for key, value in tree.items():
                yield key
                yield from leaves(value)
        case list():
            for value in tree:
                yield from leaves(value)
        case _:
            yield tree
