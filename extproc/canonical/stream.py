"""The streamed answer.

A stream is: `Started`, then for each part `PartStarted`, its deltas, `PartEnded`, then
`Finished` (once a choice), `Reported`, `Ended`. Parts may interleave only where ``index``
differs. `KeepAlive` may stand anywhere, `Failed` ends everything.
"""

from __future__ import annotations

from typing import Literal, final

import msgspec

from extproc.canonical.answered import Finish
from extproc.canonical.content import Citation, Search
from extproc.errors import GatewayError
from extproc.usage import Usage

PartKind = Literal["text", "reasoning", "tool_call", "refusal"]


class Started(msgspec.Struct, frozen=True, gc=False):
    """The answer begins."""

    id: str
    model: str
    usage: Usage | None = None
    """What is known of the prompt already."""
    created: int | None = None
    service_tier: str | None = None
    """See `Reported.service_tier`."""


class PartStarted(msgspec.Struct, frozen=True, gc=False):
    """A part opens; `id` and `name` belong to tool calls."""

    index: int
    """Counts the parts of one choice, in order of appearance."""
    kind: PartKind
    id: str = ""
    name: str = ""
    encrypted: str | None = None
    """A reasoning part that is whole at once and that only the provider can read."""
    custom: bool = False
    choice: int = 0


@final
class Delta(msgspec.Struct, frozen=True, gc=False):
    """More of a part's text: words, thoughts, or the JSON text of arguments."""

    index: int
    text: str
    choice: int = 0
    logprobs: msgspec.Raw | None = None
    """An array of tokens as in OpenAI's ``logprobs.content``; the text may be empty then,
    since a token can be a part of a character."""


class SignatureDelta(msgspec.Struct, frozen=True, gc=False):
    """The proof of a reasoning part or tool call; it comes once, whole."""

    index: int
    signature: str
    choice: int = 0


class Cited(msgspec.Struct, frozen=True, gc=False):
    """A source of an open part's text."""

    index: int
    citation: Citation
    choice: int = 0


class Searched(msgspec.Struct, frozen=True, gc=False):
    """The provider has searched; it may stand between any two other events."""

    search: Search
    choice: int = 0


class Unsaid(msgspec.Struct, frozen=True, gc=False):
    """Something of the answer that no event can say, by the provider's name for it."""

    what: str


class PartEnded(msgspec.Struct, frozen=True, gc=False):
    """A part is whole."""

    index: int
    choice: int = 0


class Finished(msgspec.Struct, frozen=True, gc=False):
    """A choice is whole."""

    finish: Finish
    stop_sequence: str | None = None
    choice: int = 0


class Reported(msgspec.Struct, frozen=True, gc=False):
    """The usage so far; the last one counts."""

    usage: Usage
    service_tier: str | None = None
    """Which tier has served it, where the provider says so: at the end, if not before."""


class KeepAlive(msgspec.Struct, frozen=True, gc=False):
    """Nothing yet. Silence would let an idle timer downstream cut a slow model off."""


class Failed(msgspec.Struct, frozen=True):
    """The provider gave up in the middle; nothing follows."""

    error: GatewayError


class Ended(msgspec.Struct, frozen=True, gc=False):
    """The stream came to its proper end."""


Event = (
    Started
    | PartStarted
    | Delta
    | SignatureDelta
    | Cited
    | Searched
    | Unsaid
    | PartEnded
    | Finished
    | Reported
    | KeepAlive
    | Failed
    | Ended
)
