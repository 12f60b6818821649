"""Amazon Bedrock's Converse API.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html; its
streams come in AWS's own framing (`framing.eventstream`).
"""

from __future__ import annotations

from extproc.formats.base import ProviderFormat
from extproc.formats.converse.answer import overview, read_answer
from extproc.formats.converse.errors import read_error
from extproc.formats.converse.passage import passage
from extproc.formats.converse.request import write_request
from extproc.formats.converse.stream import ConverseStream

__all__ = ["PROVIDER"]

PROVIDER = ProviderFormat(
    name="converse",
    write_request=write_request,
    read_answer=read_answer,
    stream_reader=ConverseStream,
    read_error=read_error,
    overview=overview,
    passage=passage,
)
