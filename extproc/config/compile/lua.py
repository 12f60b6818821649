"""The script in front of every provider, ``attempt.lua``, with the words that it looks for.

The rendering of attempt n is the metadata ``gw.t<n>``: path, host, headers to delete
and to set, body (without one the client's own streams through), and the letters of
`extproc.exchange.arm`. What became of it is written to ``gw.att``: ``a<n>`` = ``429 20``
(or ``ms 1500`` or ``reset 6m0s``, see `extproc.routing.wait`), missing when there was no
answer, and ``t<n>``, the Unix milliseconds of its beginning.

``x-gw-retry`` forces the next attempt, ``x-envoy-ratelimited`` forbids it; neither reaches
a client.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from importlib import resources

from extproc.config.compile.hygiene import credential_headers
from extproc.exchange.forward import SUBPROTOCOLS

TOO_LONG = (
    "context_length_exceeded",
    "maximum context length",
    "context window",
    "context limit",
    "prompt is too long",
    "input is too long",
    "exceeds the maximum number of tokens",
)
"""How providers say that a prompt does not fit, in lower case: OpenAI and Azure by code,
Anthropic, Bedrock and Gemini in words."""

FORBIDDEN = (
    "content_filter",
    "content_policy_violation",
    "content management policy",
    "responsibleaipolicyviolation",
    "content filtering policy",
    "usage policy",
)
"""How providers say that their filter refuses a prompt, in lower case: Azure by code, inner
code and in words, Anthropic and OpenAI in words."""


@functools.cache
def lua_source() -> str:
    """Return the script, the same for every cluster."""
    script = resources.files("extproc.config.compile") / "attempt.lua"
    return "".join(
        (
            # A browser's key is among these; what a realtime session offers is set anew.
            _list("credentials", (*credential_headers(), SUBPROTOCOLS)),
            _list("too_long", TOO_LONG),
            _list("forbidden", FORBIDDEN),
            "\n",
            script.read_text(encoding="utf-8"),
        )
    )


def _list(name: str, words: Iterable[str]) -> str:
    quoted = ", ".join(f'"{word}"' for word in words)
    return f"local {name} = {{ {quoted} }}\n"
