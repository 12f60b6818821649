"""Citations and searches of the web in Anthropic's words, there and back.

https://platform.claude.com/docs/en/build-with-claude/citations and
https://platform.claude.com/docs/en/agents-and-tools/tool-use/web-search-tool. A citation is
of the whole text block that it stands on. Those of another provider lack what Anthropic
encrypts: it is empty then, as is all that a provider does not tell of its sources.
"""

from __future__ import annotations

import contextlib
from typing import Any, Literal

import msgspec

from extproc import canonical

Json = dict[str, Any]


class _Said(msgspec.Struct, gc=False):
    """A citation of any of the types."""

    type: str = ""
    cited_text: str = ""
    url: str | None = None
    source: str | None = None
    title: str | None = None
    document_title: str | None = None
    document_index: int | None = None
    search_result_index: int | None = None
    encrypted_index: str | None = None
    start_char_index: int | None = None
    end_char_index: int | None = None
    start_page_number: int | None = None
    end_page_number: int | None = None
    start_block_index: int | None = None
    end_block_index: int | None = None


_ONE = msgspec.json.Decoder(_Said)
_MANY = msgspec.json.Decoder(list[_Said])


def read_citation(said: msgspec.Raw) -> canonical.Citation:
    """Read one citation.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _read(_ONE.decode(said))


def read_citations(said: msgspec.Raw | None) -> tuple[canonical.Citation, ...]:
    """Read the citations of a text block.

    Raises:
        msgspec.MsgspecError: they are none.
    """
    return () if said is None else tuple(_read(one) for one in _MANY.decode(said))


def _read(said: _Said) -> canonical.Citation:
    unit: Literal["char", "page", "block"] = "char"
    first, last = said.start_char_index, said.end_char_index
    if said.start_page_number is not None:
        unit, first, last = "page", said.start_page_number, said.end_page_number
    elif said.start_block_index is not None:
        unit, first, last = "block", said.start_block_index, said.end_block_index
    return canonical.Citation(
        url=said.url or said.source or "",
        title=said.title or said.document_title,
        quote=said.cited_text,
        document=said.document_index or said.search_result_index or 0,
        unit=unit,
        first=first or 0,
        last=last or 0,
        proof=said.encrypted_index or "",
    )


def write_citation(said: canonical.Citation) -> msgspec.Raw:
    """Write a citation."""
    if said.url:
        web = {
            "type": "web_search_result_location", "cited_text": said.quote,
            "url": said.url, "title": said.title, "encrypted_index": said.proof,
        }  # fmt: skip
        return msgspec.Raw(msgspec.json.encode(web))
    kind, first, last = {
        "char": ("char_location", "start_char_index", "end_char_index"),
        "page": ("page_location", "start_page_number", "end_page_number"),
        "block": ("content_block_location", "start_block_index", "end_block_index"),
    }[said.unit]
    place = {
        "type": kind, "cited_text": said.quote, "document_index": said.document,
        "document_title": said.title, first: said.first, last: said.last,
        "file_id": None,
    }  # fmt: skip
    return msgspec.Raw(msgspec.json.encode(place))


# ---------------------------------------------------------------- searches


class _Query(msgspec.Struct, gc=False):
    query: str = ""


class _Result(msgspec.Struct, gc=False):
    url: str = ""
    title: str = ""
    encrypted_content: str = ""


_QUERY = msgspec.json.Decoder(_Query)
_RESULTS = msgspec.json.Decoder(list[_Result])

SEARCH = "web_search"


def read_search(call: str, query: bytes, results: bytes) -> canonical.Search:
    """Read a search from the input of its call and the content of its result.

    What cannot be read of either, such as an error in place of results, is empty.
    """
    queries: tuple[str, ...] = ()
    found: tuple[canonical.Found, ...] = ()
    with contextlib.suppress(msgspec.MsgspecError):  # it was cut off in the middle
        queries = (_QUERY.decode(query or b"{}").query,)
    with contextlib.suppress(msgspec.MsgspecError):  # an error: nothing was found
        found = tuple(
            canonical.Found(one.url, one.title, one.encrypted_content)
            for one in _RESULTS.decode(results or b"[]")
        )
    return canonical.Search(call, tuple(filter(None, queries)), found)


def write_search(search: canonical.Search) -> tuple[Json, Json]:
    """Return the two blocks of a search: the call and its result."""
    use = {
        "type": "server_tool_use", "id": search.id, "name": SEARCH,
        "input": {"query": "; ".join(search.queries)},
    }  # fmt: skip
    found = [
        {
            "type": "web_search_result", "url": one.url, "title": one.title,
            "encrypted_content": one.proof, "page_age": None,
        }
        for one in search.found
    ]  # fmt: skip
    result = {
        "type": "web_search_tool_result", "tool_use_id": search.id, "content": found,
    }  # fmt: skip
    return use, result
