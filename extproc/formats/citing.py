"""What an answer is to cite, for providers whose models cite nothing of the request."""

from __future__ import annotations

import msgspec

from extproc import canonical
from extproc.formats.base import Unsupported


def refuse_citing(document: canonical.Document, where: str) -> None:
    """Refuse a document at `where` that is to be cited, or has words beside it.

    Raises:
        Unsupported: it is such a one.
    """
    if document.citations:
        raise Unsupported(
            f"{where}.citations: this provider's models cite no documents.",
            param=f"{where}.citations",
        )
    if document.context:
        raise Unsupported(
            f"{where}.context: this provider's documents have no words beside them.",
            param=f"{where}.context",
        )


def results_as_texts(request: canonical.Request) -> canonical.Request:
    """Return the request with its search results as texts, title and source on top.

    Raises:
        Unsupported: one is to be cited.
    """
    if not request.has_results:
        return request
    messages = tuple(_message(message) for message in request.messages)
    return msgspec.structs.replace(request, messages=messages, has_results=False)


def _message(message: canonical.Message) -> canonical.Message:
    parts: list[canonical.Part] = []
    for i, part in enumerate(message.parts):
        if isinstance(part, canonical.Document):
            parts.append(_part(part, message.place(i)))
        elif isinstance(part, canonical.ToolResult):
            inner = tuple(
                _part(one, canonical.result_place(message.place(i), j))
                for j, one in enumerate(part.parts)
            )
            parts.append(msgspec.structs.replace(part, parts=inner))
        else:
            parts.append(part)
    return msgspec.structs.replace(message, parts=tuple(parts))


def _part(
    part: canonical.Text | canonical.Image | canonical.Document, where: str
) -> canonical.Text | canonical.Image | canonical.Document:
    if not isinstance(part, canonical.Document) or part.result is None:
        return part
    refuse_citing(part, where)
    found = part.result
    text = "\n".join((found.title, found.source, "", *found.texts))
    return canonical.Text(text, part.cache)
