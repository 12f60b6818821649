"""Counting the tokens of a response before it is asked for.

https://platform.openai.com/docs/api-reference/responses/input-tokens
"""

from __future__ import annotations

import msgspec

from extproc import canonical
from extproc.counting import OPERATION, TokenCount
from extproc.errors import ProtocolViolation
from extproc.formats import openai_errors, openai_models
from extproc.formats.base import (
    ClientFormat,
    Overview,
    ProviderFormat,
    Rendered,
    WriterContext,
)
from extproc.formats.openai_responses import foreign
from extproc.formats.openai_responses.request_reader import read_request
from extproc.formats.openai_responses.request_writer import write_request
from extproc.usage import Usage

NAME = "openai_input_tokens"

_COUNTED = (
    "model", "input", "instructions", "tools", "tool_choice", "text", "reasoning",
    "parallel_tool_calls", "previous_response_id", "conversation", "truncation",
)  # fmt: skip
"""What of a response's request the endpoint takes."""


class _Answer(msgspec.Struct):
    input_tokens: int


_ANSWER = msgspec.json.Decoder(_Answer)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _write_request(
    asked: canonical.Request, model: str, default_max_tokens: int
) -> Rendered:
    rendered = write_request(asked, model, default_max_tokens)
    said = _OBJECT.decode(rendered.body)
    counted = {name: said[name] for name in _COUNTED if name in said}
    return Rendered(msgspec.json.encode(counted), rendered.dropped)


def _read_answer(body: bytes) -> TokenCount:
    try:
        return TokenCount(_ANSWER.decode(body).input_tokens)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ProtocolViolation(f"cannot read the count: {exc}") from None


def _write_answer(answer: TokenCount, _: WriterContext) -> bytes:
    return b'{"object":"response.input_tokens","input_tokens":%d}' % answer.input_tokens


def _overview(body: bytes) -> Overview:  # noqa: ARG001
    return Overview(usage=Usage())


CLIENT = ClientFormat(
    name=NAME,
    operation=OPERATION,
    read_request=read_request,
    write_answer=_write_answer,
    write_error=openai_errors.write_error,
    write_error_event=openai_errors.write_error,
    write_model=openai_models.write_model,
    write_models=openai_models.write_models,
)
PROVIDER = ProviderFormat(
    name=NAME,
    operation=OPERATION,
    write_request=_write_request,
    read_answer=_read_answer,
    read_error=openai_errors.read_error,
    overview=_overview,
    adapt=foreign.adapt,
)
