"""OpenAI's Responses, for clients and for providers."""

from __future__ import annotations

from extproc.formats.base import ClientFormat, ProviderFormat
from extproc.formats.openai_errors import read_error, write_error
from extproc.formats.openai_models import write_model, write_models
from extproc.formats.openai_responses.answer_reader import overview, read_answer
from extproc.formats.openai_responses.answer_writer import write_answer
from extproc.formats.openai_responses.echo import keep
from extproc.formats.openai_responses.errors import write_error_event
from extproc.formats.openai_responses.event_reader import EventReader
from extproc.formats.openai_responses.event_writer import EventWriter
from extproc.formats.openai_responses.foreign import adapt
from extproc.formats.openai_responses.passage import ResponsePassage
from extproc.formats.openai_responses.request_reader import read_request
from extproc.formats.openai_responses.request_writer import write_request

CLIENT = ClientFormat(
    name="openai_responses",
    read_request=read_request,
    keep=keep,
    write_answer=write_answer,
    stream_writer=EventWriter,
    mute=frozenset({"document_citations", "audio"}),
    write_error=write_error,
    write_error_event=write_error_event,
    write_model=write_model,
    write_models=write_models,
)

PROVIDER = ProviderFormat(
    name="openai_responses",
    write_request=write_request,
    read_answer=read_answer,
    stream_reader=EventReader,
    read_error=read_error,
    overview=overview,
    passage=ResponsePassage,
    adapt=adapt,
)
