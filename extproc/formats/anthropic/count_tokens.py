"""Counting the tokens of a message before it is sent.

https://docs.anthropic.com/en/api/messages-count-tokens. Only Anthropic can count what its
own tokenizer makes of a request, so it passes to Anthropic as it came, and is refused for
every other provider: a guess would be taken for a count.
"""

from __future__ import annotations

from typing import Never

from extproc.formats.anthropic.errors import (
    read_error,
    write_error,
    write_error_event,
)
from extproc.formats.anthropic.model_writer import write_model, write_models
from extproc.formats.anthropic.passage import passage
from extproc.formats.base import ClientFormat, Overview, ProviderFormat, Unsupported
from extproc.usage import Usage

NAME = "anthropic_count_tokens"
OPERATION = "count_tokens"


def overview(body: bytes) -> Overview:  # noqa: ARG001
    """Return that nothing was used: counting is free."""
    return Overview(usage=Usage())


def _refuse(*_: object) -> Never:
    raise Unsupported(
        "The provider of this model does not count tokens in Anthropic's way.",
        param="model",
        code="unsupported_operation",
    )


CLIENT: ClientFormat[Never, Never] = ClientFormat(
    name=NAME,
    operation=OPERATION,
    read_request=_refuse,
    write_answer=_refuse,
    stream_writer=_refuse,
    write_error=write_error,
    write_error_event=write_error_event,
    write_model=write_model,
    write_models=write_models,
)
PROVIDER: ProviderFormat[Never, Never] = ProviderFormat(
    name=NAME,
    operation=OPERATION,
    write_request=_refuse,
    read_answer=_refuse,
    stream_reader=_refuse,
    read_error=read_error,
    overview=overview,
    passage=passage,
    headers=frozenset({"anthropic-version", "anthropic-beta"}),
)
