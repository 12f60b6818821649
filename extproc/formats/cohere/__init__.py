"""Cohere's chat, version 2: https://docs.cohere.com/reference/chat."""

from __future__ import annotations

from extproc.formats.base import ProviderFormat
from extproc.formats.cohere.answer import overview, read_answer
from extproc.formats.cohere.errors import read_error
from extproc.formats.cohere.passage import EventPassage
from extproc.formats.cohere.request import write_request
from extproc.formats.cohere.stream import EventStream

__all__ = ["PROVIDER"]

PROVIDER = ProviderFormat(
    name="cohere",
    write_request=write_request,
    read_answer=read_answer,
    stream_reader=EventStream,
    read_error=read_error,
    overview=overview,
    passage=EventPassage,
)
