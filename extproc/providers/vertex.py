"""Gemini on Vertex AI: https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest.

With a project, control fetches tokens for it. Without one it is Vertex' express mode, which
has an API key and no project in its paths
(https://cloud.google.com/vertex-ai/generative-ai/docs/start/express-mode/overview).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from extproc.formats import gemini
from extproc.providers.base import Provider
from extproc.providers.google_cloud import vertex_base

EXPRESS = Provider(
    name="gcp.vertex_ai",
    format=gemini.PROVIDER,
    base_url="https://aiplatform.googleapis.com/v1",
    chat_path="/publishers/google/models/{model}:generateContent",
    stream_path="/publishers/google/models/{model}:streamGenerateContent?alt=sse",
    credential_header="x-goog-api-key",
    tokens="google",
    key_variable="GOOGLE_API_KEY",
    model_patterns=("gemini-*",),
)
PROJECT = dataclasses.replace(
    EXPRESS,
    chat_path="/projects/{project}/locations/{location}" + EXPRESS.chat_path,
    stream_path=f"/projects/{{project}}/locations/{{location}}{EXPRESS.stream_path}",
)


def _variant(settings: Mapping[str, str]) -> Provider:
    if "project" not in settings:
        return EXPRESS
    return dataclasses.replace(PROJECT, base_url=vertex_base(settings["location"]))


PROVIDER = dataclasses.replace(EXPRESS, variant=_variant)
