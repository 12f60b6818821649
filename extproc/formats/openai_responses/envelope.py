"""Other providers' proofs of reasoning in ``encrypted_content``, there and back.

A Responses client gets reasoning as items and gives them back as it got them; the only
place in them for a proof is ``encrypted_content``, which is opaque to it. What OpenAI
encrypted stands there as OpenAI wrote it. Every other proof stands there as

    extproc.1.<base64url, without padding, of a JSON object>

whose members are ``text``, ``signature``, ``encrypted`` (those of the canonical
reasoning; absent when empty) and ``call_id``. The text is inside although ``summary``
shows it, because a signature holds for the exact words only and clients trim, join or
drop summaries. With a ``call_id`` the item says nothing itself: its signature belongs to
the tool call of that id (Gemini's), and the item follows the call. With none of them it
says whose the item is not: OpenAI looks up reasoning without ``encrypted_content`` among
what it has stored.

An ``extproc.`` of another version, or one that cannot be read, is nobody's proof.
"""

from __future__ import annotations

import base64
import binascii

import msgspec

_PREFIX = "extproc."
_VERSION = "1."
MARK = b'"extproc.'
"""How its JSON begins."""


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `encrypted_content` carries of another provider's reasoning."""

    text: str = ""
    signature: str | None = None
    encrypted: str | None = None
    call_id: str | None = None


_DECODER = msgspec.json.Decoder(Envelope)


def seal(envelope: Envelope) -> str:
    """Return the string that a client carries."""
    inside = base64.urlsafe_b64encode(msgspec.json.encode(envelope)).rstrip(b"=")
    return f"{_PREFIX}{_VERSION}{inside.decode()}"


def is_sealed(encrypted_content: str) -> bool:
    """Tell whether we wrote this, in this version or another."""
    return encrypted_content.startswith(_PREFIX)


def unseal(encrypted_content: str) -> Envelope | None:
    """Return what was sealed; None when it cannot be read."""
    inside = encrypted_content.removeprefix(_PREFIX + _VERSION)
    padding = "=" * (-len(inside) % 4)
    try:
        return _DECODER.decode(base64.b64decode(inside + padding, b"-_", validate=True))
    except (binascii.Error, ValueError, UnicodeError):
        return None
