"""What an answer of Gemini's is grounded on: searches and citations.

https://ai.google.dev/gemini-api/docs/google-search#understanding. All of it is told of the
candidate, again and again in a stream, each time whole. Its segments are spans of bytes of
UTF-8, which a `Ruler` tells in characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from extproc import canonical
from extproc.formats.gemini.ruler import Ruler


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


class UrlMetadata(Struct, rename="camel", gc=False):
    """A page that was read."""

    retrieved_url: str = ""
    url_retrieval_status: str = ""


class UrlContextMetadata(Struct, rename="camel", gc=False):
    """The pages that were read."""

    url_metadata: list[UrlMetadata] | None = None


class CitationSource(Struct, rename="camel", gc=False):
    """A span of the candidate's text, in bytes, and where it has it from."""

    start_index: int = 0
    end_index: int | None = None
    uri: str = ""
    title: str | None = None


class CitationMetadata(Struct, rename="camel", gc=False):
    """What a candidate recites. The API's reference has another name for the member."""

    citations: list[CitationSource] | None = None
    citation_sources: list[CitationSource] | None = None


READ = "URL_RETRIEVAL_STATUS_SUCCESS"


def read_pages(said: UrlContextMetadata, id_: str) -> Iterator[canonical.Search]:
    """Yield the looks at pages."""
    for place, page in enumerate(said.url_metadata or ()):
        failed = page.url_retrieval_status not in {"", READ}
        error = "url_not_accessible" if failed else ""
        url = page.retrieved_url
        yield canonical.Search(f"{id_}_{place}", page=url, error=error)


def read_search(said: GroundingMetadata, id_: str) -> canonical.Search | None:
    """Return the search that was made; None where there was none."""
    queries = tuple(said.web_search_queries or ())
    found = tuple(
        canonical.Found(page.uri, page.title or "") for page in _pages(said) if page.uri
    )
    return canonical.Search(id_, queries, found) if queries or found else None


def read_citations(
    said: GroundingMetadata, ruler: Ruler
) -> Iterator[canonical.Citation]:
    """Yield the citations of the text that `ruler` has measured."""
    pages = list(_pages(said))
    for support in said.grounding_supports or ():
        segment = support.segment or Segment()
        start, end = _span(segment.start_index, segment.end_index, ruler)
        for i in support.grounding_chunk_indices or ():
            if 0 <= i < len(pages) and pages[i].uri:
                yield canonical.Citation(
                    pages[i].uri, pages[i].title, start=start, end=end
                )


def read_recited(
    said: Iterable[CitationSource], ruler: Ruler
) -> Iterator[canonical.Citation]:
    """Yield the citations of what a candidate recites, each once."""
    told: dict[canonical.Citation, None] = {}
    for one in said:
        if one.uri:
            start, end = _span(one.start_index, one.end_index, ruler)
            told[canonical.Citation(one.uri, one.title, start=start, end=end)] = None
    yield from told


def _span(start: int, end: int | None, ruler: Ruler) -> tuple[int | None, int | None]:
    """Return a span of bytes in characters; one that is not known is all of the text."""
    if end is None:
        return None, None
    first, last = ruler.characters(start), ruler.characters(end)
    return (None, None) if first is None or last is None else (first, last)


def _pages(said: GroundingMetadata) -> Iterator[Page]:
    for chunk in said.grounding_chunks or ():
        yield chunk.web or chunk.retrieved_context or Page()
