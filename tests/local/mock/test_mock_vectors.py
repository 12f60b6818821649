"""The mocks of embeddings, rankings and counts, judged by the official SDKs."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import typing
from collections.abc import Iterator
from typing import Any
from unittest import mock as patching

import botocore.auth
import botocore.session
import openai
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from google import genai
from google.genai import errors, types
from openai.types.embedding_create_params import EmbeddingCreateParams
from openai.types.responses.input_token_count_params import InputTokenCountParams

from extproc.local.mock import MockServer, vectors
from extproc.local.mock.bedrock import invoke, signing
from extproc.local.mock.openai import embeddings
from extproc.local.mock.services import ENDPOINTS

TITAN = "amazon.titan-embed-text-v2:0"


@pytest.fixture(scope="module")
def google(mock: MockServer) -> Iterator[genai.Client]:
    options = types.HttpOptions(base_url=f"{mock.url}/gemini", timeout=20_000)
    with genai.Client(api_key="sk-mock-1", http_options=options) as made:
        yield made


@pytest.fixture(scope="module")
def bedrock(mock: MockServer) -> Iterator[Any]:
    """The official client, whose clock is the mock's."""
    fixed = dt.datetime.fromtimestamp(1_700_000_000, dt.UTC)
    ((key, secret),) = list(signing.ACCESS_KEYS.items())[:1]
    made = botocore.session.Session().create_client(
        "bedrock-runtime",
        region_name="eu-west-1",
        endpoint_url=f"{mock.url}/bedrock",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}, read_timeout=20, proxies={}),
    )
    with (
        contextlib.closing(made),
        patching.patch.object(
            botocore.auth,
            "get_current_datetime",
            lambda remove_tzinfo=True: fixed,  # noqa: ARG005
        ),
    ):
        yield made


def names(rule: Any) -> set[str]:
    return {name.removesuffix("!") for name in rule.fields}


def test_the_tables_have_the_sdks_names():
    asked = typing.get_type_hints(EmbeddingCreateParams)
    assert names(embeddings.EMBEDDINGS) == set(asked)
    asked = typing.get_type_hints(InputTokenCountParams)
    assert names(embeddings.COUNT) == set(asked)
    model = botocore.session.get_session().get_service_model("bedrock-runtime")
    given = model.operation_model("CountTokens").input_shape.members["input"].members
    counted: Any = invoke.COUNT.fields["input!"]
    for name, shape in given.items():
        assert names(counted.fields[name]) == set(shape.members)


def test_openais_sdk_reads_its_vectors(mock):
    # It asks for base64 and makes numbers of it, which its own strictness refuses.
    with openai.OpenAI(base_url=f"{mock.url}/v1", api_key="sk-mock-1") as client:
        made = client.embeddings.create(
            model="text-embedding-3-small", input=["a", "b"], dimensions=8
        )
    assert [one.embedding for one in made.data] == [
        pytest.approx(vectors.vector(text, 8)) for text in "ab"
    ]
    assert made.usage.total_tokens == 2


@pytest.mark.parametrize(
    "asked",
    [
        {"model": "nobody", "input": "a"},
        {"model": "text-embedding-3-small", "input": ""},
        {"model": "text-embedding-3-small", "input": []},
        {"model": "text-embedding-3-small", "input": ["a"] * 2049},
        {"model": "text-embedding-3-small", "input": "a", "dimensions": 9999},
        {"model": "text-embedding-ada-002", "input": "a", "dimensions": 8},
        {"model": "text-embedding-3-small", "input": "a", "extra_body": {"x": 1}},
    ],
)
def test_openai_refuses_what_it_cannot_embed(openai_client, asked):
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)):
        openai_client.embeddings.create(**asked)


def test_openais_sdk_counts(openai_client):
    made = openai_client.responses.input_tokens.count(model="gpt-4o", input="One two.")
    assert made.input_tokens == 4  # the mock counts names of fields too


def test_googles_sdk_embeds_and_counts(google):
    made = google.models.embed_content(
        model="gemini-embedding-001",
        contents=["a", "b"],
        config={"output_dimensionality": 8, "task_type": "RETRIEVAL_QUERY"},
    )
    assert [one.values for one in made.embeddings] == [
        vectors.vector(text, 8) for text in "ab"
    ]
    counted = google.models.count_tokens(model="gemini-2.5-flash", contents="One two.")
    assert counted.total_tokens > 2
    with pytest.raises(errors.ClientError):
        google.models.embed_content(
            model="gemini-embedding-001",
            contents="a",
            config={"output_dimensionality": 9999},
        )


def invoked(bedrock: Any, model: str, **body: Any) -> Any:
    made = bedrock.invoke_model(
        modelId=model, body=json.dumps(body), contentType="application/json"
    )
    assert int(
        made["ResponseMetadata"]["HTTPHeaders"]["x-amzn-bedrock-input-token-count"]
    )
    return json.loads(made["body"].read())


def test_bedrocks_sdk_embeds_ranks_and_counts(bedrock):
    made = invoked(bedrock, TITAN, inputText="a", dimensions=256)
    assert made["embedding"] == vectors.vector("a", 256)
    bare = invoked(
        bedrock, "cohere.embed-english-v3", texts=["a"], input_type="search_query"
    )
    assert bare["embeddings"] == [vectors.vector("a", 1024)]
    found = invoked(
        bedrock, "cohere.rerank-v3-5:0", api_version=2, query="b", documents=["a", "b"]
    )
    assert found["results"][0]["index"] == 1
    counted = bedrock.count_tokens(
        modelId="anthropic.claude-sonnet-4-5-20250929-v1:0",
        input={
            "converse": {
                "messages": [{"role": "user", "content": [{"text": "One two."}]}]
            }
        },
    )
    assert counted["inputTokens"] > 2


@pytest.mark.parametrize(
    ("model", "body"),
    [
        (TITAN, {"inputText": ""}),
        (TITAN, {"inputText": "a", "dimensions": 300}),
        ("amazon.titan-embed-text-v1", {"inputText": "a", "dimensions": 256}),
        ("cohere.embed-english-v3", {"texts": ["a"]}),
        ("cohere.rerank-v3-5:0", {"query": "a", "documents": ["a"]}),
        ("amazon.rerank-v1:0", {"api_version": 2, "query": "a", "documents": ["a"]}),
    ],
)
def test_bedrock_refuses_what_the_model_does_not_take(bedrock, model, body):
    with pytest.raises(ClientError, match="ValidationException"):
        invoked(bedrock, model, **body)


def test_bedrock_counts_for_no_inference_profile(bedrock):
    with pytest.raises(ClientError, match="ValidationException"):
        bedrock.count_tokens(
            modelId="us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            input={"invokeModel": {"body": b"{}"}},
        )


@pytest.mark.parametrize("path", sorted(ENDPOINTS))
@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"{}", 401),
        ({"authorization": "Bearer other"}, b"{}", 401),
        ({"authorization": "Bearer sk-mock-1"}, b"{", 400),
        ({"authorization": "Bearer sk-mock-1"}, b'{"nonsense":1}', 422),
        ({"authorization": "Bearer sk-mock-1", "x-gw-id": "1"}, b"{}", 400),
    ],
)
def test_a_smaller_service_is_as_strict(http, path, headers, body, status):
    sent = {"content-type": "application/json", **headers}
    assert http.post(path, content=body, headers=sent).status_code == status
