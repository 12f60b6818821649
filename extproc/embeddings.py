"""The canonical embeddings request and answer: see `extproc.canonical` for the why.

A vector travels as the provider spelled it, and is only converted where the client asked
for the other spelling; `extproc.formats.embeddings.vectors` does that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from extproc.usage import Usage

Encoding = Literal["float", "base64"]


class Packed(msgspec.Struct, frozen=True, gc=False):
    """A vector as float32, little-endian."""

    data: bytes


Vector = msgspec.Raw | Packed
"""A JSON array of numbers as it was spelled, or packed."""


class EmbeddingRequest(msgspec.Struct, frozen=True):
    """Texts that want vectors."""

    texts: tuple[str, ...]
    """Empty where the client sent tokens."""
    tokens: tuple[tuple[int, ...], ...] = ()
    """Texts that the client has cut into tokens itself, by its own model's vocabulary."""
    dimensions: int | None = None
    encoding: Encoding = "float"
    user: str | None = None
    extras: Mapping[str, msgspec.Raw] = {}
    """What else the client said, by its own name: words of some provider's own API."""


class EmbeddingAnswer(msgspec.Struct, frozen=True):
    """A vector for each text, in their order."""

    vectors: tuple[Vector, ...]
    model: str = ""
    usage: Usage | None = None
