"""A provider of OpenAI's chat format, given manners of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from extproc.formats import openai_chat
from extproc.formats.openai_chat.quirks import quirky
from extproc.providers.base import Provider


def with_quirks(provider: Provider, quirks: Sequence[str], name: str) -> Provider:
    """Return `provider` with exactly these kinds; errors call it `name`.

    Raises:
        KeyError: there is no such kind.
    """
    return dataclasses.replace(
        provider,
        format=quirky(openai_chat.PROVIDER, quirks, name),
        quirks=tuple(quirks),
    )
