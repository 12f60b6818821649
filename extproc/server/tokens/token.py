"""A token, who gives it, and how that can fail."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Protocol

import httpx
import msgspec

from extproc.server import outgoing

MAX_WORDS = 300
"""Characters of an error that are shown."""


class TokenRefused(Exception):
    """No token was given; the message says why and holds no secret."""


@dataclasses.dataclass(frozen=True, slots=True)
class Token:
    """An access token."""

    value: str = dataclasses.field(repr=False)
    seconds: float
    """How long it is good for, from when it was asked for."""


class Source(Protocol):
    """Who gives tokens to one identity."""

    async def fetch(self, http: httpx.AsyncClient, now: float) -> Token:
        """Return a new token; `now` is in Unix seconds, for statements that are dated.

        Raises:
            TokenRefused: there is none, and why.
            httpx.HTTPError: nobody answers.
            OSError: a file that is needed cannot be read.
        """


class _Given(msgspec.Struct):
    access_token: str
    expires_in: float | str = 3600


class _Refusal(msgspec.Struct):
    error: object = ""
    error_description: str = ""


async def ask(http: httpx.AsyncClient, url: str, form: Mapping[str, str]) -> Token:
    """Return the token that an OAuth 2 token endpoint gives for `form` (RFC 6749).

    Raises:
        TokenRefused: it refuses, or its answer cannot be read.
        httpx.HTTPError: it does not answer.
    """
    return read_token(await outgoing.ask(http, "POST", url, form=form))


def read_token(answer: httpx.Response) -> Token:
    """Return the token in a token endpoint's answer.

    Raises:
        TokenRefused: there is none.
    """
    if answer.status_code != 200:
        raise refused(answer)
    try:
        given = msgspec.json.decode(answer.content, type=_Given)
        seconds = float(given.expires_in)
    except (msgspec.MsgspecError, ValueError):
        raise TokenRefused(f"{_host(answer)} answers with no token") from None
    if not (seconds > 0 and sendable(given.access_token)):
        raise TokenRefused(f"{_host(answer)} answers with a token of no use")
    return Token(given.access_token, seconds)


def sendable(token: str) -> bool:
    """Say whether a header can hold `token`."""
    return bool(token) and token.isascii() and token.isprintable() and " " not in token


def refused(answer: httpx.Response) -> TokenRefused:
    """Return the reason in an answer that is none."""
    try:
        said = msgspec.json.decode(answer.content, type=_Refusal)
    except msgspec.MsgspecError:
        said = _Refusal()
    kind = said.error if isinstance(said.error, str) else ""
    # Entra adds lines with trace ids and times.
    words = said.error_description.partition("\r\n")[0].partition("\n")[0]
    why = ": ".join(part for part in (kind, words[:MAX_WORDS]) if part)
    status = f"{_host(answer)} answers {answer.status_code}"
    return TokenRefused(f"{status}: {why}" if why else status)


def _host(answer: httpx.Response) -> str:
    return answer.request.url.host
