"""Converse's citations, and its search of the web, in the canonical form.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Citation.html. A citation
is of all of the text of its block.
"""

from __future__ import annotations

import contextlib
from typing import Literal

import msgspec
from msgspec import Struct

from extproc import canonical


class Citing(Struct, gc=False):
    """Whether an answer is to cite a document or search result of the request."""

    enabled: bool


class FoundText(Struct, gc=False):
    """A piece of it that may be cited."""

    text: str


class SearchResult(Struct, omit_defaults=True, gc=False):
    """What a search of the client's own has found."""

    source: str
    title: str
    content: list[FoundText]
    citations: Citing | None = None


class _Web(Struct, gc=False):
    url: str = ""


class _Place(Struct, rename="camel", gc=False):
    document_index: int = 0
    search_result_index: int = 0
    start: int = 0
    end: int = 0


class _Location(Struct, rename="camel", gc=False):
    """One of these."""

    web: _Web | None = None
    document_char: _Place | None = None
    document_page: _Place | None = None
    document_chunk: _Place | None = None
    search_result_location: _Place | None = None


class _Source(Struct, gc=False):
    text: str = ""


class Citation(Struct, rename="camel", gc=False):
    """A citation, whole or as a stream tells it."""

    title: str | None = None
    source: str | None = None
    source_content: list[_Source] = []
    location: _Location | None = None


def read_citation(said: Citation) -> canonical.Citation:
    """Read a citation."""
    location = said.location or _Location()
    unit: Literal["char", "page", "block"] = "char"
    place = location.document_char
    if location.document_page is not None:
        unit, place = "page", location.document_page
    elif location.document_chunk or location.search_result_location:
        unit, place = (
            "block",
            location.document_chunk or location.search_result_location,
        )
    at = place or _Place()
    return canonical.Citation(
        url=location.web.url if location.web else said.source or "",
        title=said.title,
        quote="".join(one.text for one in said.source_content),
        document=at.document_index or at.search_result_index,
        result=location.search_result_location is not None,
        unit=unit,
        first=at.start,
        last=at.end,
    )


class _Input(Struct, gc=False):
    query: str = ""


_INPUT = msgspec.json.Decoder(_Input)

SEARCH = "nova_grounding"
"""The system tool that searches the web. What it finds stands in the citations alone."""


def read_search(call: str, given: bytes) -> canonical.Search:
    """Read a search from the input of its call; one that cannot be read is empty."""
    query = ""
    with contextlib.suppress(msgspec.MsgspecError):
        query = _INPUT.decode(given or b"{}").query
    return canonical.Search(call, (query,) if query else ())


_MANY = msgspec.json.Decoder(list[Citation])


def read_citations(said: msgspec.Raw) -> tuple[canonical.Citation, ...]:
    """Read the citations of a block.

    Raises:
        msgspec.MsgspecError: they are none.
    """
    if bytes(said) == b"null":
        return ()
    return tuple(read_citation(one) for one in _MANY.decode(said))
