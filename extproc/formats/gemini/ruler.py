"""Where in a text a byte of its UTF-8 stands, in characters; none of the text is kept.

Gemini cites spans of bytes, everybody else spans of characters, and the spans are known
only behind the last word. So of each byte one bit is kept that says whether a character
begins with it: an eighth of the text, and nothing of one that is ASCII.
"""

from __future__ import annotations

MOST_BITS = 8 * 8 * 1024
"""Of so many bytes behind the first that is not ASCII; what is cited further back is not
told its place."""

_BLOCK = 4096
_BEGINS = bytes(ord("0") if byte & 0xC0 == 0x80 else ord("1") for byte in range(256))


class Ruler:
    """Measures one text."""

    __slots__ = ("_packed", "_plain", "_recent", "_total")

    def __init__(self) -> None:
        self._plain = 0
        """How many bytes stand before the first that is not ASCII."""
        self._packed = bytearray()
        """The bits of the bytes from there on, in whole blocks."""
        self._recent = b""
        """Those that are not packed yet, as digits."""
        self._total = 0
        """How many bytes there are."""

    def feed(self, text: str) -> None:
        """Take the next piece of the text."""
        if self._plain == self._total and text.isascii():
            self._plain = self._total = self._total + len(text)
            return
        encoded = text.encode("utf-8", "surrogatepass")
        self._total += len(encoded)
        if 8 * len(self._packed) >= MOST_BITS:
            return
        self._recent += encoded.translate(_BEGINS)
        while len(self._recent) >= _BLOCK:
            block, self._recent = self._recent[:_BLOCK], self._recent[_BLOCK:]
            self._packed += int(block, 2).to_bytes(_BLOCK // 8, "big")

    def characters(self, end: int) -> int | None:
        """Return how many characters begin in the first `end` bytes; None: not known."""
        behind = end - self._plain
        if not 0 <= end <= self._total:
            return None
        if behind <= 0:
            return end
        packed = 8 * len(self._packed)
        if behind > packed + len(self._recent):
            return None
        whole, rest = divmod(min(behind, packed), 8)
        count = int.from_bytes(self._packed[:whole], "big").bit_count()
        if rest:
            count += (self._packed[whole] >> (8 - rest)).bit_count()
        if behind > packed:
            count += self._recent.count(b"1", 0, behind - packed)
        return self._plain + count
