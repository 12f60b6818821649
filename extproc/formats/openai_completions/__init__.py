"""OpenAI's legacy completions, for clients."""

from __future__ import annotations

from extproc.formats.base import ClientFormat
from extproc.formats.openai_completions.answer_writer import (
    CompletionWriter,
    write_answer,
    write_error_event,
)
from extproc.formats.openai_completions.request_reader import read_request
from extproc.formats.openai_errors import write_error
from extproc.formats.openai_models import write_model, write_models

CLIENT = ClientFormat(
    name="openai_completions",
    read_request=read_request,
    write_answer=write_answer,
    stream_writer=CompletionWriter,
    write_error=write_error,
    write_error_event=write_error_event,
    write_model=write_model,
    write_models=write_models,
)
