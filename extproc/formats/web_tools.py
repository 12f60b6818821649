"""Searching and reading the web, which providers do for the model: every vendor's words.

A client may ask for it in the words of any vendor, whatever API it speaks: OpenAI's
(https://platform.openai.com/docs/guides/tools-web-search), Anthropic's
(https://platform.claude.com/docs/en/agents-and-tools/tool-use/web-search-tool and
…/web-fetch-tool) or Google's (https://ai.google.dev/gemini-api/docs/google-search and
…/url-context).

Which pages may be searched or read is kept or refused. How much of them the model reads,
where the user is and how often it may search are left out and reported where a provider
has no word for them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

import msgspec

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats.base import Unsupported

Drop = Callable[[str], None]

_SEARCH = re.compile(
    r"web_search(?:_preview)?(?:_\d{4}_\d\d_\d\d|_\d{8})?|google_?search", re.IGNORECASE
)
_FETCH = re.compile(r"web_fetch_\d{8}|url_?context", re.IGNORECASE)


class Place(msgspec.Struct, frozen=True):
    """Where the user is."""

    type: Literal["approximate"] = "approximate"
    city: str | None = None
    country: str | None = None
    region: str | None = None
    timezone: str | None = None
    approximate: Place | None = None
    """Chat completions nest it."""


class _Filters(msgspec.Struct, frozen=True):
    allowed_domains: list[str] | None = None
    blocked_domains: list[str] | None = None


class _Citations(msgspec.Struct, frozen=True):
    enabled: bool = False


class _CacheControl(msgspec.Struct, frozen=True):
    ttl: str | None = None


class _Said(msgspec.Struct, frozen=True):
    """A tool in anybody's words, or chat's ``web_search_options``."""

    search_context_size: Literal["low", "medium", "high"] | None = None
    user_location: Place | None = None
    filters: _Filters | None = None
    allowed_domains: list[str] | None = None
    blocked_domains: list[str] | None = None
    exclude_domains: list[str] | None = None
    exclude_domains_camel: list[str] | None = msgspec.field(
        name="excludeDomains", default=None
    )
    max_uses: int | None = None
    max_content_tokens: int | None = None
    citations: _Citations | None = None
    cache_control: _CacheControl | None = None
    external_web_access: bool | None = None


_SAID = msgspec.json.Decoder(_Said)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])

_IGNORED = frozenset({"type", "name"})
_TUNING = frozenset({
    "allowed_callers", "defer_loading", "strict", "response_inclusion", "use_cache",
    "search_content_types",
    "blocking_confidence", "blockingConfidence",
})  # fmt: skip
"""Members that change no answer's meaning, or only Anthropic's way to it."""
_READ = frozenset(field.encode_name for field in msgspec.structs.fields(_Said))


def is_web_tool(kind: str) -> bool:
    """Say whether a tool of this type searches or reads the web."""
    return bool(_SEARCH.fullmatch(kind) or _FETCH.fullmatch(kind))


def read_web_tool(
    kind: str, raw: msgspec.Raw, where: str, left_out: Drop
) -> canonical.WebSearch | canonical.WebFetch:
    """Read the tool at `where`; what need not be said of it goes to `left_out`.

    Raises:
        BadRequest: it is malformed.
        Unsupported: it says what only its own vendor can do.
    """
    try:
        said, members = _SAID.decode(raw), _MEMBERS.decode(raw)
    except msgspec.MsgspecError as exc:
        raise BadRequest(f"{where}: {exc}", param=where) from None
    for name, value in members.items():
        if name in _READ or name in _IGNORED or bytes(value) == b"null":
            continue
        if name not in _TUNING:
            raise Unsupported(
                f"{where}.{name}: it cannot be kept with another provider.",
                param=f"{where}.{name}",
            )
        left_out(f"{where}.{name}")
    if said.external_web_access is False:
        raise Unsupported(
            "Only OpenAI searches what it has stored.",
            param=f"{where}.external_web_access",
        )
    filters = said.filters or _Filters()
    blocked = (
        filters.blocked_domains
        or said.blocked_domains
        or said.exclude_domains
        or said.exclude_domains_camel
    )
    allowed = tuple(filters.allowed_domains or said.allowed_domains or ())
    mark = said.cache_control
    cache = None if mark is None else canonical.CacheControl(mark.ttl)
    if _FETCH.fullmatch(kind):
        return canonical.WebFetch(
            where,
            allowed,
            tuple(blocked or ()),
            said.max_uses,
            said.max_content_tokens,
            said.citations is not None and said.citations.enabled,
            cache,
        )
    return canonical.WebSearch(
        where,
        allowed,
        tuple(blocked or ()),
        said.max_uses,
        said.search_context_size,
        _location(said.user_location),
        cache,
    )


def _location(said: Place | None) -> canonical.Location | None:
    if said is None:
        return None
    place = said.approximate or said
    return canonical.Location(place.city, place.country, place.region, place.timezone)


def written_location(said: canonical.Location) -> dict[str, str]:
    """Return what is known of the place, as OpenAI and Anthropic spell it."""
    return {
        name: value
        for name in ("city", "country", "region", "timezone")
        if (value := getattr(said, name)) is not None
    }


def refuse_domains(
    tool: canonical.WebSearch | canonical.WebFetch,
    who: str,
    *,
    allowed: bool = False,
    blocked: bool = False,
) -> None:
    """Refuse domains that a provider cannot be told; the flags say which it can.

    Raises:
        Unsupported: there are such.
    """
    if tool.allowed and not allowed:
        raise Unsupported(
            f"{who} cannot be held to domains.", param=f"{tool.where}.allowed_domains"
        )
    if tool.blocked and not blocked:
        raise Unsupported(
            f"{who} cannot be kept from domains.", param=f"{tool.where}.blocked_domains"
        )


def drop_tuning(
    tool: canonical.WebSearch | canonical.WebFetch, drop: Drop, *kept: str
) -> None:
    """Report what of a tool's tuning is not `kept`."""
    said: dict[str, object] = {"max_uses": tool.max_uses}
    if isinstance(tool, canonical.WebSearch):
        said |= {
            "search_context_size": tool.context_size, "user_location": tool.location,
        }  # fmt: skip
    else:
        said |= {
            "max_content_tokens": tool.max_content_tokens,
            "citations": tool.citations or None,
        }
    for name, value in said.items():
        if value is not None and name not in kept:
            drop(f"{tool.where}.{name}")
