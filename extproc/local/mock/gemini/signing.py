"""The mock's thought signatures: opaque to the client, and known again.

The real ones cannot be made elsewhere; these cannot be mistaken for them. What counts is
that a signature which the mock did not write is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Final

KEY: Final = b"the mock of Gemini; not a secret"
SKIP: Final = "skip_thought_signature_validator"
"""What Google documents for calls of another model."""
NONCE: Final = 12


def sign(seed: str) -> str:
    """Return a signature; the same seed has the same one."""
    nonce = hashlib.sha256(seed.encode()).digest()[:NONCE]
    return base64.b64encode(nonce + hmac.digest(KEY, nonce, "sha256")).decode()


def is_signed(signature: str) -> bool:
    """Tell whether the mock wrote this signature, or need not have."""
    if signature == SKIP:
        return True
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    nonce, digest = raw[:NONCE], raw[NONCE:]
    return hmac.compare_digest(hmac.digest(KEY, nonce, "sha256"), digest)
