"""Citations and looks at the web in Anthropic's words, there and back.

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
    file_id: str | None = None
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
        result=said.search_result_index is not None,
        file=said.file_id or "",
        unit=unit,
        first=first or 0,
        last=last or 0,
        proof=said.encrypted_index or "",
    )


def write_citation(said: canonical.Citation) -> msgspec.Raw:
    """Write a citation."""
    if said.result:
        found = {
            "type": "search_result_location", "cited_text": said.quote,
            "source": said.url, "title": said.title,
            "search_result_index": said.document, "start_block_index": said.first,
            "end_block_index": said.last,
        }  # fmt: skip
        return msgspec.Raw(msgspec.json.encode(found))
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
        "file_id": said.file or None,
    }  # fmt: skip
    return msgspec.Raw(msgspec.json.encode(place))


# ---------------------------------------------------------------- searches


class _Input(msgspec.Struct, gc=False):
    query: str = ""
    url: str = ""


class _Result(msgspec.Struct, gc=False):
    url: str = ""
    title: str = ""
    encrypted_content: str = ""


class _Document(msgspec.Struct, gc=False):
    title: str | None = None


class _Other(msgspec.Struct, gc=False):
    """A page that was read, or an error in place of pages."""

    url: str = ""
    content: _Document | None = None
    error_code: str = ""


_INPUT = msgspec.json.Decoder(_Input)
_RESULTS = msgspec.json.Decoder(list[_Result])
_OTHER = msgspec.json.Decoder(_Other)

SEARCH = "web_search"
FETCH = "web_fetch"
RESULTS = {"web_search_tool_result": SEARCH, "web_fetch_tool_result": FETCH}
"""The types of the blocks that tell what came of it, and the tool of each."""


def read_search(call: str, tool: str, given: bytes, results: bytes) -> canonical.Search:
    """Read a look at the web from the input of its call and the content of its result.

    What cannot be read of either is empty: the answer may have been cut off.
    """
    said, other = _Input(), _Other()
    found: tuple[canonical.Found, ...] = ()
    with contextlib.suppress(msgspec.MsgspecError):
        said = _INPUT.decode(given or b"{}")
    with contextlib.suppress(msgspec.MsgspecError):
        if results[:1] == b"{":
            other = _OTHER.decode(results)
        else:
            found = tuple(
                canonical.Found(one.url, one.title, one.encrypted_content)
                for one in _RESULTS.decode(results or b"[]")
            )
    if tool == SEARCH:
        queries = (said.query,) if said.query else ()
        return canonical.Search(call, queries, found, error=other.error_code)
    page = said.url or other.url
    if other.url:
        title = other.content.title if other.content else None
        found = (canonical.Found(other.url, title or ""),)
    return canonical.Search(call, (), found, page, other.error_code)


def write_search(search: canonical.Search) -> tuple[Json, Json]:
    """Return the two blocks of a look at the web: the call and its result."""
    tool = FETCH if search.page else SEARCH
    given = (
        {"url": search.page} if search.page else {"query": "; ".join(search.queries)}
    )
    use = {"type": "server_tool_use", "id": search.id, "name": tool, "input": given}
    content: Json | list[Json]
    if search.error:
        known = search.error in _ERRORS
        content = {
            "type": f"{tool}_tool_result_error",
            "error_code": search.error if known else "unavailable",
        }
    elif search.page:
        content = _page(search)
    else:
        content = [_found(one) for one in search.found]
    result = {
        "type": f"{tool}_tool_result", "tool_use_id": search.id, "content": content,
    }  # fmt: skip
    return use, result


_ERRORS = frozenset({
    "invalid_tool_input", "unavailable", "max_uses_exceeded", "too_many_requests",
    "query_too_long", "request_too_large", "url_too_long", "url_not_allowed",
    "url_not_accessible", "unsupported_content_type",
})  # fmt: skip


def _found(page: canonical.Found) -> Json:
    return {
        "type": "web_search_result", "url": page.url, "title": page.title,
        "encrypted_content": page.proof, "page_age": None,
    }  # fmt: skip


def _page(search: canonical.Search) -> Json:
    """Return a page that was read; nobody else tells what it says."""
    title = next((one.title for one in search.found if one.title), None)
    source = {"type": "text", "media_type": "text/plain", "data": ""}
    return {
        "type": "web_fetch_result", "url": search.page, "retrieved_at": None,
        "content": {"type": "document", "source": source, "title": title},
    }  # fmt: skip
