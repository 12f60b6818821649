"""Documents that the answer is to cite, for providers whose models cite none."""

from __future__ import annotations

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
