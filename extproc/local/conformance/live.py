"""The same rows, played at real providers: the gateway's core, and their own servers.

What is asked is put so that any model answers it, and judged by what holds for any answer:
that there are words, that a tool was called with an object, that what the client said
arrived. Nothing can make a real provider break off a stream; such rows say so.

Requests go to the provider as Envoy would send them, with the configured key; neither is
ever printed.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Self

import httpx
import msgspec
from pydantic import SecretStr

from extproc import bounded
from extproc.config.build import build
from extproc.config.providers import ProviderConfig
from extproc.config.schema import Config, ModelConfig, TargetConfig
from extproc.local.conformance import checks
from extproc.local.conformance.features import FEATURES, SEED, TEMPERATURE, Feature
from extproc.local.conformance.gateway import GRANT, Gateway, Unreached
from extproc.local.conformance.prompts import PAPER, PICTURE
from extproc.local.conformance.rows import (
    DIALECTS,
    MODELS,
    SEARCHERS,
    Row,
    rows_of,
    sayable,
)
from extproc.local.mock.reply import Reply, Request
from extproc.local.providers.way import as_proxy
from extproc.pricing import cost, show
from extproc.runtime import Runtime
from extproc.usage import Usage

ANSWER_SECONDS: Final = 120.0
"""How long a provider may be silent; a model that thinks takes its time."""

LONGEST_SECONDS: Final = 600.0
"""How long one answer may take in all."""
MOST_BYTES: Final = 4 << 20
"""Of an answer: some 250 tokens, each at worst an event of its own with twenty others that
were likely."""

INPUT_TOKENS: Final = 200
OUTPUT_TOKENS: Final = 250
"""What a request and its answer come to, about: the prompts are one sentence, three tools
are some 150 tokens, and a model that thinks does so for a few hundred."""

_NEEDS_AN_ADDRESS: Final = "not played: it needs a picture that the provider can fetch"
_NEEDS_EARS: Final = "not played: it needs a model that hears"
_UNPROVOKED: Final = "not played: a real provider cannot be made to do so"


@dataclasses.dataclass(frozen=True, slots=True)
class _Live:
    """What of a feature is another where the model is real."""

    text: str
    check: checks.Check


_ASKED: Final[Mapping[str, _Live]] = {
    "plain": _Live("Say hello.", checks.speaks),
    "streamed": _Live("Say hello.", checks.speaks),
    "system prompt": _Live(
        "Say hello.", checks.carries("Speak like a pirate.", checks.speaks)
    ),
    "multi-turn": _Live(
        "What is my name?",
        checks.carries(
            "My name is Ada.", checks.carries("Good day, Ada.", checks.speaks)
        ),
    ),
    "tool call": _Live(
        "Call the tool weather for Paris, and say nothing.", checks.called("weather")
    ),
    "tool call without arguments": _Live(
        "Call the tool clock, and say nothing.", checks.called("clock")
    ),
    "parallel tool calls": _Live(
        "Call the tools weather and population, both for Paris and at once.",
        checks.called("weather", "population"),
    ),
    "forced tool": _Live("Something about Paris.", checks.called("population")),
    "tool result": _Live(
        "Call the tool weather for Paris, then say how warm it is.",
        checks.called("weather"),
    ),
    "tool choice none": _Live("Say hello.", checks.speaks),
    "image inline": _Live("What is this?", checks.carries(PICTURE, checks.speaks)),
    "PDF": _Live("What does it say?", checks.carries(PAPER, checks.speaks)),
    "cited documents": _Live("What does it say?", checks.asks_to_cite(checks.speaks)),
    "web search": _Live("What is the news of today?", checks.speaks),
    "citations of a web search": _Live(
        "Search the web: what is the news of today? Name where you have it from.",
        checks.cites("https://", "", checks.speaks),
    ),
    "structured output beside tools": _Live(
        "Paris has 18 degrees. As JSON, please; call no tool.",
        checks.is_json("city", "celsius"),
    ),
    "tool call beside structured output": _Live(
        "Call the tool weather for Paris, and say nothing.", checks.called("weather")
    ),
    "structured output": _Live("Paris has 18 degrees. As JSON, please.",
                               checks.is_json("city", "celsius")),
    "JSON mode": _Live("Paris has 18 degrees. As a JSON object, please.", checks.is_json()),
    "stop sequence": _Live("Repeat this: one HALT two", checks.stops_before("HALT")),
    "max tokens": _Live(
        "Count from one to two hundred in words, and leave no number out on the way.",
        checks.cut_off,
    ),
    "usage": _Live("Say hello.", checks.counts),
    "usage in a stream": _Live("Say hello.", checks.counts),
    "reasoning over two turns": _Live(
        "Call the tool weather for Paris, then say whether I need a coat.",
        checks.thinks,
    ),
    "temperature": _Live("Say hello.", checks.carries(TEMPERATURE, checks.speaks)),
    "seed": _Live("Say hello.", checks.carries(SEED, checks.speaks)),
    "two choices": _Live("Say hello.", checks.has_choices(2)),
    "logprobs": _Live("Say hello.", checks.has_logprobs),
    "prompt caching": _Live("Say hello.", checks.marks_a_prefix),
    "provider error": _Live("Say hello.", checks.fails),
}  # fmt: skip

_UNPLAYED: Final = {
    "image by URL": _NEEDS_AN_ADDRESS,
    "audio in": _NEEDS_EARS,
    "error inside a stream": _UNPROVOKED,
    "truncated stream": _UNPROVOKED,
}


def _live(feature: Feature) -> Feature:
    """Return the feature as a real model is asked for it."""
    asked = _ASKED.get(feature.name)
    if asked is None:
        return dataclasses.replace(feature, unplayed=_UNPLAYED[feature.name])
    return dataclasses.replace(
        feature,
        prompt=dataclasses.replace(feature.prompt, text=asked.text),
        check=asked.check,
        after=checks.speaks if feature.result else feature.after,
        model="no-such-model" if feature.name == "provider error" else "",
    )


LIVE: Final = tuple(map(_live, FEATURES))


@dataclasses.dataclass(frozen=True, slots=True)
class Account:
    """One configured provider, and what it is asked for."""

    name: str
    """In ``gateway.yaml``."""
    runtime: Runtime
    """In which it serves every model."""
    peer: Peer
    models: tuple[str, str]
    """The model, and the one that is asked to think."""


class Peer:
    """A provider's own server, in a mock's place."""

    def __init__(self, name: str, provider: ProviderConfig) -> None:
        self.name = name
        there = provider.endpoint
        self._origin = f"{'https' if there.tls else 'http'}://{there.authority}"
        self._kind = provider.kind
        self.secret = next((key.get_secret_value() for key in _keys(provider)), "")
        """Nothing that has it in may be shown."""
        place = provider.credential_place
        self._credential = (place[0], place[1] + self.secret) if place else None
        self._headers = dict(provider.headers)
        self._http = httpx.Client(
            timeout=ANSWER_SECONDS,
            verify=str(provider.ca_file) if provider.ca_file else True,
            proxy=as_proxy(provider.proxy),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def owns(self, request: Request) -> bool:  # noqa: ARG002  it is all there is
        """Say yes."""
        return True

    def respond(self, request: Request) -> Reply:
        """Send the request on, with the configured key.

        Raises:
            Unreached: there was no answer.
        """
        headers = {**dict(request.headers), **self._headers, **bounded.PLAIN}
        headers.pop(self._kind.credential_header, None)
        if self._credential:
            headers[self._credential[0]] = self._credential[1]
        url = self._origin + request.path
        ends = time.monotonic() + LONGEST_SECONDS
        try:
            with self._http.stream(
                "POST", url, headers=headers, content=request.body
            ) as answer:
                body = bounded.read(answer, most=MOST_BYTES, ends=ends)
        except bounded.Endless as error:
            raise Unreached(f"no answer: {error}") from None
        except httpx.HTTPError as error:
            raise Unreached(f"no answer: {type(error).__name__}") from None
        kept = {"retry-after", self._kind.request_id_header}
        return Reply(
            answer.status_code,
            body,
            tuple((key, one) for key, one in answer.headers.items() if key in kept),
            answer.headers.get("content-type", ""),
        )


def accounts(
    config: Config, only: str | None, model: str | None
) -> tuple[list[Account], list[str]]:
    """Return the configured providers that can be asked, and why others cannot.

    Args:
        config: whose providers are meant.
        only: the name or type of those to take; None for all.
        model: what to ask for; None: what `config` asks of the provider, or what is
            usual for its type.
    """
    found, skipped = [], []
    for name, provider in config.providers.items():
        if only not in {None, name, provider.type}:
            continue
        asked = (model, model) if model else _models(config, name)
        if asked is None:
            skipped.append(f"{name}: no model is known for it: say --model")
        elif not provider.has_key and (provider.identity or provider.kind.aws_service):
            skipped.append(
                f"{name}: its requests are signed by Envoy: give it an api_key"
            )
        else:
            found.append(
                Account(name, _runtime(config, name), Peer(name, provider), asked)
            )
    return found, skipped


def _keys(provider: ProviderConfig) -> Sequence[SecretStr]:
    return (provider.api_key,) if provider.api_key else provider.api_keys


def _models(config: Config, provider: str) -> tuple[str, str] | None:
    kind = config.providers[provider].type
    if kind in MODELS:
        return MODELS[kind]
    named = (
        target.model or name
        for name, model in config.models.items()
        for target in model.targets
        if target.provider == provider and "*" not in (target.model or name)
    )
    first = next(named, next(iter(config.providers[provider].kind.models), None))
    return (first, first) if first else None


def _runtime(config: Config, provider: str) -> Runtime:
    everything = ModelConfig(targets=(TargetConfig(provider=provider),))
    alone = config.model_copy(
        update={"models": {"*": everything}, "keys": (), "prices": config.prices}
    )
    return Runtime.of(build(alone, grants=(GRANT,), generation=1, created=0))


def _searchers(account: Account) -> dict[tuple[str, str], str]:
    """Return those of the account's type, if its models are the usual ones of that."""
    return {
        (dialect, account.name): model
        for (dialect, kind), model in SEARCHERS.items()
        if account.models == MODELS[kind]
    }


