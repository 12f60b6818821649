"""The conversation as Anthropic checks it: roles, blocks, tools answered, thoughts.

Neighboring messages of one role are one turn, as the API joins them.
"""

from __future__ import annotations

import base64
import binascii
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from extproc.local.mock.anthropic import signing
from extproc.local.mock.anthropic.models import Model
from extproc.local.mock.reply import Refusal

Block = Mapping[str, Any]

ASSISTANT_ONLY: Final = frozenset(
    {
        "tool_use",
        "thinking",
        "redacted_thinking",
        "server_tool_use",
        "web_search_tool_result",
        "web_fetch_tool_result",
        "code_execution_tool_result",
        "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result",
        "tool_search_tool_result",
    }
)
USER_ONLY: Final = frozenset(
    {"tool_result", "image", "document", "search_result", "container_upload"}
)
MAGIC: Final = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
    "application/pdf": (b"%PDF-",),
}
"""What a file of each media type begins with."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One side's say: its blocks with the path of each, in order."""

    role: str
    at: int
    """The position of its first message."""
    blocks: tuple[tuple[str, Block], ...]

    def of(self, *kinds: str) -> list[Block]:
        """Return the blocks of these types."""
        return [block for _, block in self.blocks if block["type"] in kinds]


def of_messages(messages: list[Mapping[str, Any]]) -> list[Turn]:
    """Join neighboring messages of one role; a string is one text block."""
    turns: list[Turn] = []
    for i, message in enumerate(messages):
        content = message["content"]
        if isinstance(content, str):
            content = [{"type": "text", "text": content}] if content else []
        blocks = tuple(
            (f"messages.{i}.content.{j}", block) for j, block in enumerate(content)
        )
        role = message["role"]
        if turns and turns[-1].role == role:
            last = turns.pop()
            turns.append(Turn(role, last.at, (*last.blocks, *blocks)))
        else:
            turns.append(Turn(role, i, blocks))
    return turns


def _bad(message: str) -> Refusal:
    return Refusal(400, message)


def check(messages: list[Mapping[str, Any]], model: Model, *, thinking: bool) -> None:
    """Raise the `Refusal` that the conversation earns."""
    if not messages:
        raise _bad("messages: at least one message is required")
    _check_roles(messages, model)
    _check_filled(messages)
    # A system message interrupts nothing: turns go on around it.
    turns = of_messages([m for m in messages if m["role"] != "system"])
    for turn in turns:
        for path, block in turn.blocks:
            _check_side(turn, path, block)
            _check_block(path, block)
        _check_thoughts(turn)
    _check_tools_answered(turns)
    _check_last(turns, model, thinking=thinking)


def _check_roles(messages: list[Mapping[str, Any]], model: Model) -> None:
    if any(m["role"] == "system" for m in messages) and not model.system_messages:
        raise _bad(
            'messages: Unexpected role "system". The Messages API accepts a top-level'
            ' `system` parameter, not "system" as an input message role.'
        )
    if messages[0]["role"] != "user":
        raise _bad('messages: first message must use the "user" role')


def _check_filled(messages: list[Mapping[str, Any]]) -> None:
    for i, message in enumerate(messages):
        is_last_word = i == len(messages) - 1 and message["role"] == "assistant"
        if not message["content"] and not is_last_word:
            raise _bad(
                f"messages.{i}: all messages must have non-empty content except for the"
                " optional final assistant message"
            )


def _check_side(turn: Turn, path: str, block: Block) -> None:
    wrong = ASSISTANT_ONLY if turn.role == "user" else USER_ONLY
    if block["type"] in wrong:
        right = "assistant" if turn.role == "user" else "user"
        raise _bad(
            f"{path}: `{block['type']}` blocks can only be in `{right}` messages"
        )


def _check_block(path: str, block: Block) -> None:
    match block["type"]:
        case "text":
            if not block["text"]:
                raise _bad("messages: text content blocks must be non-empty")
            if not block["text"].strip():
                raise _bad(
                    "messages: text content blocks must contain non-whitespace text"
                )
        case "image" | "document":
            _check_source(path, block)
        case "tool_result" if not isinstance(block.get("content", ""), str):
            for j, inner in enumerate(block["content"]):
                _check_block(f"{path}.tool_result.content.{j}", inner)
        case "thinking":
            if not signing.is_signed(block["thinking"], block["signature"]):
                raise _bad(f"{path}: Invalid `signature` in `thinking` block")
        case "redacted_thinking":
            if not signing.is_sealed(block["data"]):
                raise _bad(f"{path}: Invalid `data` in `redacted_thinking` block")
        case _:
            pass  # nothing more than its table says


