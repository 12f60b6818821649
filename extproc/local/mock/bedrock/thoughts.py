"""A model's earlier thoughts as Bedrock takes them back: signed, in their places."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from extproc.local.mock.anthropic import signing
from extproc.local.mock.bedrock.errors import invalid

Json = Mapping[str, Any]


def check(thought: Json, where: str) -> None:
    """Refuse a thought that the model has not signed."""
    said = thought.get("reasoningText")
    if said is not None and not signing.is_signed(
        said["text"], said.get("signature", "")
    ):
        raise invalid(f"{where}: Invalid `signature` in `thinking` block")
    sealed = thought.get("redactedContent")
    if sealed is not None and not signing.is_sealed(sealed):
        raise invalid(f"{where}: Invalid `data` in `redacted_thinking` block")


def check_order(content: list[Json], where: str) -> None:
    """Refuse a redacted thought that does not stand behind the one it came with."""
    said = [block.get("reasoningContent", {}) for block in content]
    if not any("reasoningText" in thought for thought in said):
        return
    for j, (before, thought) in enumerate(itertools.pairwise(({}, *said))):
        text = before.get("reasoningText", {}).get("text")
        sealed = thought.get("redactedContent")
        if sealed is not None and (text is None or not signing.seals(sealed, text)):
            raise invalid(
                f"{where}.content.{j}: `thinking` or `redacted_thinking` blocks in the"
                " latest assistant message cannot be modified. These blocks must remain"
                " as they were in the original response."
            )


def check_unfinished(turns: list[Json], body: Json) -> None:
    """Refuse to think on, with a budget, from a call in front of which is no thought."""
    fields = body.get("additionalModelRequestFields") or {}
    if (fields.get("thinking") or {}).get("type") != "enabled":
        return
    spoken = [turn for turn in turns if turn["role"] != "system"]
    results = any("toolResult" in block for block in spoken[-1]["content"])
    going = spoken[-2] if results and len(spoken) > 1 else spoken[-1]
    if going["role"] == "assistant" and "reasoningContent" not in going["content"][0]:
        at = turns.index(going)
        (kind,) = going["content"][0]
        raise invalid(
            f"messages.{at}.content.0.type: Expected `thinking` or `redacted_thinking`,"
            f" but found `{kind}`. When `thinking` is enabled, a final `assistant`"
            " message must start with a thinking block."
        )
