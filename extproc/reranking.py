"""The canonical rerank request and answer: see `extproc.canonical` for the why."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from extproc.usage import Usage


class RerankRequest(msgspec.Struct, frozen=True):
    """Documents to be put in order of how well they answer a query."""

    query: str
    documents: tuple[str, ...]
    top_n: int | None = None
    """How many of the best are wanted; None: all."""
    return_documents: bool = False
    """Whether the answer repeats the documents."""
    max_tokens_per_document: int | None = None
    extras: Mapping[str, msgspec.Raw] = {}
    """What else the client said, by its own name."""


class Ranked(msgspec.Struct, frozen=True, gc=False):
    """One document's place."""

    index: int
    """In the request's documents."""
    score: msgspec.Raw
    """A number, as the provider spelled it."""


class RerankAnswer(msgspec.Struct, frozen=True):
    """The documents, the best first."""

    results: tuple[Ranked, ...]
    id: str = ""
    model: str = ""
    usage: Usage | None = None
