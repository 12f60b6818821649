"""What we send a provider, beside what the provider's own SDK sends it for the same request.

Both reach the same recorder; method, path, query, the headers that matter and the body have
to be the same.
"""

from __future__ import annotations

import base64
import json
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anthropic
import botocore.auth
import botocore.session
import httpx
import openai
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cohere import ClientV2
from google import genai
from google.genai.types import GenerateContentConfig, HttpOptions
from google.oauth2.credentials import Credentials as GoogleCredentials
from mistralai.client import Mistral

from extproc.config.compile import compile_envoy, write_files
from extproc.local.mock.multipart import read_form
from tests.envoy.sdk_cases import OTHERS
from tests.harness import AWS, BEDROCK, KEY, Gateway, Mock, temporary_folder

pytestmark = pytest.mark.envoy

KEYED = "sk-mock-secret"
VERSION = "2024-10-21"
REGION = "eu-west-1"
PLACE = {"project": "p-1", "location": "us-east5"}
CLAUDE = "claude-sonnet-4-5@20250929"
FLASH = "gemini-2.5-flash"
ARN = "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc123"
MATTER = frozenset(
    {
        "content-type", "authorization", "api-key", "x-api-key", "x-goog-api-key",
        "anthropic-version", "anthropic-beta",
    }
)  # fmt: skip

SAY: list[Any] = [{"role": "user", "content": "hello"}]
TOOL: dict[str, Any] = {
    "name": "weather",
    "description": "Tell the weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}


@dataclass
class World:
    """A recorder, and everybody who sends something to it."""

    mock: Mock
    gateway: Gateway
    token: str
    kept: dict[str, Any] = field(default_factory=dict)
    """The SDKs' clients, each made once."""

    def close(self) -> None:
        for client in self.kept.values():
            if hasattr(client, "close"):
                client.close()

    def rank(self, model: str) -> None:
        """Ask the gateway for a ranking, in Cohere's words."""
        body = {
            "model": model, "query": "sun", "documents": ["the sun", "the moon"],
            "top_n": 1,
        }  # fmt: skip
        url, headers = (
            f"{self.gateway.url}/v2/rerank",
            {"authorization": f"Bearer {KEY}"},
        )
        httpx.post(url, json=body, headers=headers).raise_for_status()

    def __getattr__(self, name: str) -> Callable[[], Any]:
        make = CLIENTS[name]
        return lambda: self.kept.get(name) or self.kept.setdefault(name, make(self))

    def sent(self, call: Callable[[World], object]) -> dict[str, Any]:
        """Return what reaches the recorder by `call`."""
        self.mock.forget()
        answer = call(self)
        if hasattr(answer, "__iter__"):
            list(answer)
        if hasattr(answer, "close"):
            answer.close()
        (request,) = self.mock.requests()
        return request


def _gpt(world: World) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{world.gateway.url}/v1", api_key=KEY)


def _claude(world: World) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=world.gateway.url, api_key=KEY)


def _azure(world: World) -> openai.AzureOpenAI:
    return openai.AzureOpenAI(
        azure_endpoint=f"{world.mock.url}/azure", api_version=VERSION, api_key=KEYED
    )


def _azure_v1(world: World) -> openai.OpenAI:
    # As Microsoft says to use it.
    url = f"{world.mock.url}/azure/openai/v1"
    return openai.OpenAI(base_url=url, api_key=KEYED)


def _bedrock(world: World) -> anthropic.AnthropicBedrock:
    return anthropic.AnthropicBedrock(
        base_url=world.mock.url, aws_region=REGION, api_key=KEYED
    )


def _vertex(world: World) -> anthropic.AnthropicVertex:
    return anthropic.AnthropicVertex(
        base_url=f"{world.mock.url}/vertex/v1",
        project_id=PLACE["project"],
        region=PLACE["location"],
        access_token=world.token,
    )


def _studio(world: World) -> genai.Client:
    options = HttpOptions(base_url=f"{world.mock.url}/gemini", api_version="v1beta")
    return genai.Client(api_key=KEYED, http_options=options)


def _gemini(world: World) -> genai.Client:
    options = HttpOptions(base_url=f"{world.mock.url}/vertex", api_version="v1")
    return genai.Client(
        vertexai=True,
        credentials=GoogleCredentials(world.token),
        http_options=options,
        **PLACE,
    )