def _check_thoughts(turn: Turn) -> None:
    """Refuse a redacted thought that does not stand behind the one it came with."""
    if not turn.of("thinking"):
        return
    for (_, before), (path, block) in itertools.pairwise((("", {}), *turn.blocks)):
        if block["type"] == "redacted_thinking" and not (
            before.get("type") == "thinking"
            and signing.seals(block["data"], before["thinking"])
        ):
            raise _bad(
                f"{path}: `thinking` or `redacted_thinking` blocks in the latest"
                " assistant message cannot be modified. These blocks must remain as"
                " they were in the original response."
            )


def _check_source(path: str, block: Block) -> None:
    source = block["source"]
    where = f"{path}.{block['type']}.source"
    if source["type"] == "url":
        if not source["url"].startswith(("https://", "http://")):
            raise _bad(f"{where}.url: Only HTTPS URLs are supported.")
    elif source["type"] == "base64":
        try:
            raw = base64.b64decode(source["data"], validate=True)
        except (binascii.Error, ValueError):
            raise _bad(f"{where}.base64.data: Invalid base64 data") from None
        if not raw.startswith(MAGIC[source["media_type"]]):
            raise _bad(
                f"{where}.base64.data: The file does not match the provided media type"
                f" {source['media_type']}"
            )
    elif source["type"] == "content" and not isinstance(source["content"], str):
        for j, inner in enumerate(source["content"]):
            _check_block(f"{where}.content.{j}", inner)


def _check_tools_answered(turns: list[Turn]) -> None:
    asked: list[str] = []
    seen: set[str] = set()
    for turn in turns:
        if turn.role == "user":
            _check_results(turn, asked)
        asked = [block["id"] for block in turn.of("tool_use")]
        again = next((id_ for id_ in asked if id_ in seen), None)
        if again is not None or len(set(asked)) != len(asked):
            raise _bad(f"messages.{turn.at}.content: `tool_use` ids must be unique")
        seen.update(asked)
    if asked:
        _refuse_unanswered(turns[-1].at, asked)


def _check_results(turn: Turn, asked: list[str]) -> None:
    leading = _leading_results(turn)
    missing = [id_ for id_ in asked if id_ not in leading]
    if missing:
        _refuse_unanswered(turn.at, missing)
    answered: set[str] = set()
    for path, block in turn.blocks:
        if block["type"] != "tool_result":
            continue
        id_ = block["tool_use_id"]
        if id_ not in asked:
            raise _bad(
                f"{path}: unexpected `tool_use_id` found in `tool_result` blocks: {id_}."
                " Each `tool_result` block must have a corresponding `tool_use` block in"
                " the previous message."
            )
        if id_ in answered:
            raise _bad(
                f"{path}: each tool_use must have a single result. Found multiple"
                f" `tool_result` blocks with id: {id_}"
            )
        answered.add(id_)


def _leading_results(turn: Turn) -> set[str]:
    """Return the ids answered before anything else is said."""
    ids = set()
    for _, block in turn.blocks:
        if block["type"] != "tool_result":
            break
        ids.add(block["tool_use_id"])
    return ids


def _refuse_unanswered(at: int, ids: list[str]) -> None:
    raise _bad(
        f"messages.{at}: `tool_use` ids were found without `tool_result` blocks"
        f" immediately after: {', '.join(ids)}. Each `tool_use` block must have a"
        " corresponding `tool_result` block in the next message."
    )


def _check_last(turns: list[Turn], model: Model, *, thinking: bool) -> None:
    last = turns[-1]
    if last.role == "assistant":
        if not model.prefill:
            raise _bad(
                "This model does not support assistant message prefill. The conversation"
                " must end with a user message."
            )
        text = last.blocks[-1][1].get("text", "") if last.blocks else ""
        if text != text.rstrip():
            raise _bad(
                "messages: final assistant content cannot end with trailing whitespace"
            )
    if not thinking:
        return
    for turn in _unfinished(turns):
        path, first = turn.blocks[0]
        if first["type"] not in ("thinking", "redacted_thinking"):
            raise _bad(
                f"{path}.type: Expected `thinking` or `redacted_thinking`, but found"
                f" `{first['type']}`. When `thinking` is enabled, a final `assistant`"
                " message must start with a thinking block (preceeding the lastmost set"
                " of `tool_use` and `tool_result` blocks)."
            )


def _unfinished(turns: list[Turn]) -> Iterator[Turn]:
    """Yield the assistant turn that the model is to continue, if there is one."""
    if turns[-1].role == "assistant" and turns[-1].blocks:
        yield turns[-1]
    elif len(turns) > 1 and turns[-1].of("tool_result"):
        yield turns[-2]
