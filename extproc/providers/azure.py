"""Azure OpenAI: https://learn.microsoft.com/azure/ai-foundry/openai/reference.

A *deployment* stands where a model stands elsewhere. With an ``api_version`` each has a path
of its own; without one they are named in the body, under ``/openai/v1``, as OpenAI does
(https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle). What Azure's
content filter says (``content_filter_results``) passes to clients of OpenAI's API; an answer
that it cut off has the finish reason ``content_filter``, which every client's API has a word
for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from extproc.formats import openai_chat, openai_endpoints, openai_responses
from extproc.formats.embeddings import openai as openai_embeddings
from extproc.formats.openai_chat.quirks import quirky
from extproc.formats.openai_responses import input_tokens
from extproc.providers.base import Dialect, Provider

_VERSION = "?api-version={api_version}"
_BY_DEPLOYMENT = (
    openai_endpoints.IMAGES, openai_endpoints.IMAGE_EDITS, openai_endpoints.SPEECH,
    openai_endpoints.TRANSCRIPTIONS, openai_endpoints.TRANSLATIONS,
)  # fmt: skip

V1 = Provider(
    name="azure.ai.openai",
    # A deployment's name does not tell whose the model is; most are OpenAI's.
    format=quirky(
        openai_chat.PROVIDER, ("no_reasoning_back", "no_web_search"), "Azure"
    ),
    base_url="",
    chat_path="/openai/v1/chat/completions",
    others=(
        Dialect(openai_responses.PROVIDER, "/openai/v1/responses"),
        Dialect(input_tokens.PROVIDER, "/openai/v1/responses/input_tokens"),
        Dialect(openai_embeddings.PROVIDER, "/openai/v1/embeddings"),
        *(
            Dialect(one.provider, f"/openai/v1{one.path}")
            for one in openai_endpoints.WITH_A_MODEL
            if one is not openai_endpoints.MODERATIONS
        ),
    ),
    forward_path="/openai/v1{path}",
    request_id_header="apim-request-id",
    credential_header="api-key",
    tokens="entra",
    key_variable="AZURE_OPENAI_API_KEY",
    url_variable="AZURE_OPENAI_ENDPOINT",
    model_patterns=("gpt-*", "chatgpt-*", "o1*", "o3*", "o4*"),
)
DEPLOYMENTS = dataclasses.replace(
    V1,
    chat_path=f"/openai/deployments/{{model}}/chat/completions{_VERSION}",
    others=(
        Dialect(openai_responses.PROVIDER, f"/openai/responses{_VERSION}"),
        Dialect(input_tokens.PROVIDER, f"/openai/responses/input_tokens{_VERSION}"),
        Dialect(
            openai_embeddings.PROVIDER,
            f"/openai/deployments/{{model}}/embeddings{_VERSION}",
        ),
        *(
            Dialect(one.provider, f"/openai/deployments/{{model}}{one.path}{_VERSION}")
            for one in _BY_DEPLOYMENT
        ),
        Dialect(
            openai_endpoints.REALTIME.provider,
            f"/openai/realtime{_VERSION}&deployment={{model}}",
        ),
    ),
    forward_path=f"/openai{{path}}{_VERSION}",
)


def _variant(settings: Mapping[str, str]) -> Provider:
    return DEPLOYMENTS if "api_version" in settings else V1


PROVIDER = dataclasses.replace(V1, variant=_variant)