def _express(world: World) -> genai.Client:
    options = HttpOptions(base_url=f"{world.mock.url}/vertex", api_version="v1")
    return genai.Client(vertexai=True, api_key=KEYED, http_options=options)


def _boto(world: World) -> Any:
    return botocore.session.Session().create_client(
        "bedrock-runtime",
        region_name=REGION,
        endpoint_url=world.mock.url,
        aws_access_key_id=AWS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=AWS["AWS_SECRET_ACCESS_KEY"],
    )


def _co(world: World) -> ClientV2:
    # Its own client of HTTP would stay open.
    http = world.kept.setdefault("co's http", httpx.Client())
    return ClientV2(KEYED, base_url=f"{world.mock.url}/cohere", httpx_client=http)


def _mistral(world: World) -> Mistral:
    return Mistral(api_key=KEYED, server_url=f"{world.mock.url}/mistral")


CLIENTS: dict[str, Callable[[World], Any]] = {
    "mistral": _mistral,
    "co": _co,
    "gpt": _gpt,
    "claude": _claude,
    "azure": _azure,
    "azure_v1": _azure_v1,
    "bedrock": _bedrock,
    "vertex": _vertex,
    "studio": _studio,
    "gemini": _gemini,
    "express": _express,
    "boto": _boto,
}


def config(url: str, token: str) -> dict[str, Any]:
    keyed = {"api_key": KEYED}
    providers: dict[str, dict[str, Any]] = {
        "azure": {
            "type": "azure", "base_url": f"{url}/azure", "api_version": VERSION, **keyed,
        },
        "azure-v1": {"type": "azure", "base_url": f"{url}/azure", **keyed},
        "bedrock": {"type": "bedrock-anthropic", "base_url": url, **keyed},
        "signed": {"type": "bedrock-anthropic", "base_url": url, "region": REGION},
        "converse": {"type": "bedrock", "base_url": url, "region": REGION},
        "vertex": {
            "type": "vertex-anthropic", "base_url": f"{url}/vertex/v1",
            "api_key": token, **PLACE,
        },
        "studio": {"type": "gemini", "base_url": f"{url}/gemini/v1beta", **keyed},
        "express": {"type": "vertex", "base_url": f"{url}/vertex/v1", **keyed},
        # Whose token control would fetch; here it is put into Envoy's file.
        "gemini": {
            "type": "vertex", "base_url": f"{url}/vertex/v1", **PLACE,
            "google": {"credentials_file": "google.json"},
        },
        "cohere": {"type": "cohere", "base_url": f"{url}/cohere/v2", **keyed},
        "mistral": {"type": "mistral", "base_url": f"{url}/mistral/v1", **keyed},
    }  # fmt: skip
    models = {
        f"{name}/*": {"targets": [{"provider": name, "model": "*"}]}
        for name in providers
    }
    return {"providers": providers, "models": models}


@pytest.fixture(scope="module")
def world():
    with temporary_folder() as folder:
        mock = Mock(folder)
        token = httpx.get(
            f"{mock.url}/computeMetadata/v1/instance/service-accounts/default/token",
            params={"scopes": "https://www.googleapis.com/auth/cloud-platform"},
            headers={"metadata-flavor": "Google"},
        ).json()["access_token"]
        (folder / "google.json").write_text("{}")
        gateway = Gateway(config(mock.url, token), folder)
        files = compile_envoy(gateway.config, gateway.layout, {"gemini": token})
        write_files(files, gateway.layout.xds)
        try:
            found = World(mock, gateway, token)
            yield found
            found.close()
        finally:
            gateway.stop()
            mock.stop()


def chat(client, model, **more):
    return client.chat.completions.create(model=model, messages=SAY, **more)


def speak(client, model, **more):
    return client.messages.create(model=model, messages=SAY, max_tokens=99, **more)


def generate(client, **more):
    config = GenerateContentConfig(**more) if more else None
    return client.models.generate_content(model=FLASH, contents="hello", config=config)


def generate_stream(client):
    yield from client.models.generate_content_stream(model=FLASH, contents="hello")


BETA = {"anthropic-beta": "pdfs-2024-09-25"}

