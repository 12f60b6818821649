"""A request through a client's format, a provider's, the mock's judgment, and back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from extproc.errors import UpstreamError
from extproc.formats.base import AnyClientFormat, AnyProviderFormat, WriterContext
from extproc.framing.members import read_members
from extproc.local.mock.bedrock.invoke import Invoke
from extproc.local.mock.gemini.embeddings import Counts
from extproc.local.mock.openai.embeddings import Embeddings
from extproc.local.mock.reply import Reply, Request
from extproc.local.mock.services import Services
from extproc.local.mock.state import Memory

MEMORY = Memory(lambda: 0.0)
KEYS = ["sk-mock*"]
PARTS = [kind(MEMORY, KEYS) for kind in (Embeddings, Counts, Invoke, Services)]


@dataclass
class Crossed:
    sent: dict[str, Any]
    said: Any
    """What the provider answered."""
    answer: dict[str, Any]
    usage: Any
    dropped: tuple[str, ...]


def cross(
    client: AnyClientFormat,
    form: AnyProviderFormat,
    path: str,
    asked: dict[str, Any],
    *,
    model: str = "",
    key: tuple[str, str] = ("authorization", "Bearer sk-mock-1"),
) -> Crossed:
    """Take `asked` to the mock at `path` and back.

    Raises:
        UpstreamError: as the provider's format reads the mock's refusal.
    """
    body = json.dumps(asked).encode()
    request = client.read_request(body, read_members(body))
    rendered = form.write_request(request, model or asked["model"], 4096)
    headers = (("content-type", "application/json"), key)
    sent = Request("POST", path, headers, rendered.body)
    (owner,) = [one for one in PARTS if one.owns(sent)]
    reply = owner.respond(sent)
    assert isinstance(reply, Reply)
    if reply.status >= 400:
        error: UpstreamError = form.read_error(reply.status, reply.body)
        raise error
    answer = form.read_answer(reply.body)
    context = WriterContext(
        "gw-1", 0, asked["model"], include_usage=False, kept=client.keep(request)
    )
    return Crossed(
        json.loads(rendered.body),
        json.loads(reply.body),
        json.loads(client.write_answer(answer, context)),
        answer.usage or form.header_usage(dict(reply.headers)),
        rendered.dropped,
    )
