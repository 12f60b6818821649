"""OpenAI's legacy completions: for clients, and for servers that have them.

Nobody is translated to them: a provider that speaks them has their own clients only, whose
bytes pass. Every other model answers their clients by its chat.
"""

from __future__ import annotations

from typing import Never

from extproc.formats.base import ClientFormat, ProviderFormat, Unsupported
from extproc.formats.openai_completions.answer_writer import (
    CompletionWriter,
    write_answer,
    write_error_event,
)
from extproc.formats.openai_completions.request_reader import read_request
from extproc.formats.openai_errors import read_error, write_error
from extproc.formats.openai_models import write_model, write_models
from extproc.formats.openai_passage import ChunkPassage, overview
from extproc.formats.openai_usage_request import usage_request


def _refuse(*_: object) -> Never:
    raise Unsupported("A completion is asked for as a completion only.", param="model")


CLIENT = ClientFormat(
    name="openai_completions",
    recorded="text_completion",
    read_request=read_request,
    write_answer=write_answer,
    stream_writer=CompletionWriter,
    mute=frozenset(
        {
            "web_search",
            "citations",
            "document_citations",
            "file_citations",
            "reasoning",
            "tool_calls",
            "audio",
        }
    ),
    write_error=write_error,
    write_error_event=write_error_event,
    write_model=write_model,
    write_models=write_models,
)

PROVIDER = ProviderFormat(
    name="openai_completions",
    write_request=_refuse,
    read_answer=_refuse,
    read_error=read_error,
    overview=overview,
    passage=ChunkPassage,
    usage_request=usage_request,
)
