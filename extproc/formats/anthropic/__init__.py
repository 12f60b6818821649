"""Anthropic's Messages API: https://platform.claude.com/docs/en/api/messages."""

from __future__ import annotations

from extproc.formats.anthropic.answer import overview, read_answer
from extproc.formats.anthropic.answer_writer import write_answer
from extproc.formats.anthropic.errors import (
    read_error,
    write_error,
    write_error_event,
)
from extproc.formats.anthropic.foreign import adapt
from extproc.formats.anthropic.model_writer import write_model, write_models
from extproc.formats.anthropic.passage import passage
from extproc.formats.anthropic.request import write_request
from extproc.formats.anthropic.request_reader import read_request
from extproc.formats.anthropic.stream import MessageStream
from extproc.formats.anthropic.stream_writer import MessageWriter
from extproc.formats.base import ClientFormat, ProviderFormat

__all__ = ["CLIENT", "PROVIDER"]

CLIENT = ClientFormat(
    name="anthropic",
    read_request=read_request,
    write_answer=write_answer,
    stream_writer=MessageWriter,
    mute=frozenset({"audio"}),
    write_error=write_error,
    write_error_event=write_error_event,
    write_model=write_model,
    write_models=write_models,
)

PROVIDER = ProviderFormat(
    name="anthropic",
    write_request=write_request,
    read_answer=read_answer,
    stream_reader=MessageStream,
    read_error=read_error,
    overview=overview,
    passage=passage,
    adapt=adapt,
    headers=frozenset(
        {
            "anthropic-version",
            "anthropic-beta",
            "anthropic-dangerous-direct-browser-access",
        }
    ),
)
