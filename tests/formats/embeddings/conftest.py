"""Every provider of embeddings, and what the mock of each is called."""

from __future__ import annotations

from typing import Any

import pytest

from extproc.formats.embeddings import cohere, google, openai, output_dimension, titan
from tests.formats.crossing import Crossed, cross

GOOGLE_KEY = ("x-goog-api-key", "sk-mock-1")
PROVIDERS: dict[str, dict[str, Any]] = {
    "openai": {
        "form": openai.PROVIDER,
        "path": "/v1/embeddings",
        "model": "text-embedding-3-small",
    },
    "gemini": {
        "form": google.GEMINI,
        "path": "/v1beta/models/gemini-embedding-001:batchEmbedContents",
        "model": "gemini-embedding-001",
        "key": GOOGLE_KEY,
    },
    "cohere": {
        "form": cohere.PROVIDER,
        "path": "/cohere/v2/embed",
        "model": "embed-v4.0",
    },
    "bedrock-cohere": {
        "form": cohere.BEDROCK,
        "path": "/model/cohere.embed-v4:0/invoke",
        "model": "cohere.embed-v4:0",
    },
    "titan": {
        "form": titan.PROVIDER,
        "path": "/model/amazon.titan-embed-text-v2:0/invoke",
        "model": "amazon.titan-embed-text-v2:0",
    },
    "mistral": {
        "form": output_dimension.MISTRAL,
        "path": "/mistral/v1/embeddings",
        "model": "mistral-embed",
    },
    "voyage": {
        "form": output_dimension.VOYAGE,
        "path": "/voyage/v1/embeddings",
        "model": "voyage-3.5",
    },
}


def embed(provider: str, **asked: Any) -> Crossed:
    """Ask `provider` for embeddings as an OpenAI client does."""
    return cross(openai.CLIENT, asked={"model": "m", **asked}, **PROVIDERS[provider])


@pytest.fixture(params=sorted(PROVIDERS))
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)
