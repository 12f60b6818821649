"""The mocks of models in a cloud's house: what its door refuses, and what it lets in."""

from __future__ import annotations

import msgspec
import pytest

from extproc.local.mock.azure.api import AUDIENCE as AZURE_AUDIENCE, Azure
from extproc.local.mock.bedrock.api import Bedrock
from extproc.local.mock.bedrock.claude import BETAS, DATED
from extproc.local.mock.reply import Reply, Request, Stream
from extproc.local.mock.state import Memory
from extproc.local.mock.vertex.api import AUDIENCE as GOOGLE_AUDIENCE, Vertex

KEYS = ("sk-mock*",)
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
SAY = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
SPEAK = {"max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
DEPLOYMENT = "/azure/openai/deployments/gpt-4o/chat/completions"
SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
GEMINI = "/publishers/google/models/gemini-2.5-flash:generateContent"
CLAUDE = "/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict"
PLACE = "/v1/projects/p-1/locations/us-east5"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def memory(clock):
    return Memory(clock)


def ask(mock, path, body, **headers):
    named = {"content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return mock.respond(Request("POST", path, tuple(named.items()), raw))


def read(reply):
    assert isinstance(reply, Reply)
    return reply.status, msgspec.json.decode(reply.body)


# ---------------------------------------------------------------- Azure


@pytest.mark.parametrize(
    "path",
    [
        f"{DEPLOYMENT}?api-version=2024-10-21",
        "/azure/openai/v1/chat/completions",
        "/azure/openai/v1/chat/completions?api-version=preview",
    ],
)
def test_azure_says_what_its_filter_found(memory, path):
    status, body = read(ask(Azure(memory, KEYS), path, CHAT, api_key="sk-mock-a"))
    assert status == 200
    assert body["choices"][0]["content_filter_results"]["hate"]["filtered"] is False
    assert body["prompt_filter_results"][0]["prompt_index"] == 0


def test_azures_stream_begins_with_the_verdict_on_the_prompt(memory):
    body = {**CHAT, "stream": True}
    path = f"{DEPLOYMENT}?api-version=2024-10-21"
    stream = ask(Azure(memory, KEYS), path, body, api_key="sk-mock-a")
    assert isinstance(stream, Stream)
    events = [event.payload for event in stream.events]
    first = msgspec.json.decode(events[0])
    assert (first["id"], first["choices"]) == ("", [])
    assert "prompt_filter_results" in first
    assert events[-1] == b"[DONE]"


def test_a_deployments_path_and_not_the_body_says_which_model(memory):
    body = {**CHAT, "model": "whatever"}
    path = f"{DEPLOYMENT}?api-version=2024-10-21"
    status, answer = read(ask(Azure(memory, KEYS), path, body, api_key="sk-mock-a"))
    assert status == 200
    assert answer["model"].startswith("gpt-4o")


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        (DEPLOYMENT, {"api_key": "sk-mock-a"}, 404, "404"),
        (
            f"{DEPLOYMENT}?api-version=latest",
            {"api_key": "sk-mock-a"},
            400,
            "BadRequest",
        ),
        (
            f"{DEPLOYMENT}?api-version=2024-10-21&key=1",
            {"api_key": "sk-mock-a"},
            400,
            "mock_query",
        ),
        (f"{DEPLOYMENT}?api-version=2024-10-21", {}, 401, "401"),
        (f"{DEPLOYMENT}?api-version=2024-10-21", {"api_key": "other"}, 401, "401"),
        (
            f"{DEPLOYMENT}?api-version=2024-10-21",
            {"authorization": "Bearer sk-mock-a"},
            401,
            "401",
        ),
        (
            f"{DEPLOYMENT}?api-version=2024-10-21",
            {"api_key": "sk-mock-a", "authorization": "Bearer x"},
            400,
            "mock_unexpected_credential",
        ),
        (
            DEPLOYMENT.replace("gpt-4o", "mine") + "?api-version=2024-10-21",
            {"api_key": "sk-mock-a"},
            404,
            "DeploymentNotFound",
        ),
        ("/azure/openai/v2/chat", {"api_key": "sk-mock-a"}, 404, "404"),
    ],
)
def test_azures_door_refuses(memory, path, headers, status, code):
    found, body = read(ask(Azure(memory, KEYS), path, CHAT, **headers))
    assert (found, body["error"]["code"]) == (status, code)


def test_azure_takes_a_token_for_its_audience_until_it_expires(memory, clock):
    azure = Azure(memory, KEYS)
    path = f"{DEPLOYMENT}?api-version=2024-10-21"
    good = memory.issue(AZURE_AUDIENCE, 60)
    other = memory.issue(GOOGLE_AUDIENCE, 60)
    assert read(ask(azure, path, CHAT, authorization=f"Bearer {good}"))[0] == 200
    assert read(ask(azure, path, CHAT, authorization=f"Bearer {other}"))[0] == 401
    clock.now += 60
    assert read(ask(azure, path, CHAT, authorization=f"Bearer {good}"))[0] == 401


# ---------------------------------------------------------------- Bedrock's InvokeModel


