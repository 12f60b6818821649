"""Claude on Vertex AI: https://platform.claude.com/docs/en/api/claude-on-vertex-ai.

Anthropic's requests by raw prediction: the path has the model, the body Anthropic's version;
flags stay in the ``anthropic-beta`` header. Errors are Anthropic's own, or Google's from
what stands before it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import msgspec

from extproc.errors import UpstreamError
from extproc.formats import anthropic, gemini
from extproc.formats.anthropic import count_tokens
from extproc.formats.base import Members, Rendered
from extproc.providers.base import Dialect, Provider
from extproc.providers.google_cloud import vertex_base

DATED = "vertex-2023-10-16"
"""What Vertex calls the version 2023-06-01; newer ones have the same name everywhere."""

_MODELS = "/projects/{project}/locations/{location}/publishers/anthropic/models"


class _Shape(msgspec.Struct):
    type: str = ""


def _read_error(status: int, body: bytes) -> UpstreamError:
    try:
        anthropics = msgspec.json.decode(body, type=_Shape).type == "error"
    except (msgspec.MsgspecError, UnicodeDecodeError):
        anthropics = False
    form = anthropic.PROVIDER if anthropics else gemini.PROVIDER
    return form.read_error(status, body)


def _count(members: Members, headers: Mapping[str, str]) -> Rendered:
    version = headers.get("anthropic-version", "2023-06-01")
    dated = DATED if version == "2023-06-01" else version
    return Rendered(msgspec.json.encode({"anthropic_version": dated, **members}))


def _wrap(members: Members, headers: Mapping[str, str]) -> Rendered:
    return _count({k: v for k, v in members.items() if k != "model"}, headers)


MESSAGES = dataclasses.replace(
    anthropic.PROVIDER,
    read_error=_read_error,
    headers=frozenset({"anthropic-beta"}),
    wrap=_wrap,
)
COUNT = dataclasses.replace(
    count_tokens.PROVIDER,
    read_error=_read_error,
    headers=frozenset({"anthropic-beta"}),
    wrap=_count,
)


def _variant(settings: Mapping[str, str]) -> Provider:
    return dataclasses.replace(PROVIDER, base_url=vertex_base(settings["location"]))


PROVIDER = Provider(
    name="gcp.vertex_ai",
    format=MESSAGES,
    base_url=vertex_base("global"),
    chat_path=f"{_MODELS}/{{model}}:rawPredict",
    stream_path=f"{_MODELS}/{{model}}:streamRawPredict",
    others=(Dialect(COUNT, f"{_MODELS}/count-tokens:rawPredict"),),
    credential_header="authorization",
    credential_prefix="Bearer ",
    tokens="google",
    key_variable="GOOGLE_ACCESS_TOKEN",
    variant=_variant,
)
