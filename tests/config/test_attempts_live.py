"""One request becomes attempts, in a real Envoy: who gets what, and what comes back."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from typing import Any

import httpx
import pytest

from extproc.config.compile import write_files
from extproc.local.envoy import Admin

pytestmark = pytest.mark.envoy


def target(cluster: str, **rendering: Any) -> dict[str, Any]:
    return {
        "cluster": cluster,
        "rendering": {
            "path": "/v1/chat/completions",
            "host": f"{cluster}.example",
            "set": {"content-type": "application/json"},
            "del": [],
            "body": f'{{"for":"{cluster}"}}',
            **rendering,
        },
    }


def post(rig: Any, *chain: dict[str, Any], **headers: str) -> httpx.Response:
    client: httpx.Client
    with rig.gateway.client() as client:
        return client.post(
            "/v1/chat/completions",
            json={"chain": chain},
            headers={k.replace("_", "-"): v for k, v in headers.items()},
        )


def error(response: httpx.Response) -> Any:
    assert response.headers["content-type"] == "application/json"
    return response.json()["error"]


def test_a_provider_receives_its_rendering_and_its_own_credential(rig):
    answer = post(rig, target("alpha"))
    assert (answer.status_code, answer.json()) == (200, {})
    [got] = rig.alpha.received
    assert got.path == "/v1/chat/completions"
    assert got.body == b'{"for":"alpha"}'
    assert got.headers["content-length"] == str(len(got.body))
    assert got.headers["host"] == "alpha.example"
    assert got.headers["authorization"] == "Bearer sk-alpha"
    assert got.headers["openai-organization"] == "org-ours"


def test_nothing_of_the_callers_or_of_ours_reaches_a_provider(rig):
    answer = post(
        rig,
        target("beta"),
        authorization="Bearer sk-caller",
        x_api_key="sk-caller",
        api_key="sk-caller",
        x_goog_api_key="sk-caller",
        proxy_authorization="Basic c2s=",
        cookie="session=1",
        x_envoy_max_retries="7",
        x_envoy_upstream_rq_timeout_ms="1",
        x_gw_retry="1",
        x_extproc_anything="1",
        x_forwarded_for="9.9.9.9",
        x_real_ip="9.9.9.9",
        x_stainless_lang="python",
        openai_organization="org-theirs",
        openai_project="theirs",
        origin="https://app.example",
        referer="https://app.example",
        traceparent="00-1-1-01",
        baggage="user=1",
        x_request_id="theirs",
    )
    [got] = rig.beta.received
    assert got.headers.pop("x-api-key") == "sk-beta"
    # A random number that Envoy made; the client is given it too.
    assert got.headers.pop("x-request-id") == answer.headers["x-request-id"] != "theirs"
    assert set(got.headers) == {
        "host", "content-type", "content-length", "accept", "accept-encoding",
        "user-agent",
    }  # fmt: skip


def test_what_a_provider_says_to_its_direct_callers_is_dropped(rig):
    rig.alpha.headers = {
        "Set-Cookie": "a=b",
        "Server": "cloudflare",
        "CF-Ray": "1",
        "Via": "1.1 x",
        "Alt-Svc": "h3",
        "Strict-Transport-Security": "max-age=1",
        "NEL": "{}",
        "Report-To": "{}",
        "OpenAI-Organization": "org-ours",
        "X-RateLimit-Remaining-Tokens": "1",
        "Anthropic-RateLimit-Tokens-Limit": "1",
        "Access-Control-Allow-Origin": "*",
        "X-Envoy-Upstream-Service-Time": "1",
        "X-GW-Retry": "1",
        "X-Request-Id": "theirs",
        "OpenAI-Processing-MS": "12",
        "Retry-After": "7",
    }
    answer = post(rig, target("alpha"))
    assert answer.headers.pop("x-request-id") != "theirs"
    assert answer.headers.pop("x-upstream-request-id") == "theirs"
    assert answer.headers.pop("x-extproc-provider") == "alpha"
    assert answer.headers.pop("server") == "extproc"
    assert set(answer.headers) == {
        "date", "content-type", "transfer-encoding", "retry-after",
        "openai-processing-ms",
    }  # fmt: skip


@pytest.mark.parametrize("status", [429, 500, 502, 503, 529])
def test_the_next_provider_answers_and_sees_nothing_of_the_first(rig, status):
    rig.alpha.status = status
    first = target("alpha", set={"content-type": "text/x", "x-first": "1"})
    second = target(
        "beta", path="/v1/messages", set={"x-second": "1"}, **{"del": ["x-first"]}
    )
    answer = post(rig, first, second)
    assert answer.status_code == 200
    [one], [two] = rig.alpha.received, rig.beta.received
    assert (one.body, two.body) == (b'{"for":"alpha"}', b'{"for":"beta"}')
    assert (two.path, two.headers["host"]) == ("/v1/messages", "beta.example")
    assert two.headers["x-api-key"] == "sk-beta"
    assert two.headers["x-second"] == "1"
    assert not {"authorization", "x-first"} & set(two.headers)
    assert "x-api-key" not in one.headers


@pytest.mark.parametrize("first", ["refusing", "lost"])
def test_an_unreachable_provider_is_passed_over(rig, first):
    answer = post(rig, target(first), target("alpha"))
    assert (answer.status_code, len(rig.alpha.received)) == (200, 1)


def test_a_silent_provider_is_passed_over(rig):
    rig.alpha.seconds = 1.0
    answer = post(rig, target("alpha"), target("beta"))
    assert (answer.status_code, len(rig.beta.received)) == (200, 1)


def test_a_provider_that_refuses_ratelimited_retries_is_passed_over(rig):
    rig.alpha.status = 429
    rig.alpha.headers = {"x-envoy-ratelimited": "true"}
    assert post(rig, target("alpha"), target("beta")).status_code == 200


def test_the_last_providers_own_error_is_passed_on(rig):
    rig.alpha.status = 429
    rig.alpha.headers = {"retry-after": "7"}
    answer = post(rig, target("alpha"))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.content == b"{}"


@pytest.mark.parametrize("cluster", ["refusing", "lost"])
def test_no_answer_is_an_error_in_the_clients_dialect_not_the_providers(rig, cluster):
    answer = post(rig, target(cluster, path="/v1/messages"))
    assert answer.status_code == 503
    assert error(answer) == {
        "message": "The provider could not be reached.",
        "type": "api_error",
        "param": None,
        "code": "upstream_unreachable",
    }


def test_silence_is_a_504(rig):
    rig.alpha.seconds = 1.0
    answer = post(rig, target("alpha"))
    assert answer.status_code == 504
    assert error(answer)["code"] == "upstream_timeout"


def test_without_a_chain_nothing_is_sent_anywhere(rig):
    answer = post(rig)
    assert answer.status_code == 503
    assert error(answer)["code"] == "gateway_unavailable"
    assert not rig.alpha.received
    assert not rig.beta.received


def test_what_the_worker_says_itself_is_untouched(rig):
    body = '{"error": {"message": "100 %REQ(x)% of it"}}'
    say = {"status": 403, "details": "gw_forbidden", "body": body}
    with rig.gateway.client() as client:
        answer = client.post("/v1/chat/completions", json={"say": say})
    assert (answer.status_code, answer.text) == (403, body)


def test_a_chunked_body_over_the_limit_is_refused(rig):
    def parts():
        yield json.dumps({"chain": [target("alpha")]})[:-1].encode()
        for _ in range(20):
            yield b" " * 65536
        yield b"}"

    with rig.gateway.client() as client:
        answer = client.post("/v1/chat/completions", content=parts())
    assert answer.status_code == 413
    assert error(answer)["code"] == "request_too_large"
    assert not rig.alpha.received


def test_a_body_of_nearly_the_limit_can_be_retried(rig):
    rig.alpha.status = 500
    big = "x" * 400_000
    with rig.gateway.client() as client:
        chain = [target("alpha", body=big), target("beta", body=big)]
        answer = client.post("/v1/chat/completions", json={"chain": chain})
    assert answer.status_code == 200
    assert rig.beta.received[0].body == big.encode()


def test_a_rendering_may_be_larger_than_any_request(rig):
    rig.alpha.status = 500
    chain = [
        {**target(name, body="x" * 1024), "times": 1900} for name in ("alpha", "beta")
    ]
    assert post(rig, *chain).status_code == 200
    assert [len(p.received[0].body) for p in (rig.alpha, rig.beta)] == [1_945_600] * 2


def test_admin_tells_a_name_that_was_never_resolved(rig):
    async def look():
        async with Admin(rig.gateway.layout.admin) as admin:
            return await admin.clusters(), await admin.resolved()

    known, resolved = asyncio.run(look())
    assert known == {
        "access_log",
        "sidecar",
        "none",
        "alpha",
        "beta",
        "refusing",
        "lost",
    }
    assert resolved == {"access_log", "sidecar", "alpha", "beta", "refusing"}


def test_a_rotated_credential_is_used_without_a_restart(rig):
    files, directory = rig.gateway.files, rig.gateway.layout.xds
    rotated = {
        name: content.replace(b"sk-alpha", b"sk-rotated")
        for name, content in files.secrets.items()
    }
    seen = ""
    try:
        changed = write_files(dataclasses.replace(files, secrets=rotated), directory)
        (name,) = changed
        assert name.startswith("sds-alpha-")
        deadline = time.monotonic() + 5
        while seen != "Bearer sk-rotated":
            assert time.monotonic() < deadline
            assert post(rig, target("alpha")).status_code == 200
            seen = rig.alpha.received[-1].headers["authorization"]
    finally:
        write_files(files, directory)
        while seen != "Bearer sk-alpha":
            post(rig, target("alpha"))
            seen = rig.alpha.received[-1].headers["authorization"]
