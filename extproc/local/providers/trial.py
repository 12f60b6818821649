"""Whether a provider works: its address, key, model, a whole answer and a streamed one.

The requests are made and the answers read by the gateway's own core, in this process; what
Envoy does is done by an HTTP client, so a provider is tried before any gateway runs. What
only Envoy or control can do (signatures, tokens that expire) is said to be untried: a
running gateway tries it (`through.py`).
"""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Iterator, Sequence

import certifi
import httpx
import msgspec
from rich import box
from rich.table import Table

from extproc.config.build import build
from extproc.config.models import ModelConfig, TargetConfig
from extproc.config.providers import ProviderConfig
from extproc.config.schema import Config
from extproc.exchange import events
from extproc.exchange.commands import Attempt, Command, Complete, Respond, Route
from extproc.exchange.completion import Completion
from extproc.exchange.exchange import Exchange
from extproc.local.providers.verdict import (
    ANSWER_SECONDS,
    CHECKS,
    LIMIT,
    PROMPT,
    Failed,
    Finding,
    explained,
    until,
    untried,
    words,
)
from extproc.local.providers.way import as_proxy
from extproc.runtime import Grant, Runtime

_KEY = "sk-trial"


def default_model(config: Config, name: str) -> str | None:
    """Return a model that the provider `name` is configured for, or known for."""
    for virtual, model in config.models.items():
        for target in model.targets:
            asked = target.model or virtual
            if target.provider == name and "*" not in asked:
                return asked
    known = config.providers[name].kind.models
    return known[0] if known else None


def direct(
    config: Config, name: str, model: str, *, seconds: float = ANSWER_SECONDS
) -> list[Finding]:
    """Try the provider `name` for `model`, without a gateway.

    Each of the two answers has `seconds`, all of it.
    """
    section = config.providers[name]
    signed = section.kind.aws_service and not section.api_key
    if signed or section.entra or section.google:
        who = "Envoy signs these requests" if signed else "Control fetches its tokens"
        why = (
            f"{who}, which nothing does here: with this configuration in a running "
            "gateway, say its --url, and a key of it in EXTPROC_KEY"
        )
        return [Finding(check, "untried", why) for check in CHECKS]
    trial = _Trial(config, name, model, seconds)
    findings: list[Finding] = []
    try:
        findings += trial.whole()
    except Failed as failed:
        return until(failed)
    return findings + trial.streamed()


