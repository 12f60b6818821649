"""Other providers' thoughts in a request that passes to Anthropic: left out.

A conversation may have begun with another provider, whose thoughts have no signature or one
that is not Anthropic's; Anthropic refuses them. A model with a budget for thinking that is to
go on after a call also refuses to think if there is no thought in front of the call: then it
is not asked to. A request without any of that keeps its bytes.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from extproc.formats import proofs
from extproc.formats.base import UNCHANGED, Adapted, Members

_UNSIGNED = re.compile(rb'"signature"\s*:\s*""')

_MESSAGES = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_CONTENT = msgspec.json.Decoder(list[msgspec.Raw])


class _Block(msgspec.Struct, frozen=True, gc=False):
    type: str | None = None
    signature: str | None = None
    data: str | None = None

    @property
    def foreign(self) -> bool:
        """It is a thought, and not of Claude's."""
        if self.type == "thinking":
            return not self.signature or proofs.is_marked(self.signature)
        return self.type == "redacted_thinking" and proofs.is_marked(self.data)


class _Thinking(msgspec.Struct, frozen=True, gc=False):
    type: str | None = None


_BLOCK = msgspec.json.Decoder(_Block)
_THINKING = msgspec.json.Decoder(_Thinking)
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})


def adapt(members: Members, model: str) -> Adapted:  # noqa: ARG001
    """Leave out what Claude did not think; see `ProviderFormat.adapt`."""
    said = bytes(members.get("messages", b""))
    if said.find(b"thinking") < 0 or not (
        any(mark in said for mark in proofs.MARKS) or _UNSIGNED.search(said)
    ):
        return UNCHANGED
    try:
        return _without_foreign(members, _MESSAGES.decode(said))
    except msgspec.MsgspecError:
        return UNCHANGED  # Anthropic says what is wrong with it


def _without_foreign(
    members: Members, messages: list[dict[str, msgspec.Raw]]
) -> Adapted:
    kept: list[dict[str, msgspec.Raw]] = []
    dropped: list[str] = []
    for i, message in enumerate(messages):
        content = bytes(message.get("content", b"")).lstrip()
        if _is(message, "assistant") and content.startswith(b"["):
            blocks = _CONTENT.decode(content)
            own = [raw for raw in blocks if not _BLOCK.decode(raw).foreign]
            if len(own) < len(blocks):
                dropped += [
                    f"messages[{i}].content[{j}]"
                    for j, raw in enumerate(blocks)
                    if _BLOCK.decode(raw).foreign
                ]
                message["content"] = msgspec.Raw(msgspec.json.encode(own))
                if not own:
                    continue
        kept.append(message)
    if not dropped:
        return UNCHANGED
    changes: dict[str, bytes | None] = {"messages": msgspec.json.encode(kept)}
    asked = members.get("thinking", msgspec.Raw(b"null"))
    budgeted = _THINKING.decode(asked).type == "enabled" if asked != b"null" else False
    if budgeted and _thoughtless(kept):
        changes["thinking"] = None
        dropped.append("thinking")
    return Adapted(changes, tuple(dropped))


def _thoughtless(messages: list[dict[str, msgspec.Raw]]) -> bool:
    """Return whether the model is to go on after a call in front of which is no thought."""
    last = len(messages) - 1
    while last >= 0 and not _is(messages[last], "assistant"):
        last -= 1
    if last < 0:
        return False
    kinds = _kinds(messages[last])
    after = [kind for message in messages[last + 1 :] for kind in _kinds(message)]
    goes_on = not messages[last + 1 :] or "tool_result" in after
    return goes_on and not (kinds and kinds[0] in _THOUGHTS)


def _kinds(message: dict[str, msgspec.Raw]) -> list[Any]:
    content = bytes(message.get("content", b"")).lstrip()
    if not content.startswith(b"["):
        return ["text"]
    return [_BLOCK.decode(raw).type for raw in _CONTENT.decode(content)]


def _is(message: dict[str, msgspec.Raw], role: str) -> bool:
    return bytes(message.get("role", b"")).strip() == b'"%b"' % role.encode()
