"""What every writer of an embeddings request asks: is all of it sayable?"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from extproc.embeddings import EmbeddingRequest
from extproc.errors import BadRequest
from extproc.formats.base import Unsupported

T = TypeVar("T")


class Words:
    """The words of a request's extras that a provider understands; the rest is refused."""

    def __init__(self, request: EmbeddingRequest, provider: str) -> None:
        self._left = dict(request.extras)
        self._provider = provider

    def take(self, name: str, kind: type[T]) -> T | None:
        """Return the word `name`, if the client said it.

        Raises:
            BadRequest: it has another type.
        """
        said = self._left.pop(name, None)
        if said is None:
            return None
        try:
            return msgspec.json.decode(said, type=kind)
        except msgspec.ValidationError as exc:
            raise BadRequest(
                f"Invalid type for '{name}': {exc}.", param=name, code="invalid_type"
            ) from None

    def finish(self) -> None:
        """Refuse what nobody took.

        Raises:
            Unsupported: the provider has no word for it.
        """
        for name in self._left:
            raise Unsupported(
                f"{self._provider} has no parameter for '{name}' of embeddings.",
                param=name,
            )


def texts_of(request: EmbeddingRequest, provider: str) -> tuple[str, ...]:
    """Return the texts to embed.

    Raises:
        Unsupported: they are tokens, of a vocabulary that the provider does not have.
    """
    if request.tokens:
        raise Unsupported(
            f"{provider} takes text, not tokens: send 'input' as strings.",
            param="input",
        )
    return request.texts


def only_text(request: EmbeddingRequest, provider: str) -> str:
    """Return the one text to embed.

    Raises:
        Unsupported: there are several, which would be several requests.
    """
    texts = texts_of(request, provider)
    if len(texts) != 1:
        raise Unsupported(
            f"{provider} embeds one text a request: 'input' has {len(texts)}.",
            param="input",
        )
    return texts[0]


def dropped(request: EmbeddingRequest) -> tuple[str, ...]:
    """Return what nobody but OpenAI has a word for and no vector depends on."""
    return ("user",) if request.user is not None else ()
