"""Models in a cloud's house, through a real Envoy: paths, credentials, framing, errors."""

from __future__ import annotations

from typing import Any

import anthropic
import httpx
import openai
import pytest

from extproc.local.providers.through import through
from tests.envoy.conftest import Peers
from tests.harness import BEDROCK, FORGIVING, KEY, Gateway, Mock, temporary_folder

pytestmark = pytest.mark.envoy

KEYED = "sk-mock-secret"


def config(url):
    return {
        "providers": {
            "azure": {
                "type": "azure",
                "base_url": f"{url}/azure",
                "api_key": KEYED,
                "api_version": "2024-10-21",
            },
            "azure-v1": {
                "type": "azure",
                "base_url": f"{url}/azure",
                "api_key": KEYED,
            },
            "vertex": {
                "type": "vertex",
                "base_url": f"{url}/vertex/v1",
                "api_key": KEYED,
            },
            # Without a key Envoy signs, with the credentials of its environment.
            "claude": {
                "type": "bedrock-anthropic",
                "base_url": url,
                "region": "eu-west-1",
            },
            "keyed": {"type": "bedrock-anthropic", "base_url": url, "api_key": KEYED},
            "forged": {
                "type": "bedrock",
                "base_url": url,
                "region": "eu-west-1",
                "aws": {"access_key_id": "AKIDFORGED", "secret_access_key": "forged"},
            },
        },
        "models": {
            "azure": {"targets": [{"provider": "azure", "model": "gpt-4o"}]},
            "azure-v1": {"targets": [{"provider": "azure-v1", "model": "gpt-4o"}]},
            "vertex": {
                "targets": [{"provider": "vertex", "model": "gemini-2.5-flash"}]
            },
            "vectors": {
                "targets": [{"provider": "azure", "model": "text-embedding-3-small"}]
            },
            "vectors-v1": {
                "targets": [{"provider": "azure-v1", "model": "text-embedding-3-small"}]
            },
            "vectors-google": {
                "targets": [{"provider": "vertex", "model": "text-embedding-005"}]
            },
            "vectors-gemini": {
                "targets": [{"provider": "vertex", "model": "gemini-embedding-2"}]
            },
            "claude": {"targets": [{"provider": "claude", "model": BEDROCK}]},
            "keyed": {"targets": [{"provider": "keyed", "model": BEDROCK}]},
            "forged": {"targets": [{"provider": "forged", "model": BEDROCK}]},
            "unknown": {"targets": [{"provider": "claude", "model": "anthropic.none"}]},
            "cut": {
                "targets": [
                    {
                        "provider": "claude",
                        "model": f"{BEDROCK}[[mock: truncate after=2]]",
                    }
                ]
            },
            "guarded": {
                "targets": [{"provider": "azure", "model": "gpt-4o"}],
                "content_policy_fallbacks": ["claude"],
            },
        },
    }


@pytest.fixture(scope="module")
def served():
    with temporary_folder() as folder:
        mock = Mock(folder)
        gateway = Gateway({**config(mock.url), **FORGIVING}, folder)
        headers = {"authorization": f"Bearer {KEY}"}
        try:
            with httpx.Client(
                base_url=gateway.url, headers=headers, timeout=20
            ) as http:
                yield Peers(gateway, mock, http)
        finally:
            gateway.stop()
            mock.stop()


@pytest.fixture
def peers(served):
    served.mock.forget()
    return served


@pytest.fixture
def claude(peers):
    with anthropic.Anthropic(
        base_url=peers.gateway.url, api_key=KEY, max_retries=0
    ) as client:
        yield client


@pytest.fixture
def gpt(peers):
    with openai.OpenAI(base_url=peers.base_url, api_key=KEY, max_retries=0) as client:
        yield client


MODELS = ("azure", "azure-v1", "vertex", "claude", "keyed")
SAY = [{"role": "user", "content": 'hello [[mock: answer="so it is"]]'}]


@pytest.mark.parametrize("model", MODELS)
def test_openais_client_gets_an_answer(gpt, model):
    answer = gpt.chat.completions.create(model=model, messages=SAY, max_tokens=99)
    assert answer.choices[0].message.content == "so it is"
    assert answer.usage.completion_tokens > 0


