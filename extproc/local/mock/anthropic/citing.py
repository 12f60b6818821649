"""What Claude cites: the documents that it may, and what it found on the web.

https://docs.claude.com/en/docs/build-with-claude/citations,
https://docs.claude.com/en/docs/agents-and-tools/tool-use/web-search-tool.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from extproc.local.mock import sources

Json = dict[str, Any]

CITED: Final = "The document's own words."


def searched(body: Mapping[str, Any], text: str) -> bool:
    """Return whether the web is searched for the answer."""
    kinds = [str(tool.get("type")) for tool in body.get("tools") or ()]
    offered = any(kind.startswith("web_search_") for kind in kinds)
    return offered and sources.searches(text)


def search(text: str, digest: str) -> list[Json]:
    """Return the search and what it found."""
    id_ = f"srvtoolu_mock{hashlib.sha256(digest.encode()).hexdigest()[:18]}"
    page = {
        "type": "web_search_result", "url": sources.PAGE, "title": sources.TITLE,
        "encrypted_content": "bW9jaw==", "page_age": None,
    }  # fmt: skip
    return [
        {
            "type": "server_tool_use", "id": id_, "name": "web_search",
            "input": {"query": text}, "caller": {"type": "direct"},
        },
        {
            "type": "web_search_tool_result", "tool_use_id": id_, "content": [page],
            "caller": {"type": "direct"},
        },
    ]  # fmt: skip


def citations(body: Mapping[str, Any], *, found: bool) -> list[Json]:
    """Return what the words cite: every document that may be, and the page `found`."""
    made = [
        _of_document(place, document)
        for place, document in enumerate(_documents(body))
        if (document.get("citations") or {}).get("enabled")
    ]
    if found:
        made.append(
            {
                "type": "web_search_result_location", "url": sources.PAGE,
                "title": sources.TITLE, "cited_text": sources.EXCERPT,
                "encrypted_index": "bW9jaw==",
            }
        )  # fmt: skip
    return made


def _documents(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for message in body["messages"]:
        content = message["content"]
        if not isinstance(content, str):
            yield from (block for block in content if block["type"] == "document")


def _of_document(place: int, document: Mapping[str, Any]) -> Json:
    kind, unit, first = {
        "text": ("char_location", "char_index", 0),
        "content": ("content_block_location", "block_index", 0),
    }.get(document["source"]["type"], ("page_location", "page_number", 1))
    return {
        "type": kind, "cited_text": CITED, "document_index": place,
        "document_title": document.get("title"), "file_id": None,
        f"start_{unit}": first, f"end_{unit}": first + 1,
    }  # fmt: skip
