"""The mock's signatures on thinking: keyless to us, opaque to the client.

The real ones cannot be made elsewhere; these cannot be mistaken for them. What counts
is that an altered thought, an altered signature, or a redacted thought in another place than
behind the thought that it was written with, is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

KEY: Final = b"the mock of Anthropic; not a secret"
REDACTED: Final = b"redacted thinking of the mock: "


def signature_of(thinking: str) -> str:
    """Sign a thinking block's text."""
    return base64.b64encode(_digest(thinking.encode())).decode()


def is_signed(thinking: str, signature: str) -> bool:
    """Tell whether the mock wrote this thinking."""
    return hmac.compare_digest(signature_of(thinking).encode(), signature.encode())


def sealed(thinking: str) -> str:
    """Return the opaque `data` of a redacted thinking block."""
    payload = REDACTED + hashlib.sha256(thinking.encode()).digest()
    return base64.b64encode(payload + _digest(payload)).decode()


def is_sealed(opaque: str) -> bool:
    """Tell whether the mock wrote this redacted block."""
    try:
        raw = base64.b64decode(opaque, validate=True)
    except (binascii.Error, ValueError):
        return False
    payload, digest = raw[:-32], raw[-32:]
    return payload.startswith(REDACTED) and hmac.compare_digest(
        _digest(payload), digest
    )


def seals(opaque: str, thinking: str) -> bool:
    """Tell whether this redacted block was written right behind this thinking."""
    payload = base64.b64decode(opaque)[:-32]
    return payload == REDACTED + hashlib.sha256(thinking.encode()).digest()


def _digest(payload: bytes) -> bytes:
    return hmac.digest(KEY, payload, "sha256")