class _Trial:
    """One provider and model."""

    def __init__(self, config: Config, name: str, model: str, seconds: float) -> None:
        self._seconds = seconds
        self._section: ProviderConfig = config.providers[name]
        target = TargetConfig(provider=name, model=model)
        alone = config.model_copy(
            update={"models": {"trial": ModelConfig(targets=(target,))}}
        )
        digest = hashlib.sha256(_KEY.encode()).hexdigest()
        self._runtime = Runtime.of(
            build(alone, grants=(Grant("trial", digest),), generation=1, created=0)
        )
        self._model = model

    def whole(self) -> list[Finding]:
        """Ask for a whole answer.

        Raises:
            Failed: address, key, model or answer is not in order.
        """
        status, record, told = self._ask(stream=False)
        if record.outcome != "ok":
            raise self._refusal(status, record, told)
        return [Finding(check, "ok") for check in CHECKS[:4]]

    def streamed(self) -> list[Finding]:
        """Ask for a streamed answer."""
        try:
            _, record, told = self._ask(stream=True)
        except Failed as failed:
            return [Finding("stream", "failed", failed.reason), untried("usage")]
        if not record.streamed_answer:
            reason = "the answer was not streamed"
            return [Finding("stream", "failed", reason), untried("usage")]
        if record.outcome != "ok":
            return [Finding("stream", "failed", words(told)), untried("usage")]
        counted = record.counted
        why = "" if counted else "the stream says nothing of tokens: set include_usage"
        usage = Finding("usage", "ok" if counted else "failed", why)
        return [Finding("stream", "ok"), usage]

    def _ask(self, *, stream: bool) -> tuple[int, _Record, bytes]:
        exchange = Exchange(self._runtime, id="gw-trial", started=0.0, now=0.0)
        head = {
            ":method": "POST",
            ":path": "/v1/chat/completions",
            "content-type": "application/json",
            "authorization": f"Bearer {_KEY}",
        }
        asked = {
            "model": "trial",
            "messages": [{"role": "user", "content": PROMPT}],
            "max_completion_tokens": LIMIT,
        }
        options = {"stream": True, "stream_options": {"include_usage": True}}
        body = msgspec.json.encode(asked | (options if stream else {}))
        commands = exchange.receive(events.RequestHeaders(head, end=False), 0.0)
        commands += exchange.receive(events.RequestBody(body, end=True), 0.0)
        route = next((one for one in commands if isinstance(one, Route)), None)
        if route is None:
            (respond,) = [one for one in commands if isinstance(one, Respond)]
            raise Failed("answer", words(respond.body))
        seen = _Seen()
        with explained(self._seconds, proxied=self._section.proxy is not None):
            for event in self._send(route.chain[0], seen):
                seen.told += exchange.receive(event, 0.0)
        (done,) = [one.completion for one in seen.told if isinstance(one, Complete)]
        record = _Record(done, seen.streamed)
        return seen.status, record, b"".join(_data(one) for one in seen.told)

    def _send(self, attempt: Attempt, seen: _Seen) -> Iterator[events.Event]:
        """Send what Envoy would, and yield what it would hear."""
        section = self._section
        there = section.endpoint
        headers = dict(attempt.heading.set_headers) | section.headers
        key = section.api_key or (section.api_keys[0] if section.api_keys else None)
        if key is not None:
            value = section.kind.credential_prefix + key.get_secret_value()
            headers[section.kind.credential_header] = value
        url = f"{'https' if there.tls else 'http'}://{there.authority}{attempt.heading.path}"
        context = ssl.create_default_context(
            cafile=str(section.ca_file or certifi.where())
        )
        ends = time.monotonic() + self._seconds
        connect = min(self._section.timeouts.connect, self._seconds)
        times = httpx.Timeout(self._seconds, connect=connect)
        with (
            httpx.Client(
                verify=context, timeout=times, proxy=as_proxy(section.proxy)
            ) as client,
            client.stream("POST", url, headers=headers, content=attempt.body) as reply,
        ):
            seen.status = reply.status_code
            kind = reply.headers.get("content-type", "")
            seen.streamed = kind.startswith(section.kind.framing.content_type)
            told = {name.lower(): value for name, value in reply.headers.items()}
            yield events.ResponseHeaders(
                status=reply.status_code,
                headers={":status": str(reply.status_code), **told},
                end=False,
                details="via_upstream",
                attempts=1,
            )
            for data in reply.iter_raw():
                if time.monotonic() > ends:
                    raise httpx.ReadTimeout("it does not end")
                yield events.ResponseBody(data, end=False)
            yield events.ResponseBody(b"", end=True)

    def _refusal(self, status: int, record: _Record, told: bytes) -> Failed:
        """Say which check an answer with an error has failed."""
        said = words(told)
        if status in {401, 403} or record.code == "upstream_auth_error":
            return Failed("key", f"it was refused (status {status})")
        if status == 404 or "model" in said.lower():
            return Failed("model", f"{self._model!r}: {said} (status {status})")
        return Failed("answer", f"{said} (status {status})")


class _Seen:
    """What came while a request was made."""

    def __init__(self) -> None:
        self.status = 0
        self.streamed = False
        self.told: list[Command] = []


class _Record:
    """What the exchange says of itself at its end."""

    def __init__(self, done: Completion, streamed: bool) -> None:
        self.outcome = done.outcome
        self.counted = done.usage is not None and not done.estimated
        self.code = done.error
        self.streamed_answer = streamed


def _data(command: Command) -> bytes:
    found = getattr(command, "data", None) or getattr(command, "body", None)
    return found if isinstance(found, bytes) else b""


def table(findings: Sequence[Finding]) -> Table:
    """Return the findings for people."""
    out = Table(box=box.SIMPLE)
    for column in ("check", "outcome", "reason"):
        out.add_column(column, overflow="fold")
    for one in findings:
        out.add_row(one.check, one.outcome, one.reason)
    return out
