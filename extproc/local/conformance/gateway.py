"""The gateway's core between a client and the mock providers, in this process.

Everything but Envoy and the edge is the real thing: an `Exchange` reads the request and
renders it; a mock, given what Envoy would send it, answers; the exchange translates.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import math
import re
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import msgspec

from extproc.errors import ClientError
from extproc.exchange import events
from extproc.exchange.commands import (
    AnswerBody,
    AnswerHeaders,
    Attempt,
    Command,
    Complete,
    Headers,
    Respond,
    Route,
)
from extproc.exchange.exchange import Exchange
from extproc.exchange.operations import find_operation
from extproc.local.conformance.checks import Wrong
from extproc.local.conformance.dialect import Dialect, cut, decode
from extproc.local.conformance.heard import Heard
from extproc.local.conformance.prompts import Json, Prompt
from extproc.local.mock.anthropic.api import Anthropic
from extproc.local.mock.azure.api import Azure
from extproc.local.mock.bedrock.api import Bedrock
from extproc.local.mock.bedrock.invoke import Invoke
from extproc.local.mock.cohere.api import Cohere
from extproc.local.mock.connection import event_bytes
from extproc.local.mock.gemini.api import Gemini
from extproc.local.mock.gemini.embeddings import Counts
from extproc.local.mock.mistral.api import Mistral
from extproc.local.mock.openai.api import OpenAI
from extproc.local.mock.openai.embeddings import Embeddings
from extproc.local.mock.reply import Provider as Mock, Reply, Request
from extproc.local.mock.services import Services
from extproc.local.mock.state import Memory
from extproc.local.mock.vertex.api import AUDIENCE, Vertex
from extproc.providers import PROVIDERS
from extproc.runtime import Grant, ModelSpec, Runtime, Snapshot, Target, TargetSpec

_KEY: Final = "sk-conformance"
"""The client's; the mocks would refuse it."""
GRANT: Final = Grant("conformance", hashlib.sha256(_KEY.encode()).hexdigest())
"""What every `Runtime` of a run lets in."""
SMALLER: Final = ("mistral", "voyage", "jina", "tei")
"""Providers that are asked for vectors and rankings first; Mistral for chats, too."""
_MOCK_KEYS: Final = ("sk-mock*",)
_CREDENTIALS: Final = frozenset({"authorization", "x-api-key"})
"""What Envoy takes from the client's headers."""

_PROOFS: Final = re.compile(
    rb'"(?:signature|thoughtSignature|encrypted_content)": ?"([^"]{8,})"'
)


_PART: Final = re.compile(rb'\{"bytes":"([^"]*)"')
"""What InvokeModel streams is in base64."""


