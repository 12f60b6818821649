"""Gemini on Vertex AI: https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest.

With a project, control fetches tokens for it. Without one it is Vertex' express mode, which
has an API key and no project in its paths
(https://cloud.google.com/vertex-ai/generative-ai/docs/start/express-mode/overview).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from extproc.formats import gemini
from extproc.formats.embeddings import google
from extproc.formats.gemini import count_tokens
from extproc.providers.base import Dialect, Provider
from extproc.providers.google_cloud import vertex_base

EXPRESS = Provider(
    name="gcp.vertex_ai",
    format=gemini.PROVIDER,
    base_url="https://aiplatform.googleapis.com/v1",
    chat_path="/publishers/google/models/{model}:generateContent",
    stream_path="/publishers/google/models/{model}:streamGenerateContent?alt=sse",
    others=(
        Dialect(count_tokens.VERTEX, "/publishers/google/models/{model}:countTokens"),
        Dialect(
            google.VERTEX_ONE,
            "/publishers/google/models/{model}:embedContent",
            families=("gemini-embedding-2",),
        ),
        Dialect(google.VERTEX, "/publishers/google/models/{model}:predict"),
    ),
    credential_header="x-goog-api-key",
    tokens="google",
    key_variable="GOOGLE_API_KEY",
    model_patterns=("gemini-*",),
)
_PLACE = "/projects/{project}/locations/{location}"
PROJECT = dataclasses.replace(
    EXPRESS,
    chat_path=_PLACE + EXPRESS.chat_path,
    stream_path=f"{_PLACE}{EXPRESS.stream_path}",
    others=tuple(
        dataclasses.replace(other, path=_PLACE + other.path) for other in EXPRESS.others
    ),
)


def _variant(settings: Mapping[str, str]) -> Provider:
    if "project" not in settings:
        return EXPRESS
    return dataclasses.replace(PROJECT, base_url=vertex_base(settings["location"]))


PROVIDER = dataclasses.replace(EXPRESS, variant=_variant)
