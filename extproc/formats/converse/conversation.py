"""Canonical messages as Converse's ``system`` blocks and alternating turns.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Message.html. As in the
Anthropic format: leading system messages become ``system`` blocks; later ones stay where
the model has system turns and allows one, else they join the ``system`` blocks and the
place that was lost is reported as ``messages[i].role``. Tool results are the user's turn
and stand first in it, turns of one role in a row are one turn, and white space at the end
of the assistant's last words is cut and reported.

A cache breakpoint is a block of its own here, behind the one that it follows.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Literal

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats.base import Unsupported
from extproc.formats.converse import wire
from extproc.formats.converse.content import Draft, cache_point, write_part

Role = Literal["user", "assistant", "system"]

_ROLES: Mapping[str, Role] = {
    "user": "user", "tool": "user", "assistant": "assistant",
    "system": "system", "developer": "system",
}  # fmt: skip

_Said = list[tuple[wire.Block, wire.Block | None]]
"""Blocks, each with the cache breakpoint behind it."""


@dataclasses.dataclass(slots=True)
class _Turn:
    role: Role
    said: _Said
    where: str
    """The first message in it, as the client names it."""


def write_conversation(
    messages: tuple[canonical.Message, ...],
    draft: Draft,
    *,
    system_turns: bool,
    prefill: bool,
) -> tuple[list[wire.Block], list[wire.Turn]]:
    """Return the system blocks and the turns.

    `system_turns` and `prefill` are what the model takes.

    Raises:
        Unsupported: a part that Converse or the model cannot say.
        BadRequest: a conversation or part that the API is sure to refuse.
    """
    system: _Said = []
    turns: list[_Turn] = []
    for message in messages:
        if message.name is not None:
            draft.drop(f"{message.where}.name")
        said = _said(message, draft)
        if not said:
            continue
        role = _ROLES[message.role]
        if role == "system" and not turns:
            system += said
        elif turns and turns[-1].role == role:
            turns[-1].said += said
        else:
            turns.append(_Turn(role, said, message.where))
    turns = _place_system(turns, system, draft, allowed=system_turns)
    _check_ends(turns, draft, prefill=prefill)
    for turn in turns:
        _check_documents(turn)
    return _flat(system), [wire.Turn(t.role, _flat(_ordered(t))) for t in turns]


def _said(message: canonical.Message, draft: Draft) -> _Said:
    role = _ROLES[message.role]
    said: _Said = []
    for i, part in enumerate(message.parts):
        where = message.place(i)
        block = write_part(role, part, where, draft)
        if block is not None:
            point = cache_point(getattr(part, "cache", None))
            said.append((block, wire.Block(cache_point=point) if point else None))
    return said


def _place_system(
    turns: list[_Turn], system: _Said, draft: Draft, *, allowed: bool
) -> list[_Turn]:
    """Move the system turns that may not stay to `system`."""
    placed: list[_Turn] = []
    for turn, after in itertools.zip_longest(turns, turns[1:]):
        if turn.role == "system":
            fits = placed and placed[-1].role == "user"
            if allowed and fits and (not after or after.role == "assistant"):
                placed.append(turn)
            else:
                system += turn.said
                draft.drop(f"{turn.where}.role")
        elif placed and placed[-1].role == turn.role:
            placed[-1].said += turn.said
        else:
            placed.append(turn)
    return placed


def _check_ends(turns: list[_Turn], draft: Draft, *, prefill: bool) -> None:
    if not turns:
        raise BadRequest(
            "There must be at least one message of the user that is not empty.",
            param="messages",
        )
    if turns[0].role != "user":
        raise BadRequest(
            "The first message that is not a system message must be the user's.",
            param=turns[0].where,
        )
    last = turns[-1]
    if last.role != "assistant":
        return
    if not prefill:
        raise Unsupported(
            "This model cannot continue the assistant's words: the last message must "
            "be the user's.",
            param=last.where,
        )
    block, _ = last.said[-1]
    if block.text is not None and block.text != block.text.rstrip():
        block.text = block.text.rstrip()
        draft.drop(f"{last.where}.content")


def _check_documents(turn: _Turn) -> None:
    blocks = [block for block, _ in turn.said]
    if any(b.document for b in blocks) and not any(b.text for b in blocks):
        raise Unsupported(
            "Bedrock takes a document only beside a text that says what to do with it.",
            param=turn.where,
        )


def _ordered(turn: _Turn) -> _Said:
    """Return the blocks with tool results first, which models insist on."""
    if turn.role != "user":
        return turn.said
    return sorted(turn.said, key=lambda said: said[0].tool_result is None)


def _flat(said: _Said) -> list[wire.Block]:
    return [block for pair in said for block in pair if block is not None]


def thoughtless(turns: list[wire.Turn]) -> bool:
    """Return whether the assistant is to go on, after its words or a call, unthought.

    A Claude with a thinking budget then refuses to think.
    """
    last = turns[-1]
    spoken = next((turn for turn in reversed(turns) if turn.role == "assistant"), None)
    if spoken is None:
        return False
    goes_on = spoken is last or last.content[0].tool_result is not None
    return goes_on and spoken.content[0].reasoning_content is None


def tools_called(turns: list[wire.Turn]) -> list[str]:
    """Return the names of the tools in the conversation, in their order, each once."""
    uses = (block.tool_use for turn in turns for block in turn.content)
    return list(dict.fromkeys(use.name for use in uses if use is not None))
