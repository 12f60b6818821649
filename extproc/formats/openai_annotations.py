"""Citations as OpenAI's APIs annotate a text with them: a URL and a span of characters.

https://platform.openai.com/docs/guides/tools-web-search. Chat nests what Responses has
flat. Only pages of the web can be cited so, and in Responses uploaded files; the documents of a
request cannot. Where the citation is of all of a text, its span is all of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from extproc import canonical

Json = dict[str, Any]

URL_CITATION = "url_citation"
FILE_CITATION = "file_citation"


class _Flat(msgspec.Struct, frozen=True):
    url: str = ""
    title: str | None = None
    start_index: int | None = None
    end_index: int | None = None


class _Said(_Flat, frozen=True, kw_only=True):
    """An annotation of either API."""

    type: str = ""
    url_citation: _Flat | None = None
    file_id: str = ""
    filename: str | None = None
    index: int | None = None


_ONE = msgspec.json.Decoder(_Said)
_MANY = msgspec.json.Decoder(list[msgspec.Raw])
_NOTHING = (msgspec.Raw(), msgspec.Raw(b"null"), msgspec.Raw(b"[]"))


def read_annotation(said: msgspec.Raw) -> canonical.Citation | None:
    """Read an annotation; None is one that is no citation of a page or file."""
    try:
        one = _ONE.decode(said)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if one.type == FILE_CITATION:
        at = one.index
        return canonical.Citation(
            title=one.filename, file=one.file_id, start=at and 0, end=at
        )
    cited = one.url_citation or one
    if one.type != URL_CITATION or not cited.url:
        return None
    return canonical.Citation(
        cited.url, cited.title or None, start=cited.start_index, end=cited.end_index
    )


def read_annotations(said: msgspec.Raw) -> tuple[canonical.Citation, ...]:
    """Read the citations among the annotations of a text."""
    if said in _NOTHING:
        return ()
    try:
        listed = _MANY.decode(said)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ()
    return tuple(one for raw in listed if (one := read_annotation(raw)) is not None)


def write_annotations(
    citations: Iterable[canonical.Citation], length: int, before: int = 0
) -> list[Json]:
    """Return the flat annotations for a text of `length`, which stands behind `before`."""
    return [
        {
            "type": URL_CITATION,
            "start_index": before + (one.start or 0),
            "end_index": before + (length if one.end is None else one.end),
            "url": one.url,
            "title": one.title or "",
        }
        for one in citations
        if one.url
    ]


def write_files(citations: Iterable[canonical.Citation], length: int) -> list[Json]:
    """Return the annotations of uploaded files for a text of `length`."""
    return [
        {
            "type": FILE_CITATION,
            "file_id": one.file,
            "filename": one.title or "",
            "index": length if one.end is None else one.end,
        }
        for one in citations
        if one.file and not one.url
    ]


def nest(annotations: Iterable[Json]) -> list[Json]:
    """Return annotations as chat has them."""
    return [
        {
            "type": URL_CITATION,
            URL_CITATION: {key: value for key, value in one.items() if key != "type"},
        }
        for one in annotations
    ]
