"""The cases of `tests/cases`: found, played through the gateway's core, written down.

    cases/<operation>/<case>/case.toml           what it is about, and what must be heard
                             <client>.json       the request, in each client's format
                             <client>.second.json  the next turn's: ``@answer`` stands for
                                                 the answer, ``@call`` for its call's id
                             <provider>/upstream.*  what a provider of this format answers:
                                                 .json or .html whole, .sse or .events
                                                 streamed (`oracles.events.aws_messages`)
                             <provider>/golden.txt  what we send and what clients get

A case without ``upstream`` files is about requests only.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final
from unittest import mock

from extproc.exchange import events
from extproc.exchange.commands import (
    AnswerBody,
    AnswerHeaders,
    Attempt,
    Complete,
    Respond,
    Route,
)
from extproc.exchange.completion import Completion
from extproc.exchange.exchange import Exchange
from extproc.formats.base import CHAT, no_stream_reader
from extproc.providers import PROVIDERS
from extproc.providers.base import Dialect, Provider
from extproc.runtime import Grant, ModelSpec, Runtime, Snapshot, TargetSpec
from tests.oracles.events import aws_messages

FOLDER: Final = Path(__file__).parent / "cases"
KEY: Final = "sk-cases"

CLIENTS: Final = {
    "openai_chat": "/v1/chat/completions",
    "openai_completions": "/v1/completions",
    "openai_responses": "/v1/responses",
    "anthropic": "/v1/messages",
}
"""The client formats, and where each is served."""

REQUIRED: Final = (
    "plain", "streamed", "tool_call", "tool_call_without_arguments", "error_json",
    "error_not_json", "truncated", "usage_cached",
)  # fmt: skip
"""Cases that every provider format has."""

_TYPES: Final = {
    ".json": "application/json", ".html": "text/html", ".sse": "text/event-stream",
    ".events": "application/vnd.amazon.eventstream",
}  # fmt: skip


def _provider_formats() -> dict[str, Provider]:
    """Return, for each format that is translated to, a provider with no other."""
    found: dict[str, Provider] = {}
    for kind in PROVIDERS.values():
        main = Dialect(kind.format, kind.chat_path, kind.stream_path)
        for one in (main, *kind.others):
            name = one.format.name
            passes_only = one.format.stream_reader is no_stream_reader
            translated_to = name in CLIENTS and not passes_only
            chats = one.format.operation == CHAT
            if name not in found and chats and (one is main or translated_to):
                found[name] = dataclasses.replace(
                    kind, format=one.format, chat_path=one.path,
                    stream_path=one.stream_path, others=(),
                )  # fmt: skip
    return found


PROVIDER_FORMATS: Final = _provider_formats()


@dataclasses.dataclass(frozen=True)
class Upstream:
    """A provider's answer, as the events that it is sent in."""

    content_type: str
    pieces: tuple[bytes, ...]
    status: int = 200
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def streamed(self) -> bool:
        return "stream" in self.content_type

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


@dataclasses.dataclass(frozen=True)
class Case:
    """One folder."""

    operation: str
    name: str
    folder: Path
    told: Mapping[str, Any]
    """What `case.toml` says."""

    def __str__(self) -> str:
        return self.name

    def of(self, table: str, provider: str) -> dict[str, Any]:
        """Return a table of `case.toml` as it holds for answers of `provider`."""
        whole = self.told.get(table, {})
        common = {key: one for key, one in whole.items() if not isinstance(one, dict)}
        own: dict[str, Any] = whole.get(provider, {})
        return common | own

    def request(self, client: str) -> bytes | None:
        """Return the request in a client's format, of this case or the one it names."""
        asks = self.folder.parent / self.told.get("asks", self.name)
        file = asks / f"{client}.json"
        return file.read_bytes() if file.exists() else None

    def second(self, client: str) -> Any:
        """Return the next turn's request, its placeholders not filled in."""
        asks = self.folder.parent / self.told.get("asks", self.name)
        return json.loads((asks / f"{client}.second.json").read_bytes())

    def model(self, provider: str) -> str:
        """Return the model that the provider is asked for."""
        found: str = (_models() | self.told.get("models", {})).get(provider, "any")
        return found

    def upstreams(self, provider: str) -> dict[str, Upstream]:
        """Return a provider's answers, as ``answer`` and ``stream``."""
        found = {}
        headers = self.of("headers", provider)
        for file in sorted((self.folder / provider).glob("upstream.*")):
            match file.suffix:
                case ".events":
                    pieces = tuple(aws_messages(file.read_text().splitlines()))
                case ".sse":
                    blocks = file.read_bytes().split(b"\n\n")
                    assert not blocks[-1], f"{file} does not end in an empty line"
                    pieces = tuple(block + b"\n\n" for block in blocks[:-1])
                case _:
                    pieces = (file.read_bytes(),)
            upstream = Upstream(
                _TYPES[file.suffix], pieces, self.told.get("status", 200), headers
            )
            found["stream" if upstream.streamed else "answer"] = upstream
        return found


@functools.cache
def _models() -> dict[str, str]:
    return tomllib.loads((FOLDER / "models.toml").read_text())


@functools.cache
def cases() -> tuple[Case, ...]:
    """Return every case."""
    return tuple(
        Case(
            file.parent.parent.name,
            file.parent.name,
            file.parent,
            tomllib.loads(file.read_text()),
        )
        for file in sorted(FOLDER.glob("*/*/case.toml"))
    )


