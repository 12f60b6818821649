"""Amazon Bedrock: https://docs.aws.amazon.com/bedrock/latest/userguide/.

Envoy signs the requests (``aws_request_signing``), or they bear a Bedrock API key where the
configuration has one.
"""

from __future__ import annotations

from extproc.formats import converse
from extproc.formats.converse import count_tokens
from extproc.formats.embeddings import cohere, titan
from extproc.formats.rerank import bedrock as rerank
from extproc.framing.eventstream import EVENT_STREAM
from extproc.providers.base import Dialect, Provider

_INVOKE = "/model/{model}/invoke"

PROVIDER = Provider(
    name="aws.bedrock",
    format=converse.PROVIDER,
    base_url="https://bedrock-runtime.{region}.amazonaws.com",
    chat_path="/model/{model}/converse",
    stream_path="/model/{model}/converse-stream",
    others=(
        Dialect(
            count_tokens.PROVIDER,
            "/model/{model}/count-tokens",
            path_model=count_tokens.foundation_model,
        ),
        Dialect(titan.PROVIDER, _INVOKE, families=("titan-embed-text",)),
        Dialect(cohere.BEDROCK, _INVOKE, families=("cohere.embed",)),
        Dialect(rerank.COHERE, _INVOKE, families=("cohere.rerank",)),
        Dialect(rerank.AMAZON, _INVOKE, families=("amazon.rerank",)),
    ),
    framing=EVENT_STREAM,
    request_id_header="x-amzn-requestid",
    credential_header="authorization",
    credential_prefix="Bearer ",
    aws_service="bedrock",
    key_variable="AWS_BEARER_TOKEN_BEDROCK",
    model_patterns=(
        "anthropic.*", "amazon.*", "meta.*", "mistral.*", "*.anthropic.*", "*.amazon.*",
        "*.meta.*", "*.mistral.*", "arn:aws*:bedrock:*",
    ),
    models=(
        "us.anthropic.claude-opus-4-5-20251101-v1:0",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "us.anthropic.claude-haiku-4-5-20251001-v1:0",
        "us.amazon.nova-2-lite-v1:0",
        "us.amazon.nova-pro-v1:0",
    ),
)  # fmt: skip