def play_live(asked: Sequence[Account]) -> Iterator[Row]:
    """Yield the rows of these accounts, as they are played. It costs money."""
    gateway = Gateway(
        {one.name: one.peer for one in asked}, {one.name: one.runtime for one in asked}
    )
    for one in asked:
        with one.peer as peer:
            models = {one.name: one.models}
            for row in rows_of(gateway, models, LIVE, _searchers(one)):
                # Some providers repeat the key where they refuse it.
                clean = row.reason
                if peer.secret:
                    clean = clean.replace(peer.secret, "***")
                yield msgspec.structs.replace(row, reason=clean)


def estimate(asked: Sequence[Account]) -> str:
    """Say in a sentence what playing these will come to."""
    requests = sum(
        len(feature.ways) * (2 if feature.result else 1)
        for dialect in DIALECTS
        for feature in sayable(dialect, LIVE)
        if not feature.unplayed
    )
    usage = Usage(requests * INPUT_TOKENS, requests * OUTPUT_TOKENS)
    said = []
    for one in asked:
        model, _ = one.models
        target = one.runtime.model(model)
        price = None
        if target is not None:
            spec = target.targets[0].spec
            price = one.runtime.prices.find(spec.provider, spec.type, model)
        money = f"about ${show(cost(price, usage))}" if price else "price unknown"
        said.append(f"{one.name} ({model}): {money}")
    return (
        f"{requests} requests a provider, some {usage.input_tokens:,} tokens in and at "
        f"most {usage.output_tokens:,} out. " + "; ".join(said) + "."
    )
