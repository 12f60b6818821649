"""Prompt caching in OpenAI's words, which both of its APIs share.

https://platform.openai.com/docs/guides/prompt-caching. Models from GPT-5.6 on take
breakpoints on parts of a prompt; older ones, and those of other makers, cache what they
can unasked.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from msgspec import Struct

from extproc import canonical
from extproc.formats.caching import Drop, Offer, lifetime

Json = dict[str, Any]

BREAKPOINT = "prompt_cache_breakpoint"
OPTIONS = "prompt_cache_options"

OFFER = Offer(
    ("30m", "12h"), "30m", most=80, ordered=False, tools=False, calls=False,
    results=False, automatic=True,
)  # fmt: skip
"""Of more breakpoints than four the API itself takes the last."""

_FROM_5_6 = re.compile(r"gpt-(?:5\.(?:[6-9]|\d\d)|[6-9]|\d\d)(?![a-z])")


class Breakpoint(Struct, frozen=True):
    """What stands on a part."""

    mode: Literal["explicit"]
    ttl: str | None = None


class Options(Struct, frozen=True):
    """What stands at the top of a request."""

    mode: Literal["implicit", "explicit"] | None = None
    ttl: str | None = None
    comparison_response_id: str | None = None
    prewarm: bool | None = None


def offer(model: str) -> Offer | None:
    """Return what a model's cache can be told; None is nothing."""
    return OFFER if _FROM_5_6.match(model.lower()) else None


def read_breakpoint(said: Breakpoint | None) -> canonical.CacheControl | None:
    """Read the breakpoint of a part."""
    return None if said is None else canonical.CacheControl(said.ttl)


def read_options(said: Options | None) -> canonical.Caching | None:
    """Read the options; what is said of the lifetime holds for every breakpoint."""
    if said is None:
        return None
    return canonical.Caching(said.mode != "explicit", said.ttl, said.ttl)


def with_breakpoint(part: Json, cache: canonical.CacheControl | None) -> Json:
    """Return `part` with its breakpoint."""
    if cache is None:
        return part
    said = {"mode": "explicit"}
    if cache.ttl is not None:
        said["ttl"] = cache.ttl
    return {**part, BREAKPOINT: said}


def write_options(
    request: canonical.Request, ttls: tuple[str, ...], drop: Drop
) -> Json | None:
    """Return the options, whose lifetime is one of `ttls`.

    Raises:
        BadRequest: a lifetime that no API has.
    """
    wish = request.caching
    if wish is None:
        return None
    said: Json = {"mode": "implicit" if wish.automatic else "explicit"}
    where = request.name_of("caching")
    ttl = lifetime(wish.ttl, Offer(ttls, OFFER.default), where, drop)
    if ttl is not None:
        said["ttl"] = ttl
    return said
