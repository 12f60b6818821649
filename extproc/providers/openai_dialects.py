"""What servers of OpenAI's API have beside chat: its paths are the same wherever it is."""

from __future__ import annotations

from extproc.formats import openai_endpoints
from extproc.formats.embeddings import openai as openai_embeddings
from extproc.formats.rerank import providers as rerank
from extproc.providers.base import Dialect

COMMON = (
    Dialect(openai_embeddings.PROVIDER, "/embeddings"),
    # Not of OpenAI itself, but of the servers that speak its API, such as vLLM.
    Dialect(rerank.JINA, "/rerank"),
    *(
        Dialect(endpoint.provider, endpoint.path)
        for endpoint in openai_endpoints.WITH_A_MODEL
    ),
)
