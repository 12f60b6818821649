"""What trying a provider finds: check by check, and the error behind a check that failed."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Literal

import httpx
import msgspec

from extproc import bounded

CHECKS = ("address", "key", "model", "answer", "stream", "usage")
"""In this order: a failure leaves those behind it untried, but for the last two."""

ANSWER_SECONDS = 60.0
"""For one answer, the whole of it. A model that thinks, or that has to be loaded first, takes
its time; whoever knows that it does may say so."""

MOST_BYTES = 4 << 20
"""Of an answer: of the `LIMIT` tokens each at worst an event of its own."""

PROMPT = "Say OK."
LIMIT = 512
"""Tokens: enough for a model that thinks before it says two letters."""


class Finding(msgspec.Struct, frozen=True):
    """How one check fared."""

    check: str
    outcome: Literal["ok", "failed", "untried"]
    reason: str = ""


class Failed(Exception):
    """A check failed; nothing behind it can be tried."""

    def __init__(self, check: str, reason: str) -> None:
        super().__init__(reason)
        self.check = check
        self.reason = reason


def words(body: bytes) -> str:
    """Return the words of an error as OpenAI spells it, whole or in a stream's event."""
    start = body.rfind(b'{"error"')
    text = body[start:].split(b"\n", 1)[0] if start >= 0 else b"{}"
    try:
        said = msgspec.json.decode(text, type=dict[str, dict[str, object]])
    except msgspec.MsgspecError:
        said = {}
    return str(said.get("error", {}).get("message") or "the answer cannot be read")


@contextlib.contextmanager
def explained(seconds: float, *, proxied: bool = False) -> Iterator[None]:
    """Turn what an HTTP client runs into into the check that it fails.

    Raises:
        Failed: always, where anything is raised inside.
    """
    try:
        yield
    except httpx.HTTPError as error:
        raise Failed(*_explain(error, seconds, proxied=proxied)) from error


def _explain(
    error: httpx.HTTPError, seconds: float, *, proxied: bool
) -> tuple[str, str]:
    for one in _causes(error):
        match one:
            case socket.gaierror():
                whose = "the proxy's name" if proxied else "the name"
                return "address", f"{whose} does not resolve (DNS)"
            case ssl.SSLCertVerificationError():
                why = one.verify_message
                return "address", f"the certificate is refused (TLS): {why}"
            case ssl.SSLError():
                return "address", f"no TLS: {one.reason}"
            case _:
                pass
    return _explain_plain(error, seconds, proxied=proxied)


def _explain_plain(
    error: httpx.HTTPError, seconds: float, *, proxied: bool
) -> tuple[str, str]:
    """Explain what has nothing to do with names and TLS; the finer classes first."""
    match error:
        case bounded.Endless():
            return "answer", "the answer does not end"
        case httpx.ProxyError():
            return "address", f"the proxy refuses the connection: {error}"
        case httpx.ConnectTimeout():
            return "address", "no connection in time (timeouts.connect)"
        case httpx.ConnectError():
            whose = "of the proxy " if proxied else ""
            return "address", f"the connection {whose}is refused"
        case httpx.TimeoutException():
            return "answer", f"not answered within {seconds:g} s"
        case _:
            return "answer", f"the connection broke: {type(error).__name__}"


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def until(failed: Failed) -> list[Finding]:
    """Return what is known where a check failed: those before it hold."""
    place = CHECKS.index(failed.check)
    out = [Finding(check, "ok") for check in CHECKS[:place]]
    out.append(Finding(failed.check, "failed", failed.reason))
    return out + [untried(check) for check in CHECKS[place + 1 :]]


def untried(check: str) -> Finding:
    """Return what is known of a check that nobody came to."""
    return Finding(check, "untried")
