"""This format as servers speak it that are not OpenAI's: see `kinds`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import msgspec

from extproc import canonical
from extproc.errors import UpstreamError
from extproc.formats.base import (
    Adapted,
    Members,
    ProviderFormat,
    Rendered,
    Unsupported,
)
from extproc.formats.openai_chat.quirks.chunks import base_resp_error, edit_choices
from extproc.formats.openai_chat.quirks.draft import Draft
from extproc.formats.openai_chat.quirks.kinds import KINDS, Kind, find_kind
from extproc.formats.openai_chat.quirks.streams import (
    Makers,
    QuirkyPassage,
    QuirkyReader,
)
from extproc.formats.openai_chat.request_writer import write_request
from extproc.framing.members import patch, read_members, remove

__all__ = ["KINDS", "Kind", "find_kind", "quirky"]

ChatFormat = ProviderFormat[canonical.Request, canonical.Answer]

_CANONICAL = {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "output_format",
    "reasoning_effort": "thinking",
    "user": "end_user",
    "safety_identifier": "end_user",
}
"""Members whose canonical word is another."""


def quirky(plain: ChatFormat, names: Sequence[str], provider: str) -> ChatFormat:
    """Return `plain` for a server of these kinds, which errors call `provider`.

    What no kind touches stays the function that it was: without kinds nothing costs.

    Raises:
        KeyError: there is no such kind.
    """
    kinds: list[Kind] = []
    for name in names:
        kind = find_kind(name)
        if kind is None:
            raise KeyError(name)
        kinds.append(kind)
    out = plain
    if any(kind.requests for kind in kinds):
        adapt = functools.partial(_adapt, kinds=kinds, provider=provider)
        write_plainly = plain.write_request
        if any(kind.thoughts for kind in kinds):
            write_plainly = functools.partial(write_request, thoughts=True)
        write = functools.partial(_write_request, plainly=write_plainly, adapt=adapt)
        out = dataclasses.replace(out, adapt=adapt, write_request=write)
    if any(kind.answer or kind.fails_with_200 for kind in kinds):
        rewrite = functools.partial(_rewrite_answer, kinds=kinds)
        out = dataclasses.replace(
            out,
            rewrite_answer=rewrite,
            read_answer=lambda body: plain.read_answer(rewrite(body)),
        )
    makers: Makers = [kind.stream for kind in kinds if kind.stream is not None]
    if makers:
        out = dataclasses.replace(
            out,
            passage=lambda show_usage: QuirkyPassage(show_usage, makers),
            stream_reader=lambda: QuirkyReader(makers),
        )
    return out


def _adapt(
    members: Members, model: str, *, kinds: Sequence[Kind], provider: str
) -> Adapted:
    del model
    draft = Draft(members, provider)
    for kind in kinds:
        for change in kind.requests:
            change(draft)
    return draft.adapted()


def _write_request(
    request: canonical.Request,
    model: str,
    max_output_tokens: int,
    *,
    plainly: Callable[[canonical.Request, str, int], Rendered],
    adapt: functools.partial[Adapted],
) -> Rendered:
    """Write the request as OpenAI reads it, then as this server does."""
    written = plainly(request, model, max_output_tokens)
    members = read_members(written.body)
    try:
        adapted = adapt(members, model)
    except Unsupported as refused:
        path = _clients_own(request, refused.param or "")
        raise Unsupported(refused.message, param=path) from None
    gone = {name for name, value in adapted.changes.items() if value is None}
    changes = {name: v for name, v in adapted.changes.items() if v is not None}
    left = {name: value for name, value in members.items() if name not in gone}
    body = remove(written.body, members, gone)
    asked = request.include_usage or "stream_options" in request.extras
    dropped = [
        _clients_own(request, path)
        for path in adapted.dropped
        # What we ask for ourselves is no loss of the client's.
        if asked or path != "stream_options"
    ]
    return msgspec.structs.replace(
        written,
        body=patch(body, left, changes) if changes else body,
        dropped=tuple(dict.fromkeys((*written.dropped, *dropped))),
    )


def _clients_own(request: canonical.Request, path: str) -> str:
    """Return what the client calls the top-level member that `path` begins with.

    Deeper its request is cut another way, and a place in ours would mislead.
    """
    name = path.partition("[")[0].partition(".")[0]
    return request.name_of(_CANONICAL.get(name, name))


def _rewrite_answer(body: bytes, *, kinds: Sequence[Kind]) -> bytes:
    """Return the answer as clients of this format expect it.

    Raises:
        UpstreamError: it is an error, whatever its status says.
    """
    for kind in kinds:
        if kind.fails_with_200:
            error: UpstreamError | None = base_resp_error(body)
            if error is not None:
                raise error
        if kind.answer is not None:
            body = edit_choices(body, "message", kind.answer)
    return body
