"""What a request says of its own size and of who it is for, as far as limits go.

Members of other types than they should be are others' to judge: here they say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from extproc.exchange.render import Asked
from extproc.framing.members import Members
from extproc.runtime import END_USER_HEADER

MOST_OUTPUT: Final[Mapping[str, tuple[str, ...]]] = {
    "openai_chat": ("max_completion_tokens", "max_tokens"),
    "openai_completions": ("max_tokens",),
    "openai_responses": ("max_output_tokens",),
    "anthropic": ("max_tokens",),
}
"""What bounds an answer, by client format; the first is what we set."""


class Told(msgspec.Struct, frozen=True):
    """The few members that a reservation depends on."""

    most: int | None = None
    """Output tokens of one choice."""
    choices: int = 1


def read_told(asked: Asked) -> Told:
    """Return what bounds the answer."""
    members = asked.members
    most = None
    for name in MOST_OUTPUT.get(asked.operation.format.name, ()):
        if name in members:
            most = _whole(members[name])
            break
    choices = 1
    if "n" in members or "best_of" in members:
        choices = max(_number(members, "n"), _number(members, "best_of"), 1)
    return Told(most, choices)


def read_tier(asked: Asked) -> str | None:
    """Return the ``service_tier`` that is asked for, on which a price may depend."""
    return _text(asked.members, "service_tier")


def read_end_user(asked: Asked) -> str:
    """Return who the caller says that it asks for; empty: nobody."""
    members = asked.members
    named = None
    if "user" in members or "safety_identifier" in members:
        named = _text(members, "user") or _text(members, "safety_identifier")
    if named is None and "metadata" in members:
        try:
            said = _METADATA.decode(members["metadata"])
        except msgspec.MsgspecError:
            pass
        else:
            named = said.user_id
    if named is None:
        # Header values are any bytes, and what is kept of them must be text.
        raw = asked.headers.get(END_USER_HEADER)
        if raw is None:
            return ""
        named = raw if raw.isascii() else raw.encode("utf-8", "replace").decode()
    return named[:256]


class _Metadata(msgspec.Struct, frozen=True):
    user_id: str | None = None


_METADATA = msgspec.json.Decoder(_Metadata)
_TEXT: msgspec.json.Decoder[str | None] = msgspec.json.Decoder(str | None)
_WHOLE: msgspec.json.Decoder[int | None] = msgspec.json.Decoder(int | None)


def _number(members: Members, name: str) -> int:
    return (_whole(members[name]) if name in members else None) or 1


def _whole(raw: msgspec.Raw) -> int | None:
    try:
        return _WHOLE.decode(raw)
    except msgspec.MsgspecError:
        return None


def _text(members: Mapping[str, msgspec.Raw], name: str) -> str | None:
    if name not in members:
        return None
    try:
        return _TEXT.decode(members[name]) or None
    except msgspec.MsgspecError:
        return None
