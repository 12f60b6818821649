"""A whole answer: translated, or passed on and read on the way."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from extproc.errors import BadUpstreamAnswer
from extproc.exchange.render import Leg
from extproc.formats import unsaid
from extproc.formats.answer_tool import unwrap
from extproc.formats.base import AnyClientFormat, WriterContext
from extproc.framing.members import is_json_object
from extproc.routing.pick import MOST_NAME
from extproc.usage import Usage, believed


class Whole(msgspec.Struct, frozen=True):
    """The client's answer, and what the record says of it."""

    body: bytes
    changed: bool
    """The body is not the provider's: its length and coding no longer hold."""
    usage: Usage | None
    model: str | None
    unsaid: tuple[str, ...] = ()
    """What of the answer its client cannot be told."""


def translate(
    body: bytes,
    leg: Leg,
    client: AnyClientFormat,
    context: WriterContext,
    headers: Mapping[str, str],
) -> Whole:
    """Return the provider's answer in the client's words.

    Raises:
        GatewayError: it cannot be read.
    """
    answer = leg.format.read_answer(body)
    if leg.answer_tool:
        answer = unwrap(answer, leg.answer_tool)
    if answer.usage is None:
        told = leg.format.header_usage(headers)
        answer = msgspec.structs.replace(answer, usage=told)
    return Whole(
        client.write_answer(answer, context),
        True,
        believed(answer.usage),
        answer.model[:MOST_NAME] or None,
        unsaid.of_answer(answer, client),
    )


def pass_on(raw: bytes, body: bytes, leg: Leg) -> Whole:
    """Return an answer in the client's own format, as it came but for its host's manners.

    `body` is what `raw` decodes to.

    Raises:
        BadUpstreamAnswer: it is no answer.
    """
    rewrite = leg.format.rewrite_answer
    if rewrite is not None:
        raw = body = rewrite(body)
    seen = leg.format.overview(body)
    if seen.model is None and not is_json_object(body):
        # The client's SDK could only fail on it, and would not ask again.
        raise BadUpstreamAnswer("The provider's answer is not valid JSON.")
    model = seen.model and seen.model[:MOST_NAME]
    return Whole(raw, rewrite is not None, believed(seen.usage), model)
