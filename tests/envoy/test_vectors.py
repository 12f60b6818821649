"""Embeddings, rankings and counts through a real Envoy, asked for by the official SDKs."""

from __future__ import annotations

import base64

import anthropic
import openai
import pytest

from extproc.local.mock import vectors
from tests.harness import KEY

pytestmark = pytest.mark.envoy

EMBEDDERS = ["text-embedding-3-small", "gemini-embedding-001", "cohere.embed-v4:0"]


@pytest.fixture
def client(peers):
    with openai.OpenAI(base_url=peers.base_url, api_key=KEY, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("model", [*EMBEDDERS, "amazon.titan-embed-text-v2:0"])
def test_the_sdk_gets_vectors(client, model):
    """It asks for base64 unless it is told otherwise, and makes numbers of it."""
    texts = ["the sun"] if "titan" in model else ["the sun", "the moon"]
    made = client.embeddings.create(model=model, input=texts, dimensions=256)
    wanted = [pytest.approx(vectors.vector(text, 256)) for text in texts]
    assert [one.embedding for one in made.data] == wanted
    assert made.usage.prompt_tokens == 2 * len(texts)
    plain = client.embeddings.create(
        model=model, input="the sun", dimensions=256, encoding_format="float"
    )
    assert plain.data[0].embedding == vectors.vector("the sun", 256)


def test_what_a_provider_cannot_embed_is_a_400_that_names_it(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="gemini-embedding-001", input=[1, 2, 3])
    assert caught.value.param == "input"
    with pytest.raises(openai.BadRequestError, match="does not serve embeddings") as no:
        client.embeddings.create(model="claude-sonnet-4-5", input="x")
    assert no.value.code == "unsupported_operation"


def test_a_text_of_a_thousand_vectors_comes_whole(client):
    """Some 12 MB of JSON, translated."""
    texts = [f"text {n}" for n in range(90)]
    made = client.embeddings.create(
        model="gemini-embedding-001", input=texts, encoding_format="base64"
    )
    last = base64.b64decode(str(made.data[-1].embedding))
    assert vectors.unpack(last) == vectors.vector("text 89", 3072)


@pytest.mark.parametrize("model", ["bge-reranker", "cohere.rerank-v3-5:0"])
@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
def test_documents_are_ranked(peers, model, path):
    asked = {"model": model, "query": "sun", "documents": ["moon", "sun"], "top_n": 1}
    answer = peers.http.post(path, json=asked)
    assert answer.status_code == 200, answer.text
    (one,) = answer.json()["results"]
    assert (one["index"], one["relevance_score"]) == (1, 1.0)


@pytest.mark.parametrize(
    "model",
    [
        "claude-sonnet-4-5",
        "gemini-2.5-flash",
        "gpt-4o",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ],
)
def test_both_sdks_count_tokens(peers, client, model):
    said = client.responses.input_tokens.count(model=model, input="Hello there, you")
    assert said.input_tokens > 3
    with anthropic.Anthropic(
        base_url=peers.gateway.url, api_key=KEY, max_retries=0
    ) as other:
        counted = other.messages.count_tokens(
            model=model, messages=[{"role": "user", "content": "Hello there, you"}]
        )
    assert counted.input_tokens > 3


def test_only_posts_are_taken(peers):
    for path in ("/v1/embeddings", "/v1/rerank", "/v1/responses/input_tokens"):
        answer = peers.http.get(path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == "POST"
