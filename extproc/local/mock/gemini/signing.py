"""The mock's thought signatures: opaque to the client, and known again.

The real ones cannot be made elsewhere; these cannot be mistaken for them. What counts is
that a signature which the mock did not write, or that stands on another part than the one it
was written for, is refused: the very call, or words of whatever content (the API joins and
splits those itself).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

import msgspec

KEY: Final = b"the mock of Gemini; not a secret"
SKIP: Final = "skip_thought_signature_validator"
"""What Google documents for calls of another model."""
NONCE: Final = 12
_USUAL: Final = str.maketrans("-_", "+/")


def sign(seed: str, part: Mapping[str, Any]) -> str:
    """Return a signature for `part`; the same seed has the same one."""
    nonce = hashlib.sha256(seed.encode()).digest()[:NONCE]
    return base64.b64encode(nonce + _digest(nonce, part)).decode()


def is_signed(signature: str, part: Mapping[str, Any]) -> bool:
    """Tell whether the mock wrote this signature for `part`, or need not have."""
    if signature == SKIP:
        return True
    try:
        # Either alphabet, as in all JSON of Google's; its own SDK writes the other one.
        usual = signature.translate(_USUAL)
        raw = base64.b64decode(usual, validate=True)
    except (binascii.Error, ValueError):
        return False
    nonce, digest = raw[:NONCE], raw[NONCE:]
    return hmac.compare_digest(_digest(nonce, part), digest)


def _digest(nonce: bytes, part: Mapping[str, Any]) -> bytes:
    call = part.get("functionCall")
    said = call and [call["name"], call.get("args") or {}]
    place = msgspec.json.encode(said, order="sorted")
    return hmac.digest(KEY, nonce + place, "sha256")
