"""Playing every feature from every client at every provider, one row for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from typing import Final, Literal

import msgspec

from extproc.local.conformance import (
    anthropic,
    checks,
    openai_chat,
    openai_responses,
)
from extproc.local.conformance.checks import NotCarried, Wrong
from extproc.local.conformance.dialect import Dialect
from extproc.local.conformance.endpoints import ENDPOINTS, play_endpoint
from extproc.local.conformance.features import FEATURES, Feature
from extproc.local.conformance.gateway import SMALLER, Gateway, Refused
from extproc.local.conformance.heard import Heard
from extproc.local.conformance.prompts import Prompt
from extproc.providers import JUDGED

DIALECTS: Final = (openai_chat.DIALECT, openai_responses.DIALECT, anthropic.DIALECT)

MODELS: Final = {
    "openai": ("gpt-4o", "gpt-5.6"),
    "anthropic": ("claude-sonnet-4-5", "claude-sonnet-4-5"),
    "gemini": ("gemini-3.5-flash", "gemini-3.5-flash"),
    "bedrock": (
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ),
    "azure": ("gpt-4o", "gpt-5.6"),
    "vertex": ("gemini-3.5-flash", "gemini-3.5-flash"),
    "bedrock-anthropic": (
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ),
    "vertex-anthropic": ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5@20250929"),
    "cohere": ("command-a-03-2025", "command-a-reasoning-08-2025"),
    "mistral": ("mistral-large-latest", "magistral-medium-latest"),
}
"""The model of each provider, and the one that is asked to think, or to cache."""

EARS: Final = {
    "openai": "gpt-4o-audio-preview", "azure": "gpt-4o-audio-preview",
    "mistral": "voxtral-small-latest",
}  # fmt: skip
"""The model that hears, of providers whose usual one does not."""

SEARCHERS: Final = {("openai_chat", "openai"): "gpt-4o-search-preview"}
"""The model that searches the web, by the client's API, where the usual one does not in it."""

Outcome = Literal["pass", "fail", "unsupported"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """How one feature fared."""

    client_format: str
    provider_format: str
    """The API that the provider was asked in."""
    provider: str
    feature: str
    outcome: Outcome
    """``unsupported``: the gateway says so, by a 400 that names a field or by reporting
    what it left out; ``fail``: anything else that is not right."""
    reason: str = ""


PLAYED: Final = (*JUDGED, *SMALLER)
"""Providers with a mock."""


def play(providers: Sequence[str] = PLAYED) -> list[Row]:
    """Return the rows of these providers; a client's API that has no words has no row."""
    gateway = Gateway()
    chats = {name: MODELS[name] for name in providers if name in MODELS}
    return [*rows_of(gateway, chats), *_endpoints(gateway, providers)]


def _endpoints(gateway: Gateway, providers: Sequence[str]) -> Iterator[Row]:
    """Yield what becomes of requests that are no chats."""
    for endpoint in ENDPOINTS:
        for provider in providers:
            if provider in endpoint.unmocked:
                continue
            chat, _ = MODELS.get(provider, ("any", "any"))
            model = endpoint.models.get(provider, chat)
            outcome, reason = play_endpoint(gateway, endpoint, provider, model)
            yield Row(
                client_format=endpoint.path.removeprefix("/"),
                provider_format=gateway.format_at(endpoint.path, provider, model),
                provider=provider,
                feature=endpoint.feature,
                outcome=outcome,
                reason=reason,
            )


def rows_of(
    gateway: Gateway,
    models: Mapping[str, tuple[str, str]],
    features: Sequence[Feature] = FEATURES,
    searchers: Mapping[tuple[str, str], str] = SEARCHERS,
) -> Iterator[Row]:
    """Yield the rows of the providers that `models` names, as they are played.

    `searchers` are as `SEARCHERS`, by the names in `models`.
    """
    for provider, asked in models.items():
        for dialect in DIALECTS:
            for feature in sayable(dialect, features):
                outcome: Outcome = "unsupported"
                reason = feature.unplayed
                if not reason:
                    able = asked
                    if feature.prompt.web_search:
                        searcher = searchers.get((dialect.name, provider))
                        able = (searcher, searcher) if searcher else asked
                    outcome, reason = _play(gateway, provider, able, dialect, feature)
                yield Row(
                    client_format=dialect.name,
                    provider_format=gateway.provider_format(dialect.name, provider),
                    provider=provider,
                    feature=feature.name,
                    outcome=outcome,
                    reason=reason,
                )


def sayable(dialect: Dialect, features: Sequence[Feature]) -> list[Feature]:
    """Return the features that a client's API has words for."""
    return [one for one in features if not _said(one.prompt) & dialect.lacks]


def _said(prompt: Prompt) -> set[str]:
    """Return the fields that are not at their default."""
    return {
        field.name
        for field in fields(prompt)
        if field.default is not MISSING and getattr(prompt, field.name) != field.default
    }


def _play(
    gateway: Gateway,
    provider: str,
    models: tuple[str, str],
    dialect: Dialect,
    feature: Feature,
) -> tuple[Outcome, str]:
    """Ask it in every way; the first that does not pass decides."""
    able = feature.prompt.thinking or feature.prompt.cache
    ears = EARS.get(provider, "") if feature.prompt.audio else ""
    model = feature.model or ears or models[able]
    for stream in feature.ways:
        prompt = replace(
            feature.prompt,
            stream=stream,
            stream_usage=stream and feature.prompt.stream_usage,
        )
        way = "streamed: " if stream and len(feature.ways) > 1 else ""
        heard = Heard()
        try:
            heard = gateway.ask(dialect, provider, model, prompt)
            feature.check(heard)
            if feature.result:
                first = heard
                again = replace(prompt, answered=first, result=feature.result)
                heard = gateway.ask(dialect, provider, model, again)
                feature.after(heard)
                if feature.proves:
                    checks.proves(first)(heard)
        except Refused as refused:
            if refused.status == 400 and refused.field:
                return "unsupported", f"{way}{refused.field}: {refused}"
            return "fail", f"{way}refused with {refused.status}: {refused}"
        except Wrong as wrong:
            if isinstance(wrong, NotCarried) and heard.dropped:
                left = ", ".join(heard.dropped)
                return "unsupported", f"{way}{left}: left out, and reported"
            return "fail", f"{way}{wrong}"
        except (LookupError, TypeError, msgspec.DecodeError) as error:
            return "fail", f"{way}the answer cannot be read: {error!r}"
    return "pass", ""
