"""OpenAI's chat completions, for clients and for providers."""

from __future__ import annotations

from extproc.formats.base import ClientFormat, ProviderFormat
from extproc.formats.openai_chat.answer_reader import read_answer
from extproc.formats.openai_chat.answer_writer import write_answer
from extproc.formats.openai_chat.chunk_reader import ChunkReader
from extproc.formats.openai_chat.chunk_writer import ChunkWriter
from extproc.formats.openai_chat.errors import write_error_event
from extproc.formats.openai_chat.foreign import adapt
from extproc.formats.openai_chat.request_reader import read_request
from extproc.formats.openai_chat.request_writer import write_request
from extproc.formats.openai_errors import read_error, write_error
from extproc.formats.openai_models import write_model, write_models
from extproc.formats.openai_passage import ChunkPassage, overview
from extproc.formats.openai_usage_request import usage_request

CLIENT = ClientFormat(
    name="openai_chat",
    read_request=read_request,
    write_answer=write_answer,
    stream_writer=ChunkWriter,
    mute=frozenset({"web_search", "document_citations", "file_citations"}),
    write_error=write_error,
    write_error_event=write_error_event,
    write_model=write_model,
    write_models=write_models,
)

PROVIDER = ProviderFormat(
    name="openai_chat",
    write_request=write_request,
    read_answer=read_answer,
    stream_reader=ChunkReader,
    read_error=read_error,
    overview=overview,
    passage=ChunkPassage,
    usage_request=usage_request,
    adapt=adapt,
)
