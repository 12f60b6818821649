"""Claude on Bedrock in its own words: InvokeModel.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html.
The path has the model, and whether the answer is streamed; the body has Anthropic's version
and, of the flags that the client's ``anthropic-beta`` header turns on, those that Bedrock
takes: it refuses requests with any other, so the others are left out and reported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import msgspec

from extproc.formats import anthropic, converse
from extproc.formats.anthropic import count_tokens
from extproc.formats.anthropic.invoke import INVOKE_STREAM, passage
from extproc.formats.base import Members, Rendered
from extproc.formats.converse.count_tokens import foundation_model, read_answer
from extproc.providers.base import Dialect, Provider

DATED = "bedrock-2023-05-31"
"""What Bedrock calls the version 2023-06-01; newer ones have the same name everywhere."""

BETAS: Mapping[str, str] = {
    **{name: name for name in (
        "computer-use-2024-10-22", "computer-use-2025-01-24", "context-1m-2025-08-07",
        "context-management-2025-06-27", "dev-full-thinking-2025-05-14",
        "fine-grained-tool-streaming-2025-05-14", "interleaved-thinking-2025-05-14",
        "mcp-client-2025-04-04", "mcp-client-2025-11-20",
        "model-context-window-exceeded-2025-08-26", "output-128k-2025-02-19",
        "pdfs-2024-09-25", "search-results-2025-06-09", "token-counting-2024-11-01",
        "token-efficient-tools-2025-02-19", "tool-search-tool-2025-10-19",
        "web-search-2025-03-05",
    )},
    "advanced-tool-use-2025-11-20": "tool-search-tool-2025-10-19",
}  # fmt: skip
"""The flags that Bedrock takes, by what the client may call them."""


def flags(header: str) -> Iterator[str]:
    """Yield the flags of an ``anthropic-beta`` header."""
    return (name for name in map(str.strip, header.split(",")) if name)


def _wrap(members: Members, headers: Mapping[str, str]) -> Rendered:
    asked = list(dict.fromkeys(flags(headers.get("anthropic-beta", ""))))
    kept = list(dict.fromkeys(BETAS[name] for name in asked if name in BETAS))
    version = headers.get("anthropic-version", "2023-06-01")
    body: dict[str, object] = {
        "anthropic_version": DATED if version == "2023-06-01" else version
    }
    if kept:
        body["anthropic_beta"] = kept
    body |= {
        name: value
        for name, value in members.items()
        if name not in {"model", "stream"}
    }
    dropped = tuple(f"anthropic-beta.{name}" for name in asked if name not in BETAS)
    return Rendered(msgspec.json.encode(body), dropped)


class _Thinking(msgspec.Struct):
    budget_tokens: int = 0


_THINKING = msgspec.json.Decoder(_Thinking | None)


def _count(members: Members, headers: Mapping[str, str]) -> Rendered:
    """Write what `CountTokens` takes of InvokeModel: its body, whole, in base64.

    https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelTokensRequest.html.
    Such a body has a limit of the answer, which a request to count has not: any does.
    """
    invoked = _wrap(members, headers)
    body = msgspec.json.decode(invoked.body, type=dict[str, msgspec.Raw])
    try:
        thinking = _THINKING.decode(members.get("thinking", b"null"))
    except msgspec.ValidationError:
        thinking = None  # Bedrock says what is wrong with it
    limit = 1 + (thinking.budget_tokens if thinking else 0)
    body.setdefault("max_tokens", msgspec.Raw(b"%d" % limit))
    said = {"input": {"invokeModel": {"body": msgspec.json.encode(body)}}}
    return Rendered(msgspec.json.encode(said), invoked.dropped)


def _counted(body: bytes) -> bytes:
    return b'{"input_tokens":%d}' % read_answer(body).input_tokens


COUNT = dataclasses.replace(
    count_tokens.PROVIDER,
    read_answer=read_answer,
    read_error=converse.PROVIDER.read_error,
    headers=frozenset(),
    wrap=_count,
    rewrite_answer=_counted,
)

MESSAGES = dataclasses.replace(
    anthropic.PROVIDER,
    read_error=converse.PROVIDER.read_error,
    passage=passage,
    headers=frozenset(),
    wrap=_wrap,
)

PROVIDER = Provider(
    name="aws.bedrock",
    format=MESSAGES,
    base_url="https://bedrock-runtime.{region}.amazonaws.com",
    chat_path="/model/{model}/invoke",
    stream_path="/model/{model}/invoke-with-response-stream",
    others=(
        Dialect(
            COUNT,
            "/model/{model}/count-tokens",
            path_model=foundation_model,
        ),
    ),
    framing=INVOKE_STREAM,
    request_id_header="x-amzn-requestid",
    credential_header="authorization",
    credential_prefix="Bearer ",
    aws_service="bedrock",
    key_variable="AWS_BEARER_TOKEN_BEDROCK",
)