def asked_to_stream(request: bytes, client: str) -> bytes:
    """Return the request for a streamed answer, with its usage."""
    more = b',"stream":true}'
    if client in {"openai_chat", "openai_completions"}:
        more = b',"stream":true,"stream_options":{"include_usage":true}}'
    return request.rstrip().removesuffix(b"}").rstrip() + more


@dataclasses.dataclass(frozen=True)
class Asked:
    """What became of a request: an attempt, or our refusal."""

    exchange: Exchange
    attempt: Attempt | None
    refusal: Respond | None
    dropped: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Answered:
    """What the client got."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    record: Completion

    @property
    def streamed(self) -> bool:
        return self.headers["content-type"].startswith("text/event-stream")


@functools.cache
def _runtime(
    provider: str, model: str | None, *, include_usage: bool = True
) -> Runtime:
    spec = TargetSpec(
        provider=provider,
        type=provider,
        cluster=provider,
        authority="provider.test",
        base_path="/v1",
        model=model,
        include_usage=include_usage,
    )
    with mock.patch.dict(PROVIDERS, {provider: PROVIDER_FORMATS[provider]}):
        return Runtime.of(
            Snapshot(
                generation=1,
                grants=(Grant("cases", hashlib.sha256(KEY.encode()).hexdigest()),),
                models=(ModelSpec("*", (spec,)),),
            )
        )


def runtime_of_all(key: str) -> Runtime:
    """Return a runtime with a model for each provider format, of its name."""
    models = tuple(
        ModelSpec(
            name,
            (
                TargetSpec(
                    provider=name, type=name, cluster=name, authority="provider.test",
                    base_path="/v1",
                ),
            ),
        )
        for name in PROVIDER_FORMATS
    )  # fmt: skip
    grant = Grant("bench", hashlib.sha256(key.encode()).hexdigest())
    with mock.patch.dict(PROVIDERS, PROVIDER_FORMATS):
        return Runtime.of(Snapshot(generation=1, grants=(grant,), models=models))


def exchange(provider: str, model: str | None, **more: bool) -> Exchange:
    """Return an exchange whose only target is a provider of this format."""
    runtime = _runtime(provider, model, **more)
    return Exchange(runtime, id="gw-1", started=1_800_000_000.0, now=0.0)


def head(client: str) -> dict[str, str]:
    """Return a request's headers."""
    return {
        ":method": "POST",
        ":path": CLIENTS[client],
        "content-type": "application/json",
        "authorization": f"Bearer {KEY}",
    }


def ask(
    client: str, provider: str, request: bytes, model: str | None, **more: bool
) -> Asked:
    """Play the request half."""
    playing = exchange(provider, model, **more)
    commands = playing.receive(events.RequestHeaders(head(client), end=False), 0.0)
    commands += playing.receive(events.RequestBody(request, end=True), 0.0)
    match commands[0]:
        case Route(chain=(attempt,)):
            (leg,) = playing._request.legs
            return Asked(playing, attempt, None, leg.dropped)
        case Respond() as refusal:
            return Asked(playing, None, refusal)
        case _:
            raise AssertionError(commands)


def answer(
    playing: Exchange, upstream: Upstream, pieces: Iterable[bytes] | None = None
) -> Answered:
    """Play the response half; the body may come in other pieces than the provider's."""
    headers = {
        ":status": str(upstream.status),
        "content-type": upstream.content_type,
        **upstream.headers,
    }
    commands = playing.receive(
        events.ResponseHeaders(
            status=upstream.status,
            headers=headers,
            end=False,
            details="via_upstream",
            attempts=1,
        ),
        0.0,
    )
    for piece in upstream.pieces if pieces is None else pieces:
        commands += playing.receive(events.ResponseBody(piece, end=False), 0.0)
    commands += playing.receive(events.ResponseBody(b"", end=True), 0.0)
    status, body = upstream.status, b""
    (record,) = [one.completion for one in commands if isinstance(one, Complete)]
    for command in commands:
        match command:
            case AnswerHeaders(status=changed, set_headers=put, delete_headers=gone):
                status = changed or status
                headers = {key: one for key, one in headers.items() if key not in gone}
                headers |= dict(put)
            case AnswerBody(data=data):
                body += data
            case _:
                pass
    return Answered(status, headers, body, record)


# ---------------------------------------------------------------- written down


def pretty(body: bytes) -> str:
    """Return JSON as people read it."""
    return json.dumps(json.loads(body), indent=2, ensure_ascii=False)


def request_text(asked: Asked) -> str:
    """Write down what the provider is asked, or why not."""
    if asked.refusal is not None:
        return f"refused: {asked.refusal.status}\n\n{pretty(asked.refusal.body)}\n"
    assert asked.attempt is not None
    lines = [f"POST {asked.attempt.heading.path}"]
    lines += [
        f"{key}: {value}"
        for key, value in asked.attempt.heading.set_headers
        if key not in {"content-type", "accept-encoding"}
    ]
    if asked.dropped:
        lines.append(f"(dropped: {', '.join(asked.dropped)})")
    return "\n".join(lines) + f"\n\n{pretty(asked.attempt.body)}\n"


def answer_text(answered: Answered) -> str:
    """Write down what the client gets."""
    lines = [str(answered.status)]
    lines += [
        f"{key}: {value}"
        for key, value in sorted(answered.headers.items())
        if key != ":status"
    ]
    body = answered.body.decode() if answered.streamed else pretty(answered.body) + "\n"
    return "\n".join(lines) + f"\n\n{body}"
