"""Bedrock's ``CountTokens``, of a Converse request; of InvokeModel's it answers the same.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html. It
knows foundation models only: `foundation_model` takes the geography off an inference
profile's id.
"""

from __future__ import annotations

import re

import msgspec

from extproc import canonical
from extproc.counting import OPERATION, TokenCount
from extproc.errors import ProtocolViolation
from extproc.formats.base import Overview, ProviderFormat, Rendered
from extproc.formats.converse import request
from extproc.formats.converse.errors import read_error
from extproc.usage import Usage

_GEOGRAPHY = re.compile(r"^(?:us-gov|us|eu|apac|uk|au|jp|ca|global)\.")
"""https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html"""

_COUNTED = ("messages", "system", "toolConfig", "additionalModelRequestFields")


class _Answer(msgspec.Struct, rename="camel"):
    input_tokens: int


_ANSWER = msgspec.json.Decoder(_Answer)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def foundation_model(model: str) -> str:
    """Return the model behind a geography's inference profile, or `model` itself."""
    return _GEOGRAPHY.sub("", model)


def _write(asked: canonical.Request, model: str, default_max_tokens: int) -> Rendered:
    rendered = request.write_request(asked, model, default_max_tokens)
    said = _OBJECT.decode(rendered.body)
    counted = {name: said[name] for name in _COUNTED if name in said}
    body = msgspec.json.encode({"input": {"converse": counted}})
    return Rendered(body, rendered.dropped)


def read_answer(body: bytes) -> TokenCount:
    """Read a whole answer; see `ProviderFormat.read_answer`."""
    try:
        return TokenCount(_ANSWER.decode(body).input_tokens)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ProtocolViolation(f"cannot read the count: {exc}") from None


def _overview(body: bytes) -> Overview:  # noqa: ARG001
    return Overview(usage=Usage())


PROVIDER = ProviderFormat(
    name="converse_count_tokens",
    operation=OPERATION,
    write_request=_write,
    read_answer=read_answer,
    read_error=read_error,
    overview=_overview,
)
