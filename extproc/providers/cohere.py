"""Cohere: https://docs.cohere.com/reference/about, chat, embeddings and rerank."""

from __future__ import annotations

from extproc.formats import cohere
from extproc.formats.embeddings import cohere as embed
from extproc.formats.rerank import providers as rerank
from extproc.providers.base import Dialect, Provider

PROVIDER = Provider(
    name="cohere",
    title="Cohere",
    format=cohere.PROVIDER,
    base_url="https://api.cohere.com/v2",
    chat_path="/chat",
    others=(Dialect(embed.PROVIDER, "/embed"), Dialect(rerank.COHERE, "/rerank")),
    credential_header="authorization",
    credential_prefix="Bearer ",
    key_variable="COHERE_API_KEY",
    model_patterns=("command-*", "c4ai-*", "embed-v4*", "embed-english-*",
                    "embed-multilingual-*", "rerank-v*"),
    models=("command-a-03-2025", "command-a-reasoning-08-2025", "command-r7b-12-2024",
            "embed-v4.0", "rerank-v3.5"),
    source="https://docs.cohere.com/reference/chat",
)  # fmt: skip
