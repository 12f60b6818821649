"""Services for vectors and rankings, without a chat: Voyage, Jina, TEI.

https://docs.voyageai.com/reference, https://api.jina.ai/redoc,
https://huggingface.github.io/text-embeddings-inference/ (a server of one's own, whose
embeddings are at ``/v1`` in OpenAI's shape and whose rankings are not).
"""

from __future__ import annotations

from extproc.formats.embeddings import openai as openai_embeddings, output_dimension
from extproc.formats.rerank import providers as rerank
from extproc.providers.base import Dialect, Provider

VOYAGE = Provider(
    name="voyage",
    title="Voyage AI",
    format=output_dimension.VOYAGE,
    base_url="https://api.voyageai.com/v1",
    chat_path="/embeddings",
    others=(Dialect(rerank.VOYAGE, "/rerank"),),
    credential_header="authorization",
    credential_prefix="Bearer ",
    key_variable="VOYAGE_API_KEY",
    model_patterns=("voyage-*", "rerank-2*"),
    models=("voyage-3.5", "voyage-3.5-lite", "voyage-code-3", "rerank-2.5"),
    source="https://docs.voyageai.com/reference/embeddings-api",
)
JINA = Provider(
    name="jina",
    title="Jina AI",
    format=rerank.JINA,
    base_url="https://api.jina.ai/v1",
    chat_path="/rerank",
    credential_header="authorization",
    credential_prefix="Bearer ",
    key_variable="JINA_API_KEY",
    model_patterns=("jina-reranker-*", "jina-colbert-*"),
    models=("jina-reranker-v3", "jina-reranker-v2-base-multilingual"),
    source="https://api.jina.ai/redoc",
)
TEI = Provider(
    name="tei",
    title="Text Embeddings Inference",
    format=rerank.TEI,
    base_url="http://127.0.0.1:8080",
    chat_path="/rerank",
    others=(Dialect(openai_embeddings.PROVIDER, "/v1/embeddings"),),
    credential_header="authorization",
    credential_prefix="Bearer ",
    key_variable="TEI_API_KEY",
    url_variable="TEI_BASE_URL",
    keyless=True,
    source="https://huggingface.github.io/text-embeddings-inference/",
)