CASES: dict[str, tuple[Callable[[World], object], Callable[[World], object]]] = {
    "azure": (
        lambda w: chat(w.azure(), "gpt-4o", temperature=0.5),
        lambda w: chat(w.gpt(), "azure/gpt-4o", temperature=0.5),
    ),
    "azure, streamed": (
        lambda w: chat(
            w.azure(), "gpt-4o", stream=True, stream_options={"include_usage": True}
        ),
        lambda w: chat(
            w.gpt(), "azure/gpt-4o", stream=True, stream_options={"include_usage": True}
        ),
    ),
    "azure, responses": (
        lambda w: w.azure().responses.create(model="gpt-4o", input="hello"),
        lambda w: w.gpt().responses.create(model="azure/gpt-4o", input="hello"),
    ),
    "azure, embeddings": (
        lambda w: w.azure().embeddings.create(
            model="text-embedding-3-small", input="hello"
        ),
        lambda w: w.gpt().embeddings.create(
            model="azure/text-embedding-3-small", input="hello"
        ),
    ),
    "azure v1": (
        lambda w: chat(w.azure_v1(), "gpt-4o"),
        lambda w: chat(w.gpt(), "azure-v1/gpt-4o"),
    ),
    "azure v1, responses": (
        lambda w: w.azure_v1().responses.create(model="gpt-4o", input="hello"),
        lambda w: w.gpt().responses.create(model="azure-v1/gpt-4o", input="hello"),
    ),
    "bedrock": (
        lambda w: speak(w.bedrock(), BEDROCK),
        lambda w: speak(w.claude(), f"bedrock/{BEDROCK}"),
    ),
    "bedrock, streamed": (
        lambda w: speak(w.bedrock(), BEDROCK, stream=True),
        lambda w: speak(w.claude(), f"bedrock/{BEDROCK}", stream=True),
    ),
    "bedrock, an application's profile": (
        lambda w: speak(w.bedrock(), ARN),
        lambda w: speak(w.claude(), f"bedrock/{ARN}"),
    ),
    "bedrock, tools and flags": (
        lambda w: speak(w.bedrock(), BEDROCK, tools=[TOOL], extra_headers=BETA),
        lambda w: speak(
            w.claude(), f"bedrock/{BEDROCK}", tools=[TOOL], extra_headers=BETA
        ),
    ),
    "vertex": (
        lambda w: speak(w.vertex(), CLAUDE),
        lambda w: speak(w.claude(), f"vertex/{CLAUDE}"),
    ),
    "vertex, streamed": (
        lambda w: speak(w.vertex(), CLAUDE, stream=True),
        lambda w: speak(w.claude(), f"vertex/{CLAUDE}", stream=True),
    ),
    "vertex, flags": (
        lambda w: speak(w.vertex(), CLAUDE, extra_headers=BETA),
        lambda w: speak(w.claude(), f"vertex/{CLAUDE}", extra_headers=BETA),
    ),
    "vertex, counting": (
        lambda w: w.vertex().messages.count_tokens(model=CLAUDE, messages=SAY),
        lambda w: w.claude().messages.count_tokens(
            model=f"vertex/{CLAUDE}", messages=SAY
        ),
    ),
    "studio": (
        lambda w: generate(w.studio(), temperature=0.5, max_output_tokens=99),
        lambda w: chat(w.gpt(), f"studio/{FLASH}", temperature=0.5, max_tokens=99),
    ),
    "studio, streamed": (
        lambda w: generate_stream(w.studio()),
        lambda w: chat(w.gpt(), f"studio/{FLASH}", stream=True),
    ),
    "express": (
        lambda w: generate(w.express(), temperature=0.5, max_output_tokens=99),
        lambda w: chat(w.gpt(), f"express/{FLASH}", temperature=0.5, max_tokens=99),
    ),
    "express, streamed": (
        lambda w: generate_stream(w.express()),
        lambda w: chat(w.gpt(), f"express/{FLASH}", stream=True),
    ),
    "converse": (
        lambda w: w.boto().converse(
            modelId=BEDROCK,
            messages=[{"role": "user", "content": [{"text": "hello"}]}],
            inferenceConfig={"maxTokens": 99},
        ),
        lambda w: chat(w.gpt(), f"converse/{BEDROCK}", max_tokens=99),
    ),
    "converse, streamed": (
        lambda w: w.boto().converse_stream(
            modelId=ARN,
            messages=[{"role": "user", "content": [{"text": "hello"}]}],
            inferenceConfig={"maxTokens": 99},
        )["stream"],
        lambda w: chat(w.gpt(), f"converse/{ARN}", max_tokens=99, stream=True),
    ),
}


