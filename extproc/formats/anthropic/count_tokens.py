"""Counting the tokens of a message before it is sent.

https://docs.anthropic.com/en/api/messages-count-tokens. A client's request passes to
Anthropic as it came; where another provider would serve it, that one counts what would be
sent to it, as far as it has an API for that.
"""

from __future__ import annotations

import msgspec

from extproc import canonical
from extproc.counting import OPERATION, TokenCount
from extproc.errors import ProtocolViolation
from extproc.formats.anthropic import foreign, request, request_reader
from extproc.formats.anthropic.errors import (
    read_error,
    write_error,
    write_error_event,
)
from extproc.formats.anthropic.model_writer import write_model, write_models
from extproc.formats.base import (
    ClientFormat,
    Members,
    Overview,
    ProviderFormat,
    Rendered,
    WriterContext,
)
from extproc.framing.members import patch, read_members
from extproc.usage import Usage

NAME = "anthropic_count_tokens"

_COUNTED = (
    "model", "messages", "system", "tools", "tool_choice", "thinking", "output_config",
)  # fmt: skip
"""What of a message the endpoint takes; it refuses the rest."""

_UNLIMITED = b"1000000"


class _Answer(msgspec.Struct):
    input_tokens: int


_ANSWER = msgspec.json.Decoder(_Answer)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


def overview(body: bytes) -> Overview:  # noqa: ARG001
    """Return that nothing was used: counting is free."""
    return Overview(usage=Usage())


def read_request(body: bytes, members: Members) -> canonical.Request:
    """Read a request; see `ClientFormat.read_request`. It has no limit of the answer."""
    whole = patch(body, dict(members), {"max_tokens": _UNLIMITED})
    said = request_reader.read_request(whole, read_members(whole))
    return msgspec.structs.replace(said, max_output_tokens=None, stream=False)


def write_request(
    asked: canonical.Request, model: str, default_max_tokens: int
) -> Rendered:
    """Write a request; see `ProviderFormat.write_request`."""
    rendered = request.write_request(asked, model, default_max_tokens)
    said = _OBJECT.decode(rendered.body)
    counted = {name: said[name] for name in _COUNTED if name in said}
    return Rendered(msgspec.json.encode(counted), rendered.dropped)


def write_answer(answer: TokenCount, _: WriterContext) -> bytes:
    """Write a whole answer; see `ClientFormat.write_answer`."""
    return b'{"input_tokens":%d}' % answer.input_tokens


def read_answer(body: bytes) -> TokenCount:
    """Read a whole answer; see `ProviderFormat.read_answer`."""
    try:
        return TokenCount(_ANSWER.decode(body).input_tokens)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ProtocolViolation(f"cannot read the count: {exc}") from None


CLIENT = ClientFormat(
    name=NAME,
    operation=OPERATION,
    read_request=read_request,
    write_answer=write_answer,
    write_error=write_error,
    write_error_event=write_error_event,
    write_model=write_model,
    write_models=write_models,
)
PROVIDER = ProviderFormat(
    name=NAME,
    operation=OPERATION,
    write_request=write_request,
    read_answer=read_answer,
    read_error=read_error,
    overview=overview,
    headers=frozenset({"anthropic-version", "anthropic-beta"}),
    adapt=foreign.adapt,
)