class Refused(Exception):
    """The gateway refused the request itself."""

    def __init__(self, status: int, field: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.field = field
        """As the client's API spells it; empty when no field was named."""


class Unserved(Wrong):
    """The provider has no such URL."""


class Unreached(Wrong):
    """The provider gave no answer."""


class Gateway:
    """One run: a gateway with every provider behind it, mocked."""

    def __init__(
        self,
        mocks: Mapping[str, Mock] | None = None,
        runtimes: Mapping[str, Runtime] | None = None,
    ) -> None:
        """Start one over `mocks`, by type of provider; None: the native ones' own.

        With `runtimes`, both are by whatever name the provider has there.
        """
        memory = Memory(lambda: 0.0)
        self._mocks = mocks or {
            "openai": OpenAI(memory, _MOCK_KEYS),
            "anthropic": Anthropic(memory, _MOCK_KEYS),
            "gemini": Gemini(memory, _MOCK_KEYS),
            "bedrock": Bedrock(memory, _MOCK_KEYS),
            "azure": Azure(memory, _MOCK_KEYS),
            "azure-v1": Azure(memory, _MOCK_KEYS),
            "vertex": Vertex(memory, _MOCK_KEYS),
            "vertex-project": Vertex(memory, _MOCK_KEYS),
            "bedrock-anthropic": Bedrock(memory, _MOCK_KEYS),
            "vertex-anthropic": Vertex(memory, _MOCK_KEYS),
            "cohere": Cohere(memory, _MOCK_KEYS),
            **dict.fromkeys(SMALLER, Services(memory, _MOCK_KEYS)),
            "mistral": Mistral(memory, _MOCK_KEYS),
        }
        self._parts: Mapping[str, tuple[Mock, ...]] = {}
        if mocks is None:
            services = Services(memory, _MOCK_KEYS)
            self._parts = {
                "openai": (Embeddings(memory, _MOCK_KEYS),),
                "gemini": (Counts(memory, _MOCK_KEYS),),
                "bedrock": (Invoke(memory, _MOCK_KEYS),),
                "bedrock-anthropic": (Invoke(memory, _MOCK_KEYS),),
                "cohere": (services,),
                "mistral": (services,),
            }
        # Control would fetch it.
        token = memory.issue(AUDIENCE, math.inf)
        self._tokens = {"vertex-anthropic": token, "vertex-project": token}
        bases = _BASES if mocks else {**_BASES, **_PREFIXED}
        self._runtimes = runtimes or {
            name: Runtime.of(
                Snapshot(
                    generation=1,
                    grants=(GRANT,),
                    models=(ModelSpec("*", (_target(name, bases),)),),
                )
            )
            for name in self._mocks
        }

    def provider_format(self, client: str, provider: str) -> str:
        """Return the format in which `provider` is asked for a client of this format."""
        target = self._target(provider)
        found = target.provider.dialect(client, only_main=target.spec.only_main)
        return found.format.name if found else ""

    def format_at(self, path: str, provider: str, model: str) -> str:
        """Return the format in which `provider` is asked for what is served at `path`."""
        client = find_operation("POST", path, {}).format
        try:
            return self._target(provider).dialect(client, model).format.name
        except ClientError:
            return ""

    def _target(self, provider: str) -> Target:
        model = self._runtimes[provider].model("any")
        assert model is not None  # noqa: S101 - it serves every name
        return model.targets[0]

    def ask(self, dialect: Dialect, provider: str, model: str, prompt: Prompt) -> Heard:
        """Return what a client hears when it asks `provider` this.

        Raises:
            Refused: the gateway did not send it on.
            Unreached: the provider gave no answer.
        """
        exchange = Exchange(
            self._runtimes[provider], id="gw-conformance", started=0.0, now=0.0
        )
        head = {
            ":method": "POST",
            ":path": dialect.path,
            "content-type": "application/json",
            **dialect.headers(_KEY),
        }
        body = msgspec.json.encode(dialect.spell(prompt, model))
        commands = exchange.receive(events.RequestHeaders(head, end=False), 0.0)
        commands += exchange.receive(events.RequestBody(body, end=True), 0.0)
        if not isinstance(commands[0], Route):
            raise _refused(lambda said: dialect.read(said).error, commands, provider)
        attempt = commands[0].chain[0]
        answer = list(self._answer(provider, attempt, head))
        told = [one for event in answer for one in exchange.receive(event, 0.0)]
        return _hear(dialect, attempt, answer, told)

    def post(self, provider: str, path: str, said: Json) -> Json:
        """Return what is answered where no chat is asked for.

        Raises:
            Refused: the gateway did not send it on.
            Unserved: the provider has nothing of the kind.
            Wrong: the provider did not take it.
        """
        exchange = Exchange(
            self._runtimes[provider], id="gw-conformance", started=0.0, now=0.0
        )
        head = {
            ":method": "POST",
            ":path": path,
            "content-type": "application/json",
            "authorization": f"Bearer {_KEY}",
        }
        body = msgspec.json.encode(said)
        told = exchange.receive(events.RequestHeaders(head, end=False), 0.0)
        told += exchange.receive(events.RequestBody(body, end=True), 0.0)
        if not isinstance(told[0], Route):
            raise _refused(_message, told, provider)
        for event in self._answer(provider, told[0].chain[0], head):
            told += exchange.receive(event, 0.0)
        (change,) = [one for one in told if isinstance(one, AnswerHeaders)]
        answer = decode(
            b"".join(one.data for one in told if isinstance(one, AnswerBody))
        )
        if change.status == 404:
            raise Unserved(_message(answer))
        if change.status is not None and change.status >= 400:
            raise Wrong(f"an error with status {change.status}: {_message(answer)}")
        return answer

    def _answer(
        self, provider: str, attempt: Attempt, client: Mapping[str, str]
    ) -> Iterator[events.ResponseHeaders | events.ResponseBody]:
        kind = self._target(provider).provider
        sent = {
            name: value
            for name, value in client.items()
            if not name.startswith(":")
            and name not in _CREDENTIALS
            and name not in attempt.heading.delete_headers
        }
        sent |= dict(attempt.heading.set_headers)
        if provider in self._tokens:
            sent["authorization"] = f"Bearer {self._tokens[provider]}"
        else:
            key = f"sk-mock-{_type(provider)}"
            sent[kind.credential_header] = f"{kind.credential_prefix}{key}"
        request = Request(
            "POST", attempt.heading.path, tuple(sent.items()), attempt.body
        )
        owners = (one for one in self._parts.get(provider, ()) if one.owns(request))
        reply = next(owners, self._mocks[provider]).respond(request)
        yield events.ResponseHeaders(
            status=reply.status,
            headers={
                ":status": str(reply.status),
                "content-type": reply.content_type,
                **dict(reply.headers),
            },
            end=False,
            details="via_upstream",
            attempts=1,
        )
        if isinstance(reply, Reply):
            yield events.ResponseBody(reply.body, end=True)
            return
        for event in itertools.islice(reply.events, reply.conduct.truncate_after):
            yield events.ResponseBody(event_bytes(event), end=False)
        yield events.ResponseBody(b"", end=True)


_SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "azure": {"api_version": "2024-10-21"},
    "vertex-anthropic": {"project": "p-1", "location": "us-east5"},
    "vertex-project": {"project": "p-1", "location": "us-east5"},
}
_VARIANTS: Final = {"azure-v1": "azure", "vertex-project": "vertex"}
"""Other addresses of a provider, and whose."""
_BASES: Final = {"azure": "https://mock.openai.azure.com/azure"}
"""Of providers whose accounts have one each; under `/azure`, the mock's own prefix."""
_PREFIXED: Final = {
    "cohere": "https://api.cohere.com/cohere/v2",
    "mistral": "https://api.mistral.ai/mistral/v1",
    "voyage": "https://api.voyageai.com/voyage/v1",
    "jina": "https://api.jina.ai/jina/v1",
    "tei": "http://tei.test/tei",
}
"""Where our own mocks of several small services are found under the name of each."""


