"""Log probabilities, in the canonical spelling (chat's) and in the one of Responses.

https://platform.openai.com/docs/api-reference/responses/object. Both are arrays of tokens;
here a token always has its bytes and its alternatives, which chat and the events of a
stream may leave out.
"""

from __future__ import annotations

import msgspec


class _Token(msgspec.Struct, frozen=True):
    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[_Token] | None = None


class _Bare(msgspec.Struct, frozen=True):
    token: str
    bytes: list[int]
    logprob: float


class Token(msgspec.Struct, frozen=True):
    """A token as either API has it, whole."""

    token: str
    bytes: list[int]
    logprob: float
    top_logprobs: list[_Bare]


_TOKENS = msgspec.json.Decoder(list[_Token])


def read_tokens(said: msgspec.Raw | None) -> list[Token]:
    """Read an array of tokens of either spelling; what cannot be read is none."""
    if said is None:
        return []
    try:
        tokens = _TOKENS.decode(said)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    return [
        Token(
            one.token,
            _bytes(one),
            one.logprob,
            [_Bare(o.token, _bytes(o), o.logprob) for o in one.top_logprobs or ()],
        )
        for one in tokens
    ]


def _bytes(said: _Token) -> list[int]:
    return list(said.token.encode()) if said.bytes is None else said.bytes
