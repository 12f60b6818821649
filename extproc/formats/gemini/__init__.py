"""Google's Gemini API: https://ai.google.dev/api/generate-content."""

from __future__ import annotations

from extproc.formats.base import ProviderFormat
from extproc.formats.gemini.answer import overview, read_answer
from extproc.formats.gemini.errors import read_error
from extproc.formats.gemini.passage import ChunkPassage
from extproc.formats.gemini.request import write_request
from extproc.formats.gemini.stream import ChunkStream

__all__ = ["PROVIDER"]

PROVIDER = ProviderFormat(
    name="gemini",
    write_request=write_request,
    read_answer=read_answer,
    stream_reader=ChunkStream,
    read_error=read_error,
    overview=overview,
    passage=ChunkPassage,
)
