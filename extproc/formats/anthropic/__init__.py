"""Anthropic's Messages API: https://platform.claude.com/docs/en/api/messages."""

from __future__ import annotations

from extproc.formats.anthropic.answer import overview, read_answer
from extproc.formats.anthropic.errors import read_error
from extproc.formats.anthropic.passage import passage
from extproc.formats.anthropic.request import write_request
from extproc.formats.anthropic.stream import MessageStream
from extproc.formats.base import ProviderFormat

__all__ = ["PROVIDER"]

PROVIDER = ProviderFormat(
    name="anthropic",
    write_request=write_request,
    read_answer=read_answer,
    stream_reader=MessageStream,
    read_error=read_error,
    overview=overview,
    passage=passage,
)
