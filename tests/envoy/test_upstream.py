"""What reaches a provider, and what of it comes back: bytes, headers, credentials."""

from __future__ import annotations

import gzip
import json
import time

import brotli
import httpx
import pytest
import zstandard

from tests.harness import BEDROCK, KEY, NARROW_KEY, running

pytestmark = pytest.mark.envoy

CHAT = "/v1/chat/completions"
BODY = (
    b' {"model" : "gpt-4o","messages":[{"role":"user","content":"Hi \\u00e9 \xc3\xa9"}],'
    b'\n  "temperature":0.50, "logit_bias":{"50256" : -100} }'
)


def post(peers, body=BODY, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return peers.http.post(
        CHAT, content=body, headers={"content-type": "application/json", **named}
    )


def reached(peers):
    (request,) = peers.mock.requests()
    return request


def test_the_clients_bytes_reach_the_provider_as_they_came(peers):
    assert post(peers).status_code == 200
    request = reached(peers)
    assert request["body"] == BODY
    assert request["headers"]["content-length"] == str(len(BODY))
    assert request["path"] == CHAT


def test_what_one_has_asked_is_asked_again_for_another(peers):
    """No answer is kept, so nobody gets one that was made for somebody else."""
    for key in (KEY, NARROW_KEY, KEY):
        assert post(peers, authorization=f"Bearer {key}").status_code == 200
    assert [request["body"] for request in peers.mock.requests()] == [BODY] * 3


def test_only_the_model_changes_where_it_maps(peers):
    body = BODY.replace(b'"gpt-4o"', b'"mapped"')
    assert post(peers, body).status_code == 200
    assert reached(peers)["body"] == BODY.replace(b'"gpt-4o"', b'"gpt-4o-mini"')


def test_a_stream_is_asked_for_its_usage_and_nothing_else_changes(peers):
    body = BODY.replace(b'"temperature"', b'"stream":true,"temperature"')
    text = post(peers, body).text
    sent = reached(peers)["body"]
    added = b'"stream_options":{"include_usage":true},'
    assert sent.replace(added, b"") == body
    assert '"usage":{' not in text.replace(" ", "")
    assert text.endswith("data: [DONE]\n\n")


def test_the_providers_answer_comes_back_as_it_is(peers):
    through = post(peers)
    straight = httpx.post(
        peers.mock.url + CHAT,
        content=BODY,
        headers={
            "authorization": "Bearer sk-mock-x",
            "content-type": "application/json",
        },
    )
    ours, theirs = through.json(), straight.json()
    assert ours.pop("created") - theirs.pop("created") < 5
    assert ours == theirs


SQUEEZE = {
    "gzip": gzip.compress,
    "br": brotli.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("coding", SQUEEZE)
def test_a_compressed_request_reaches_the_provider_plain(peers, coding):
    assert (
        post(peers, SQUEEZE[coding](BODY), content_encoding=coding).status_code == 200
    )
    request = reached(peers)
    assert request["body"] == BODY
    assert "content-encoding" not in request["headers"]


@pytest.mark.parametrize("size", [100_000, 5_000_000, 31_000_000])
def test_large_bodies_arrive_whole(peers, size):
    url = "data:image/png;base64," + "iVBORw0KGgo" + "A" * (size // 4 * 4 + 1)
    parts = [{"type": "image_url", "image_url": {"url": url}}]
    body = json.dumps(
        {"model": "gpt-4o", "messages": [{"role": "user", "content": parts}]}
    ).encode()
    assert post(peers, body).status_code == 200
    assert reached(peers)["body"] == body


STRANGE = {
    "authorization": f"Bearer {KEY}",
    "x-api-key": "sk-ant-somebody-elses",
    "api-key": "azure-key",
    "x-goog-api-key": "google-key",
    "cookie": "session=secret",
    "openai-organization": "org-of-the-client",
    "openai-project": "project-of-the-client",
    "x-envoy-max-retries": "50",
    "x-envoy-upstream-rq-timeout-ms": "1",
    "x-gw-internal": "1",
    "x-extproc-anything": "1",
    "x-forwarded-for": "203.0.113.9",
    "x-forwarded-host": "evil.example",
    "forwarded": "for=203.0.113.9",
    "x-real-ip": "203.0.113.9",
    "anthropic-version": "1999-01-01",
    "proxy-authorization": "Basic eDp5",
}


@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5"])
def test_no_internal_header_and_no_other_credential_reaches_a_provider(peers, model):
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "x"}]})
    assert post(peers, body.encode(), **STRANGE).status_code == 200
    headers = reached(peers)["headers"]
    credential = "authorization" if model == "gpt-4o" else "x-api-key"
    assert headers.pop(credential).endswith("sk-mock-provider-secret")
    if model == "gpt-4o":
        assert "anthropic-version" not in headers
    else:
        assert headers.pop("anthropic-version") == "2023-06-01"
    for name in STRANGE:
        assert name not in headers, f"{name} reached the provider"
    assert not [n for n in headers if n.startswith(("x-envoy", "x-gw", "x-extproc"))]
    assert KEY not in str(headers)


def test_what_a_failed_attempt_set_does_not_reach_the_next_provider(peers):
    """The first target fails, the second is of another format: one request, two worlds."""
    say = f"[[mock: fail-first n=1 key={time.monotonic_ns()} status=500]] hello"
    body = {"model": "both", "messages": [{"role": "user", "content": say}]}
    answer = peers.http.post(CHAT, json=body)
    assert answer.status_code == 200
    assert answer.json()["object"] == "chat.completion"
    first, second = peers.mock.requests()
    assert (first["path"], second["path"]) == (CHAT, "/v1/messages")
    assert first["headers"]["authorization"] == "Bearer sk-mock-provider-secret"
    assert "authorization" not in second["headers"]
    assert second["headers"]["x-api-key"] == "sk-mock-provider-secret"
    assert json.loads(second["body"])["max_tokens"] == 4096


