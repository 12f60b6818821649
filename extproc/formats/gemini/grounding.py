"""What an answer of Gemini's is grounded on: searches and citations.

https://ai.google.dev/gemini-api/docs/google-search#understanding. All of it is told of the
candidate, again and again in a stream, each time whole. Its segments are spans of bytes of
UTF-8: in a text that is not ASCII nobody has kept the text to count its characters, so the
citation is of all of the text.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from extproc import canonical


class Page(Struct, gc=False):
    """A page of the web."""

    uri: str = ""
    title: str | None = None


class GroundingChunk(Struct, rename="camel", gc=False):
    """One of these."""

    web: Page | None = None
    retrieved_context: Page | None = None


class Segment(Struct, rename="camel", gc=False):
    """A span of the text, in bytes."""

    start_index: int = 0
    end_index: int | None = None


class GroundingSupport(Struct, rename="camel", gc=False):
    """Which pages a segment rests on."""

    segment: Segment | None = None
    grounding_chunk_indices: list[int] | None = None


class GroundingMetadata(Struct, rename="camel", gc=False):
    """What a candidate is grounded on."""

    web_search_queries: list[str] | None = None
    grounding_chunks: list[GroundingChunk] | None = None
    grounding_supports: list[GroundingSupport] | None = None


def read_search(said: GroundingMetadata, id_: str) -> canonical.Search | None:
    """Return the search that was made; None where there was none."""
    queries = tuple(said.web_search_queries or ())
    found = tuple(
        canonical.Found(page.uri, page.title or "") for page in _pages(said) if page.uri
    )
    return canonical.Search(id_, queries, found) if queries or found else None


def read_citations(
    said: GroundingMetadata, *, ascii_only: bool
) -> Iterator[canonical.Citation]:
    """Yield the citations; `ascii_only` says that bytes are characters."""
    pages = list(_pages(said))
    for support in said.grounding_supports or ():
        segment = support.segment or Segment()
        exact = ascii_only and segment.end_index is not None
        for i in support.grounding_chunk_indices or ():
            if 0 <= i < len(pages) and pages[i].uri:
                yield canonical.Citation(
                    pages[i].uri,
                    pages[i].title,
                    start=segment.start_index if exact else None,
                    end=segment.end_index if exact else None,
                )


def _pages(said: GroundingMetadata) -> Iterator[Page]:
    for chunk in said.grounding_chunks or ():
        yield chunk.web or chunk.retrieved_context or Page()
