"""Whether a provider works: its address, key, model, a whole answer and a streamed one.

The requests are made and the answers read by the gateway's own core, in this process; what
Envoy does is done by an HTTP client, so a provider is tried before any gateway runs. What
only Envoy or control can do (signatures, tokens that expire) is said to be untried: a
running gateway tries it (`through`).
"""

from __future__ import annotations

import contextlib
import hashlib
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from typing import Literal

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
from extproc.local.providers.way import as_proxy
from extproc.runtime import Grant, Runtime

CHECKS = ("address", "key", "model", "answer", "stream", "usage")
"""In this order: a failure leaves those behind it untried, but for the last two."""

ANSWER_SECONDS = 60.0
"""For one answer, the whole of it. A model that thinks, or that has to be loaded first, takes
its time; whoever knows that it does may say so."""

_KEY = "sk-trial"
_PROMPT = "Say OK."
_LIMIT = 512
"""Tokens: enough for a model that thinks before it says two letters."""


class Finding(msgspec.Struct, frozen=True):
    """How one check fared."""

    check: str
    outcome: Literal["ok", "failed", "untried"]
    reason: str = ""


class _Failed(Exception):
    """A check failed; nothing behind it can be tried."""

    def __init__(self, check: str, reason: str) -> None:
        super().__init__(reason)
        self.check = check
        self.reason = reason


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
        why = "Envoy signs, or control fetches tokens: try a running gateway (--url)"
        return [Finding(check, "untried", why) for check in CHECKS]
    trial = _Trial(config, name, model, seconds)
    findings: list[Finding] = []
    try:
        findings += trial.whole()
    except _Failed as failed:
        return _until(failed)
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
            _Failed: address, key, model or answer is not in order.
        """
        status, record, told = self._ask(stream=False)
        if record.outcome != "ok":
            raise self._refusal(status, record, told)
        return [Finding(check, "ok") for check in CHECKS[:4]]

    def streamed(self) -> list[Finding]:
        """Ask for a streamed answer."""
        try:
            _, record, told = self._ask(stream=True)
        except _Failed as failed:
            return [Finding("stream", "failed", failed.reason), _untried("usage")]
        if not record.streamed_answer:
            reason = "the answer was not streamed"
            return [Finding("stream", "failed", reason), _untried("usage")]
        if record.outcome != "ok":
            return [Finding("stream", "failed", _words(told)), _untried("usage")]
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
            "messages": [{"role": "user", "content": _PROMPT}],
            "max_completion_tokens": _LIMIT,
        }
        options = {"stream": True, "stream_options": {"include_usage": True}}
        body = msgspec.json.encode(asked | (options if stream else {}))
        commands = exchange.receive(events.RequestHeaders(head, end=False), 0.0)
        commands += exchange.receive(events.RequestBody(body, end=True), 0.0)
        route = next((one for one in commands if isinstance(one, Route)), None)
        if route is None:
            (respond,) = [one for one in commands if isinstance(one, Respond)]
            raise _Failed("answer", _words(respond.body))
        seen = _Seen()
        with _explained(self._seconds, proxied=self._section.proxy is not None):
            for event in self._send(route.chain[0], seen):
                seen.told += exchange.receive(event, 0.0)
        (done,) = [one.completion for one in seen.told if isinstance(one, Complete)]
        record = _Record(done, seen.streamed)
        return seen.status, record, b"".join(_data(one) for one in seen.told)

    def _send(self, attempt: Attempt, seen: _Seen) -> Iterator[events.Event]:
        """Send what Envoy would, and yield what it would hear."""
        section = self._section
        there = section.endpoint
        headers = dict(attempt.set_headers) | section.headers
        key = section.api_key or (section.api_keys[0] if section.api_keys else None)
        if key is not None:
            value = section.kind.credential_prefix + key.get_secret_value()
            headers[section.kind.credential_header] = value
        url = f"{'https' if there.tls else 'http'}://{there.authority}{attempt.path}"
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

    def _refusal(self, status: int, record: _Record, told: bytes) -> _Failed:
        """Say which check an answer with an error has failed."""
        words = _words(told)
        if status in {401, 403} or record.code == "upstream_auth_error":
            return _Failed("key", f"it was refused (status {status})")
        if status == 404 or "model" in words.lower():
            return _Failed("model", f"{self._model!r}: {words} (status {status})")
        return _Failed("answer", f"{words} (status {status})")


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


def _words(body: bytes) -> str:
    """Return the words of an error as OpenAI spells it, whole or in a stream's event."""
    start = body.rfind(b'{"error"')
    text = body[start:].split(b"\n", 1)[0] if start >= 0 else b"{}"
    try:
        said = msgspec.json.decode(text, type=dict[str, dict[str, object]])
    except msgspec.MsgspecError:
        said = {}
    return str(said.get("error", {}).get("message") or "the answer cannot be read")


@contextlib.contextmanager
def _explained(seconds: float, *, proxied: bool = False) -> Iterator[None]:
    """Turn what an HTTP client runs into into the check that it fails.

    Raises:
        _Failed: always, where anything is raised inside.
    """
    try:
        yield
    except httpx.HTTPError as error:
        raise _Failed(*_explain(error, seconds, proxied=proxied)) from error


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


def _until(failed: _Failed) -> list[Finding]:
    """Return what is known where a check failed: those before it hold."""
    place = CHECKS.index(failed.check)
    out = [Finding(check, "ok") for check in CHECKS[:place]]
    out.append(Finding(failed.check, "failed", failed.reason))
    return out + [_untried(check) for check in CHECKS[place + 1 :]]


def _untried(check: str) -> Finding:
    return Finding(check, "untried")


def through(
    url: str, key: str, model: str, *, seconds: float = ANSWER_SECONDS
) -> list[Finding]:
    """Try `model` through a running gateway, as an application would."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": _PROMPT}],
        "max_completion_tokens": _LIMIT,
    }
    target = url.rstrip("/") + "/v1/chat/completions"
    headers = {"authorization": f"Bearer {key}"}
    try:
        with _explained(seconds), httpx.Client(timeout=seconds) as client:
            whole = client.post(target, json=body, headers=headers)
            _judge(whole.status_code, whole.content, model)
            options = {"stream": True, "stream_options": {"include_usage": True}}
            streamed = client.post(target, json=body | options, headers=headers)
    except _Failed as failed:
        return _until(failed)
    done = [Finding(check, "ok") for check in CHECKS[:4]]
    if streamed.status_code != 200 or b"data: [DONE]" not in streamed.content:
        reason = _words(streamed.content)
        return [*done, Finding("stream", "failed", reason), _untried("usage")]
    counted = b'"usage":{' in streamed.content.replace(b" ", b"")
    usage = Finding("usage", "ok" if counted else "failed")
    return [*done, Finding("stream", "ok"), usage]


def _judge(status: int, body: bytes, model: str) -> None:
    if status == 200:
        return
    words = _words(body)
    if status in {401, 403}:
        raise _Failed("key", f"the gateway's own key is refused: {words}")
    if b"upstream_auth_error" in body:
        raise _Failed("key", words)
    if status == 404:
        raise _Failed("model", f"{model!r}: {words}")
    raise _Failed("answer", f"{words} (status {status})")


def table(findings: Sequence[Finding]) -> Table:
    """Return the findings for people."""
    out = Table(box=box.SIMPLE)
    for column in ("check", "outcome", "reason"):
        out.add_column(column, overflow="fold")
    for one in findings:
        out.add_row(one.check, one.outcome, one.reason)
    return out