def _type(name: str) -> str:
    return _VARIANTS.get(name, name)


def _target(name: str, bases: Mapping[str, str]) -> TargetSpec:
    type_ = _type(name)
    base = urllib.parse.urlsplit(bases.get(type_, PROVIDERS[type_].base_url))
    return TargetSpec(
        provider=name,
        type=type_,
        cluster=name,
        authority=base.netloc,
        base_path=base.path,
        settings=tuple(_SETTINGS.get(name, {}).items()),
    )


def _message(body: Json) -> str:
    """Return what an error says, in any API's shape."""
    error = body.get("error")
    return str(error["message"] if isinstance(error, dict) else body.get("message"))


def _refused(
    read: Callable[[Json], str], commands: list[Command], provider: str
) -> Refused:
    (respond,) = [one for one in commands if isinstance(one, Respond)]
    (record,) = [one.completion for one in commands if isinstance(one, Complete)]
    field = record.skipped[0].partition(":")[2] if record.skipped else ""
    body = decode(respond.body)
    if field in {"", "None"}:
        # Where no target is able to, routing refuses before anything is rendered.
        field = body["error"].get("param") or ""
    # A row names its provider and field already; Anthropic's message begins with one.
    reason = read(body).replace(f" (provider {provider})", "")
    reason = reason.removeprefix(f"{field}: ")
    return Refused(respond.status, field, reason)


def _hear(
    dialect: Dialect,
    attempt: Attempt,
    answer: list[events.ResponseHeaders | events.ResponseBody],
    told: list[Command],
) -> Heard:
    """Read the client's answer out of what the exchange told Envoy to send."""
    head = answer[0]
    assert isinstance(head, events.ResponseHeaders)  # noqa: S101 - we made it
    (change,) = [one for one in told if isinstance(one, AnswerHeaders)]
    (record,) = [one.completion for one in told if isinstance(one, Complete)]
    headers = _changed(head.headers, change)
    raw = b"".join(one.data for one in told if isinstance(one, AnswerBody))
    if headers["content-type"].startswith("text/event-stream"):
        heard = dialect.read_stream(cut(raw))
    else:
        heard = dialect.read(decode(raw))
    upstream = b"".join(
        one.data for one in answer if isinstance(one, events.ResponseBody)
    )
    upstream = _PART.sub(lambda part: base64.b64decode(part[1]), upstream)
    heard.status = change.status or head.status
    heard.retry_after = headers.get("retry-after", "")
    heard.sent = decode(attempt.body)
    heard.proofs = tuple(found.decode() for found in _PROOFS.findall(upstream))
    heard.dropped = record.dropped
    return heard


def _changed(headers: Mapping[str, str], change: AnswerHeaders) -> dict[str, str]:
    gone = set(change.delete_headers)
    kept = {name: value for name, value in headers.items() if name not in gone}
    added: Headers = change.set_headers
    return kept | dict(added)