def told(request: dict[str, Any]) -> dict[str, Any]:
    """Return what a provider looks at."""
    path, _, query = request["path"].partition("?")
    headers = {
        name: value for name, value in request["headers"].items() if name in MATTER
    }
    if path.startswith("/model/"):
        # The SDK says the flags twice; the body is where Bedrock reads them.
        headers.pop("anthropic-beta", None)
    kind = headers.get("content-type", "")
    headers["content-type"] = kind.partition(";")[0]
    if headers.get("authorization") == f"Bearer {KEYED}" and "/azure/" in path:
        # OpenAI's client knows one place for a key; Azure reads two.
        headers["api-key"] = headers.pop("authorization").removeprefix("Bearer ")
    if headers.get("authorization", "").startswith("AWS4"):
        # Its time and names are its own; `SIGNED` looks at those.
        headers["authorization"] = headers["authorization"].partition("/")[0]
    return {
        "method": request["method"],
        # A colon may stand in a path as it is.
        "path": urllib.parse.unquote(path),
        "query": sorted(urllib.parse.parse_qsl(query)),
        "headers": headers,
        "body": _body(kind, request["body"]),
    }


def _body(kind: str, body: bytes) -> Any:
    if kind.startswith("multipart/"):
        return read_form(kind, body)
    said = json.loads(body) if body else None
    if not isinstance(said, dict):
        return said
    if "generateContentRequest" in said:
        # Google's SDK has words for contents alone, which may stand bare.
        said = said["generateContentRequest"]
        del said["model"]
    if said.get("stream") is False:
        del said["stream"]
    if "invokeModel" in said.get("input", {}):
        # One JSON in another: its spaces are nobody's business.
        invoked = said["input"]["invokeModel"]
        invoked["body"] = json.loads(base64.b64decode(invoked["body"]))
    return said


CASES |= OTHERS


@pytest.mark.parametrize("name", CASES)
def test_a_provider_is_asked_as_its_own_sdk_asks_it(world, name):
    theirs, ours = (told(world.sent(call)) for call in CASES[name])
    assert ours == theirs


SIGNED: dict[str, Callable[[World], object]] = {
    "converse": lambda w: chat(w.gpt(), f"converse/{BEDROCK}", max_tokens=9),
    "converse, streamed": lambda w: chat(
        w.gpt(), f"converse/{ARN}", max_tokens=9, stream=True
    ),
    "invoke": lambda w: speak(w.claude(), f"signed/{BEDROCK}"),
    "invoke, streamed": lambda w: speak(w.claude(), f"signed/{ARN}", stream=True),
}


@pytest.mark.parametrize("name", SIGNED)
def test_botocore_signs_the_request_as_envoy_did(world, name, monkeypatch):
    # botocore leaves the user agent out, for proxies that change it; there is none here.
    monkeypatch.setattr(botocore.auth, "SIGNED_HEADERS_BLACKLIST", [])
    request = world.sent(SIGNED[name])
    headers = request["headers"]
    parts = dict(
        part.strip().split("=", 1)
        for part in headers["authorization"]
        .removeprefix("AWS4-HMAC-SHA256 ")
        .split(",")
    )
    signed = parts["SignedHeaders"].split(";")
    assert {"host", "x-amz-date", "x-amz-content-sha256"} <= set(signed)
    again = AWSRequest(
        method=request["method"],
        url=f"http://{headers['host']}{request['path']}",
        data=request["body"],
        headers={key: headers[key] for key in signed},
    )
    again.context["timestamp"] = headers["x-amz-date"]
    auth = SigV4Auth(
        Credentials(AWS["AWS_ACCESS_KEY_ID"], AWS["AWS_SECRET_ACCESS_KEY"]),
        "bedrock",
        REGION,
    )
    text = auth.string_to_sign(again, auth.canonical_request(again))
    assert auth.signature(text, again) == parts["Signature"]
