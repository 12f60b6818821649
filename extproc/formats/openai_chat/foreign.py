"""Thoughts in a request that passes to OpenAI, which has no word for them: left out.

A conversation may have begun with another provider, and clients give back what they were
told: ``reasoning_content``, ``thinking_blocks``, the ``extra_content`` of a call. OpenAI
refuses members that it does not know. Which models are OpenAI's is told by their names
(`reasoning`); other servers of this API may have use for them, and are named what they are
not to get (`quirks`).
"""

from __future__ import annotations

from extproc.formats.base import UNCHANGED, Adapted, Members
from extproc.formats.openai_chat.quirks.draft import Draft
from extproc.formats.openai_chat.quirks.messages import (
    may_have_thoughts,
    no_reasoning_back,
)
from extproc.formats.reasoning import openai_efforts


def adapt(members: Members, model: str) -> Adapted:
    """Leave out what OpenAI has no word for; see `ProviderFormat.adapt`."""
    if openai_efforts(model) is None or not may_have_thoughts(members):
        return UNCHANGED
    draft = Draft(members, "OpenAI")
    no_reasoning_back(draft)
    return draft.adapted()
