"""Whether a provider works through a running gateway, asked as an application would."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping

import httpx

from extproc import bounded
from extproc.config.schema import Config
from extproc.local.providers.verdict import (
    ANSWER_SECONDS,
    CHECKS,
    LIMIT,
    MOST_BYTES,
    PROMPT,
    Failed,
    Finding,
    explained,
    until,
    untried,
    words,
)


def virtual_model(config: Config, name: str, asked: str) -> str:
    """Return what a gateway of `config` is asked for, that the provider `name` may answer.

    The models that it is the first to serve come first.
    """
    found: list[tuple[int, str]] = []
    for virtual, model in config.models.items():
        for place, target in enumerate(model.targets):
            if target.provider == name and (target.model or virtual) in {asked, "*"}:
                found.append((place, virtual.replace("*", asked)))
    return min(found, default=(0, f"{name}/{asked}"))[1]


def through(
    url: str,
    key: str,
    model: str,
    *,
    provider: str | None = None,
    seconds: float = ANSWER_SECONDS,
) -> list[Finding]:
    """Try `model` through a running gateway, as an application would.

    An answer of anybody but `provider` tells nothing of it; None: whoever answers.
    """
    body = {
        "model": model,
        "messages": [{"role": "user", "content": PROMPT}],
        "max_completion_tokens": LIMIT,
    }
    target = url.rstrip("/") + "/v1/chat/completions"
    headers = {"authorization": f"Bearer {key}", **bounded.PLAIN}
    try:
        with explained(seconds), httpx.Client(timeout=seconds) as client:
            ask = functools.partial(_ask, client, target, headers, seconds=seconds)
            _judge(ask(body), model, provider)
            options = {"stream": True, "stream_options": {"include_usage": True}}
            streamed = ask(body | options)
    except Failed as failed:
        return until(failed)
    done = [Finding(check, "ok") for check in CHECKS[:4]]
    if streamed.status_code != 200 or b"data: [DONE]" not in streamed.content:
        reason = words(streamed.content)
        return [*done, Finding("stream", "failed", reason), untried("usage")]
    counted = b'"usage":{' in streamed.content.replace(b" ", b"")
    usage = Finding("usage", "ok" if counted else "failed")
    return [*done, Finding("stream", "ok"), usage]


def _ask(
    client: httpx.Client,
    target: str,
    headers: Mapping[str, str],
    body: Mapping[str, object],
    *,
    seconds: float,
) -> httpx.Response:
    ends = time.monotonic() + seconds
    with client.stream("POST", target, json=body, headers=headers) as answer:
        content = bounded.read(answer, most=MOST_BYTES, ends=ends)
    return httpx.Response(answer.status_code, headers=answer.headers, content=content)


def _judge(answer: httpx.Response, model: str, provider: str | None) -> None:
    body, status = answer.content, answer.status_code
    who = answer.headers.get("x-extproc-provider")
    if status == 200:
        if provider not in {None, who}:
            raise Failed(
                "answer",
                f"{who or 'somebody else'} has answered {model!r}: say a --model that "
                f"{provider} alone serves",
            )
        return
    said = words(body)
    if b"upstream_auth_error" in body:
        raise Failed("key", said)
    if b"upstream_unreachable" in body:
        raise Failed("address", said)
    if status in {401, 403}:
        raise Failed("key", f"the gateway's own key is refused: {said}")
    if status == 404 or (status == 400 and "model" in said.lower()):
        raise Failed("model", f"{model!r}: {said}")
    raise Failed("answer", f"{said} (status {status})")
