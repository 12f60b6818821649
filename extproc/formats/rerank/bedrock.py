"""Rerank by the models on Bedrock, which the path names.

https://docs.aws.amazon.com/bedrock/latest/userguide/rerank-supported.html. By itself, as its
errors bring the rest of Bedrock's API with them.
"""

from __future__ import annotations

from typing import Final

import msgspec

from extproc.formats.base import Rendered
from extproc.formats.converse.errors import read_error
from extproc.formats.rerank.providers import common, form, refuse
from extproc.reranking import RerankRequest

_API_VERSION: Final = 2
"""Of Cohere's models on Bedrock; without it they refuse the request."""

_encode = msgspec.json.Encoder().encode


def _write_cohere(request: RerankRequest, model: str, _: int) -> Rendered:  # noqa: ARG001  the path says it
    refuse(request, "Cohere on Bedrock")
    return Rendered(_encode({"api_version": _API_VERSION, **common(request, "top_n")}))


def _write_amazon(request: RerankRequest, model: str, _: int) -> Rendered:  # noqa: ARG001  the path says it
    refuse(request, "Amazon Rerank")
    return Rendered(_encode(common(request, "top_n")))


COHERE = form("bedrock_cohere_rerank", _write_cohere, read_error=read_error)
AMAZON = form("bedrock_amazon_rerank", _write_amazon, read_error=read_error)
