"""OpenAI's chat completions, for clients and for providers."""

from __future__ import annotations

from extproc.formats.base import ClientFormat
from extproc.formats.openai_chat.answer_writer import write_answer
from extproc.formats.openai_chat.chunk_writer import ChunkWriter
from extproc.formats.openai_chat.errors import write_error, write_error_event
from extproc.formats.openai_chat.request_reader import read_request

CLIENT = ClientFormat(
    name="openai_chat",
    read_request=read_request,
    write_answer=write_answer,
    stream_writer=ChunkWriter,
    write_error=write_error,
    write_error_event=write_error_event,
)
