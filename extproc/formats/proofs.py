"""Proofs of reasoning: how one provider's are told from another's, on every way they go.

A model's reasoning comes with a proof that only its provider can read or check: a
signature (Anthropic, Gemini) or the reasoning itself, encrypted (OpenAI, Anthropic's
``redacted_thinking``). Clients carry proofs from turn to turn unread.

OpenAI's encrypted reasoning needs its item's id beside it, and other formats have only
one string for it. So in the canonical form, ``Reasoning.encrypted``, it reads

    openai.1:<item id>:<encrypted_content>

whatever client format carries it. Who sees the mark and is not OpenAI can tell that the
proof is of no use to it.
"""

from __future__ import annotations

_OPENAI = "openai.1:"
GEMINI = "gemini:"
"""Stands before Gemini's signatures, which any part can have: see its format."""
MISTRAL = "mistral:"
"""Stands before the signatures of Mistral's thoughts."""
MARKS = (b'"openai.1:', b'"gemini:', b'"mistral:')
"""How a JSON string begins that has one of them."""


def is_marked(proof: str | None) -> bool:
    """Say whether `proof` is OpenAI's, Gemini's or Mistral's, of no use to others.

    Anthropic's and Bedrock's are base64, which has no colon, and bear no mark.
    """
    return proof is not None and proof.startswith((_OPENAI, GEMINI, MISTRAL))


def mark_openai(item_id: str, encrypted_content: str) -> str:
    """Return OpenAI's encrypted reasoning as the canonical form has it."""
    return f"{_OPENAI}{item_id}:{encrypted_content}"


def read_openai(encrypted: str) -> tuple[str, str] | None:
    """Return item id and ``encrypted_content``; None if it is not OpenAI's."""
    if not encrypted.startswith(_OPENAI):
        return None
    item_id, _, content = encrypted.removeprefix(_OPENAI).partition(":")
    return item_id, content
