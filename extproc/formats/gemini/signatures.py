"""Thought signatures, and how they find their way back.

https://ai.google.dev/gemini-api/docs/thought-signatures. A model signs the first call of
an answer, or its last text, and newer models refuse a conversation whose calls have lost
their signature. Clients differ in what they can carry:

- OpenAI's give back what stood on the call (``extra_content``), as the API spelled it;
- every client format can carry the signature of a thought. So what the model has signed
  is told a second time, as the signature of the thought right before it, or of an empty
  one. `TAG` marks it as Gemini's: other providers sign thoughts too, and a foreign
  signature is refused by all of them.

A call for which neither comes back has `SKIP`, which Google documents for conversations
that began with another model.
"""

from __future__ import annotations

import re

from extproc.formats.proofs import GEMINI

TAG = GEMINI

SKIP = "skip_thought_signature_validator"

_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")


def tagged(signature: str) -> str:
    """Return `signature` as a thought carries it."""
    return TAG + signature


def untagged(signature: str | None) -> str | None:
    """Return what the API takes back; None where it was not Gemini that signed."""
    if signature is None or not signature.startswith(TAG):
        return None
    return checked(signature[len(TAG) :])


def checked(signature: str | None) -> str | None:
    """Return `signature` if it can be one."""
    return signature if signature and _BASE64.fullmatch(signature) else None