def test_no_secret_of_a_provider_is_on_the_way_back(peers):
    text = "[[mock: headers set-cookie=a openai-organization=org-1 x-envoy-x=1]]"
    answer = post(peers, BODY.replace(b"Hi ", text.encode()))
    for name in ("set-cookie", "openai-organization", "x-envoy-x"):
        assert name not in answer.headers
    assert not [n for n in answer.headers if n.startswith(("x-envoy", "x-gw"))]
    assert answer.headers["server"] == "extproc"


def test_every_answer_has_the_gateways_request_id(peers):
    ids = {post(peers).headers["x-request-id"] for _ in range(2)}
    ids.add(peers.http.get("/v1/nothing").headers["x-request-id"])
    ids.add(post(peers, b"{").headers["x-request-id"])
    assert len(ids) == 4
    assert not [i for i in ids if i.startswith("req_mock")], "the provider's own"


SERVED = {
    "gpt-4o": ("openai", "req_mock"),
    "claude-sonnet-4-5": ("anthropic", "req_"),
    "gemini-2.5-flash": ("gemini", None),
    BEDROCK: ("bedrock", ""),
}


@pytest.mark.parametrize("model", SERVED)
@pytest.mark.parametrize("text", ["Hi", "[[mock: status=400]]"])
def test_who_answered_is_told_and_under_which_id(peers, model, text):
    provider, prefix = SERVED[model]
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    answer = peers.http.post(CHAT, json=body)
    assert answer.headers["x-extproc-provider"] == provider
    if prefix is None:
        assert "x-upstream-request-id" not in answer.headers
    else:
        assert answer.headers["x-upstream-request-id"].startswith(prefix)
        assert answer.headers["x-upstream-request-id"] != answer.headers["x-request-id"]


def test_what_was_dropped_is_reported(peers):
    body = {
        "model": "claude-sonnet-4-5",
        "messages": [{"role": "user", "content": "Hi"}],
        "seed": 7,
    }
    answer = peers.http.post(CHAT, json=body)
    assert answer.headers["x-extproc-dropped"] == "seed"


@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5"])
def test_events_are_forwarded_as_they_come(peers, model):
    """The first words are here long before the last: nothing waits for the end."""
    say = "[[mock: stall-mid-stream after=5 seconds=0.6]] one two three"
    body = {
        "model": model,
        "stream": True,
        "messages": [{"role": "user", "content": say}],
    }
    with peers.http.stream("POST", CHAT, json=body) as answer:
        arrivals = [time.monotonic() for _ in answer.iter_raw()]
    assert arrivals[-1] - arrivals[0] > 0.5


@pytest.mark.parametrize("split", ["byte", "3", "crlf", "cr"])
@pytest.mark.parametrize("model", ["gpt-4o", "claude-sonnet-4-5"])
def test_a_stream_is_the_same_however_the_provider_cuts_it(peers, model, split):
    def chunks(directive):
        body = {
            "model": model,
            "stream": True,
            "messages": [
                {"role": "user", "content": f'[[mock: answer="so it is"]]{directive}'}
            ],
        }
        text = peers.http.post(CHAT, json=body).text
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        datas = [x[6:] for x in lines if x.startswith("data: {")]
        return [json.loads(data)["choices"] for data in datas], "data: [DONE]" in lines

    assert chunks(f"[[mock: split={split}]]") == chunks("")


def test_a_client_that_leaves_resets_the_provider_and_harms_nobody(peers):
    say = "[[mock: stall-mid-stream after=3 seconds=30]]"
    body = {
        "model": "gpt-4o",
        "stream": True,
        "messages": [{"role": "user", "content": say}],
    }
    with peers.http.stream("POST", CHAT, json=body) as answer:
        next(answer.iter_raw())
    assert post(peers).status_code == 200
    patience = time.monotonic() + 5
    stats = ""
    while time.monotonic() < patience:
        stats = peers.gateway.admin("/stats?filter=openai.upstream_rq_active").text
        if stats.strip().endswith(": 0"):
            return
        time.sleep(0.05)
    pytest.fail(f"the provider's stream is still open: {stats}")


def test_the_credential_is_not_in_envoys_config_dump(peers):
    dump = peers.gateway.admin("/config_dump?include_eds").text
    assert "openai" in dump
    assert "sk-mock-provider-secret" not in dump


def test_no_prompt_and_no_key_is_logged():
    with (
        running() as (gateway, _),
        httpx.Client(
            base_url=gateway.url, headers={"authorization": f"Bearer {KEY}"}
        ) as http,
    ):
        for text in ("an innocent secret", "an innocent secret [[mock: status=500]]"):
            body = {"model": "both", "messages": [{"role": "user", "content": text}]}
            http.post(CHAT, json=body)
            http.post(CHAT, json={**body, "model": "nobody"})
            http.post(CHAT, content=b'{"innocent secret')
        gateway.stop()
        logs = "".join(f.read_text() for f in gateway.folder.glob("*.log"))
    assert "innocent" not in logs.replace("mock.log", "")
    assert KEY not in logs
    assert "sk-mock-provider-secret" not in logs