@pytest.mark.parametrize("model", MODELS)
def test_openais_client_gets_a_stream(gpt, model):
    chunks = list(
        gpt.chat.completions.create(
            model=model,
            messages=SAY,
            max_tokens=99,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "so it is"
    assert [c.usage.completion_tokens for c in chunks if c.usage]


@pytest.mark.parametrize("model", MODELS)
def test_anthropics_client_gets_a_stream_of_named_events(claude, model):
    with claude.messages.stream(model=model, messages=SAY, max_tokens=99) as stream:
        names = [event.type for event in stream]
        message = stream.get_final_message()
    assert message.content[0].text == "so it is"
    assert message.usage.output_tokens > 0
    assert names[0] == "message_start"
    assert names[-1] == "message_stop"


@pytest.mark.parametrize("model", ["claude", "vertex", "azure", "azure-v1"])
def test_anthropics_client_has_its_tokens_counted(claude, model):
    counted = claude.messages.count_tokens(model=model, messages=SAY)
    assert counted.input_tokens > 0


@pytest.mark.parametrize(
    "model", ["vectors", "vectors-v1", "vectors-google", "vectors-gemini"]
)
def test_openais_client_gets_vectors(gpt, model):
    answer = gpt.embeddings.create(model=model, input="hello", dimensions=8)
    assert len(answer.data[0].embedding) == 8


def reached(peers):
    (request,) = peers.mock.requests()
    return request


@pytest.mark.parametrize(
    ("model", "path"),
    [
        (
            "azure",
            "/azure/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
        ),
        ("azure-v1", "/azure/openai/v1/chat/completions"),
        (
            "vertex",
            "/vertex/v1/publishers/google/models/gemini-2.5-flash:generateContent",
        ),
        ("claude", f"/model/{BEDROCK.replace(':', '%3A')}/invoke"),
    ],
)
def test_the_path_is_the_hosts_own(peers, gpt, model, path):
    gpt.chat.completions.create(model=model, messages=SAY, max_tokens=9)
    request = reached(peers)
    assert request["path"] == path
    held = [
        h
        for h in ("authorization", "api-key", "x-goog-api-key")
        if h in request["headers"]
    ]
    assert len(held) == 1


def test_flags_that_bedrock_does_not_take_are_left_out_and_reported(peers):
    answer = peers.http.post(
        "/v1/messages",
        json={"model": "claude", "max_tokens": 9, "messages": SAY},
        headers={
            "anthropic-version": "2023-06-01",
            "anthropic-beta": "pdfs-2024-09-25,files-api-2025-04-14",
        },
    )
    assert answer.status_code == 200
    assert answer.headers["x-extproc-dropped"] == "anthropic-beta.files-api-2025-04-14"
    assert b'"anthropic_beta":["pdfs-2024-09-25"]' in reached(peers)["body"]


def test_what_azures_filter_found_reaches_the_client(peers):
    answer = peers.http.post(
        "/v1/chat/completions", json={"model": "azure", "messages": SAY}
    ).json()
    assert answer["choices"][0]["content_filter_results"]["hate"]["severity"] == "safe"


FORBIDDEN = "hello [[mock: filtered]]"
ASKED: dict[str, dict[str, Any]] = {
    "chat/completions": {"messages": [{"role": "user", "content": FORBIDDEN}]},
    "completions": {"prompt": FORBIDDEN},
    "responses": {"input": FORBIDDEN},
    "messages": {
        "messages": [{"role": "user", "content": FORBIDDEN}],
        "max_tokens": 9,
    },
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["azure", "azure-v1"])
@pytest.mark.parametrize("path", ASKED)
def test_a_prompt_that_azures_filter_refuses_is_an_error_in_the_clients_words(
    peers, path, model, stream
):
    asked = {"model": model, "stream": stream, **ASKED[path]}
    answer = peers.http.post(f"/v1/{path}", json=asked)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert "content management policy" in error["message"]
    assert error["type"] == "invalid_request_error"
    if path == "messages":
        assert answer.json()["type"] == "error"
        assert error.keys() == {"type", "message"}
        return
    assert (error["code"], error["param"]) == ("content_filter", "prompt")
    assert error["innererror"]["code"] == "ResponsibleAIPolicyViolation"
    found = error["innererror"]["content_filter_result"]
    assert found["jailbreak"] == {"filtered": True, "detected": True}


def test_where_azures_filter_refuses_another_model_may_be_asked(peers):
    # The other one is told the same, and refuses in its own words: it was asked.
    asked = {"model": "guarded", **ASKED["chat/completions"]}
    answer = peers.http.post("/v1/chat/completions", json=asked)
    assert "content filtering policy" in answer.json()["error"]["message"]
    azure, bedrock = (one["path"] for one in peers.mock.requests())
    assert azure.startswith("/azure/")
    assert bedrock.startswith("/model/")


def test_an_answer_that_the_filter_cut_off_is_a_refusal_to_anthropics_client(claude):
    say = [{"role": "user", "content": "[[mock: finish=content_filter]]"}]
    message = claude.messages.create(model="azure", messages=say, max_tokens=99)
    assert message.stop_reason == "refusal"


@pytest.mark.parametrize("model", ["claude", "vertex", "azure"])
def test_an_error_inside_a_stream_reaches_anthropics_client(claude, model):
    say = [{"role": "user", "content": "[[mock: error-mid-stream after=3]] hello"}]
    with (
        pytest.raises(anthropic.APIStatusError),
        claude.messages.stream(model=model, messages=say, max_tokens=99) as stream,
    ):
        list(stream)


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, anthropic.RateLimitError), (400, anthropic.BadRequestError)],
)
@pytest.mark.parametrize("model", ["claude", "vertex", "azure"])
def test_an_error_keeps_its_status(claude, model, status, error):
    say = [{"role": "user", "content": f"[[mock: status={status} message=alas]]"}]
    with pytest.raises(error, match="alas"):
        claude.messages.create(model=model, messages=say, max_tokens=9)


TRIED = {
    "claude": ["ok"] * 6,
    "forged": ["ok", "failed", *["untried"] * 4],
    "unknown": ["ok", "ok", "failed", *["untried"] * 3],
    "cut": ["ok"] * 4 + ["failed", "untried"],
}


@pytest.mark.parametrize(("model", "outcomes"), TRIED.items())
def test_a_signed_provider_is_tried_through_the_gateway(peers, model, outcomes):
    provider = "forged" if model == "forged" else "claude"
    found = through(peers.gateway.url, KEY, model, provider=provider)
    assert [one.outcome for one in found] == outcomes, found
