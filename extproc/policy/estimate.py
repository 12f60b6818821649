"""How many tokens something has, without a tokenizer: for reservations only.

What is charged in the end is what the provider counts; an estimate stands where it never
said (a client that left, a stream that broke), and is marked as one. The numbers:

- Text has a token for every 4 bytes of JSON, names and quotes included: English has one
  for some 4.5 characters. At most it has one for every 2 ASCII bytes (`a b c`), one for
  every digit and every space before it (`1 2 3`), and one for every other byte (no
  tokenizer needs more than the bytes themselves). `bench/counting.py` holds both against
  OpenAI's tokenizer.
- Pictures, sound and documents are base64 in the body. A picture is some 1,000 tokens at
  OpenAI and Anthropic, a page of a document some 2,000 in 50 to 100 kB.
- A streamed answer has a token a frame where providers stream token by token, or one for
  every 4 bytes beyond what each frame needs for itself where they put several into one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

DEFAULT_OUTPUT = 1_000
"""Output tokens of an answer of which nothing is known: a page and a half of text."""

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{1024,}")
_ADDRESS = re.compile(rb'"(?:image_url|file_url|file_id)"\s*:')
_NOT_ASCII = bytes(range(128, 256))
_DIGITS = b"0123456789"

_MEDIA_TOKENS = 1_500
_MEDIA_BYTES_A_TOKEN = 40
_MOST_MEDIA_TOKENS = 6_000
_MOST_MEDIA_BYTES_A_TOKEN = 8

ENVELOPES = {
    "openai_chat": 330,
    "openai_completions": 220,
    "openai_responses": 230,
    "anthropic": 115,
}
"""Bytes of a frame of a stream that are not the answer's, by format."""
_ENVELOPE = 200


class Tokens(NamedTuple):
    """Of a prompt."""

    expected: int
    most: int
    """No prompt of these bytes has more, but for adversarial ones."""


def prompt_tokens(body: bytes) -> Tokens:
    """Estimate the tokens of the prompt in a request's JSON."""
    expected = most = 0
    size = len(body)
    text = body
    media: list[int] = []
    if size > 1024:
        media = [match.end() - match.start() for match in _BASE64.finditer(body)]
        if media:
            text = _BASE64.sub(b"", body)
            for length in media:
                expected += max(_MEDIA_TOKENS, length // _MEDIA_BYTES_A_TOKEN)
                most += max(_MOST_MEDIA_TOKENS, length // _MOST_MEDIA_BYTES_A_TOKEN)
    addresses = 0
    if text.find(b"_url") >= 0 or text.find(b"_id") >= 0:
        addresses = max(0, len(_ADDRESS.findall(text)) - len(media))
    expected += addresses * _MEDIA_TOKENS
    most += addresses * _MOST_MEDIA_TOKENS
    size = len(text)
    other = 0 if text.isascii() else size - len(text.translate(None, _NOT_ASCII))
    digits = size - len(text.translate(None, _DIGITS))
    # Every byte half a token, digits another half, and as much for the spaces before them.
    most += (size - other) // 2 + digits + other + 1
    return Tokens(expected + size // 4 + 1, most)


def produced_tokens(format_name: str, frames: int, size: int) -> int:
    """Estimate the tokens of a stream by its frames and bytes so far.

    The first frame and the last say how it begins and ends.
    """
    text = size - frames * ENVELOPES.get(format_name, _ENVELOPE)
    return max(0, frames - 2, text // 4)


def answer_tokens(size: int) -> int:
    """Estimate the tokens of a whole answer, of which `size` bytes are known."""
    return size // 5
