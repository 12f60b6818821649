"""Vectors that are always the same for the same text, and exact in float32."""

from __future__ import annotations

import base64
import hashlib
import math
import struct


def vector(text: str, dimensions: int) -> list[float]:
    """Return a vector of length 1, of numbers that float32 holds exactly."""
    stream = hashlib.shake_256(text.encode()).digest(4 * dimensions)
    raw = [n / 2**31 for n in struct.unpack(f"<{dimensions}i", stream)]
    length = math.sqrt(sum(n * n for n in raw)) or 1.0
    return unpack(struct.pack(f"<{dimensions}f", *(n / length for n in raw)))


def pack(numbers: list[float]) -> str:
    """Return the base64 of float32, little-endian."""
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def unpack(packed: bytes) -> list[float]:
    """Return the numbers of float32, little-endian."""
    return list(struct.unpack(f"<{len(packed) // 4}f", packed))


def score(query: str, document: str) -> float:
    """Return how well a document answers a query: the share of the query's words."""
    words = query.lower().split()
    found = sum(word in document.lower() for word in words)
    return found / len(words) if words else 0.0


def ranked(
    query: str, documents: list[str], top: int | None = None
) -> list[tuple[int, float]]:
    """Return (index, score), the best first; equals stay in their order."""
    scores = [(index, score(query, text)) for index, text in enumerate(documents)]
    return sorted(scores, key=lambda one: -one[1])[:top]