def invoke(memory, body, verb="invoke", model=SONNET, **headers):
    headers = {"authorization": "Bearer sk-mock-b", **headers}
    return ask(Bedrock(memory, KEYS), f"/model/{model}/{verb}", body, **headers)


OLD = {**SPEAK, "anthropic_version": DATED}


@pytest.mark.parametrize("model", [SONNET, f"us.{SONNET}", f"global.{SONNET}"])
def test_bedrock_takes_anthropics_own_messages(memory, model):
    status, body = read(invoke(memory, OLD, model=model))
    assert status == 200
    assert body["content"][0]["text"].startswith("You said: hello")


def test_bedrock_wraps_each_event_and_pads_it(memory):
    stream = invoke(memory, OLD, "invoke-with-response-stream")
    assert isinstance(stream, Stream)
    assert stream.content_type == "application/vnd.amazon.eventstream"
    events = list(stream.events)
    assert all(event.framed for event in events)
    assert b'"p":"abcdefghij"' in events[0].payload


@pytest.mark.parametrize(
    "body",
    [
        {**OLD, "model": "claude"},
        {**OLD, "stream": False},
        SPEAK,
        {**SPEAK, "anthropic_version": "2023-06-01"},
        {**OLD, "anthropic_beta": ["files-api-2025-04-14"]},
        {**OLD, "anthropic_beta": "pdfs-2024-09-25"},
        {**OLD, "max_tokens": -1},
    ],
)
def test_bedrock_refuses_what_is_not_its_envelope(memory, body):
    status, said = read(invoke(memory, body))
    assert status == 400
    assert said["message"]


def test_bedrock_takes_the_flags_that_it_knows(memory):
    body = {**OLD, "anthropic_beta": sorted(BETAS)}
    assert read(invoke(memory, body))[0] == 200


def test_bedrock_takes_no_header_of_anthropics(memory):
    assert read(invoke(memory, OLD, anthropic_version="2023-06-01"))[0] == 400


# ---------------------------------------------------------------- Vertex


def token(memory, audience=GOOGLE_AUDIENCE):
    return f"Bearer {memory.issue(audience, 60)}"


def test_vertex_serves_gemini_to_a_projects_token(memory):
    vertex = Vertex(memory, KEYS)
    path = f"/vertex{PLACE}{GEMINI}"
    assert read(ask(vertex, path, SAY, authorization=token(memory)))[0] == 200
    assert read(ask(vertex, path, SAY, authorization="Bearer sk-mock-a"))[0] == 401
    wrong = token(memory, AZURE_AUDIENCE)
    assert read(ask(vertex, path, SAY, authorization=wrong))[0] == 401
    assert read(ask(vertex, path, SAY))[0] == 401


def test_vertex_in_express_mode_takes_a_key_and_no_project(memory):
    vertex = Vertex(memory, KEYS)
    assert read(ask(vertex, f"/v1{GEMINI}", SAY, x_goog_api_key="sk-mock-a"))[0] == 200
    assert read(ask(vertex, f"/v1{GEMINI}", SAY, authorization=token(memory)))[0] == 401


@pytest.mark.parametrize(
    "body",
    [
        {"contents": [{"parts": [{"text": "no role"}]}]},
        {"contents": [{"role": "user", "parts": [{"text": "a", "partMetadata": {}}]}]},
    ],
)
def test_vertex_is_not_ai_studio(memory, body):
    path = f"{PLACE}{GEMINI}"
    reply = ask(Vertex(memory, KEYS), path, body, authorization=token(memory))
    assert read(reply)[0] == 400


CLAUDES = {**SPEAK, "anthropic_version": "vertex-2023-10-16"}


@pytest.mark.parametrize(
    ("path", "body", "headers", "status"),
    [
        (CLAUDE, CLAUDES, {}, 200),
        (CLAUDE, {**CLAUDES, "model": "claude-sonnet-4-5"}, {}, 400),
        (CLAUDE, {**CLAUDES, "stream": True}, {}, 400),
        (CLAUDE, SPEAK, {}, 400),
        (CLAUDE, CLAUDES, {"anthropic_version": "2023-06-01"}, 400),
        (CLAUDE.replace("@", "-x-"), CLAUDES, {}, 404),
        (CLAUDE.replace("rawPredict", "predict"), CLAUDES, {}, 404),
        (
            "/publishers/anthropic/models/count-tokens:rawPredict",
            {
                "model": "claude-sonnet-4-5",
                "messages": SPEAK["messages"],
                "anthropic_version": "vertex-2023-10-16",
            },
            {},
            200,
        ),
    ],
)
def test_vertex_serves_claude_by_raw_prediction(memory, path, body, headers, status):
    headers = {"authorization": token(memory), **headers}
    reply = ask(Vertex(memory, KEYS), f"{PLACE}{path}", body, **headers)
    assert read(reply)[0] == status


def test_vertex_streams_claude_as_anthropic_does(memory):
    path = f"{PLACE}{CLAUDE.replace('rawPredict', 'streamRawPredict')}"
    body = {**CLAUDES, "stream": True}
    stream = ask(Vertex(memory, KEYS), path, body, authorization=token(memory))
    assert isinstance(stream, Stream)
    assert [event.name for event in stream.events][-1] == "message_stop"
