"""Kinds of manners that show in the messages of a request."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from extproc.formats.base import Members
from extproc.formats.openai_chat.quirks.draft import (
    Draft,
    Object,
    raw,
    read_objects,
    read_text,
)
from extproc.formats.proofs import MISTRAL


def no_developer_role(draft: Draft) -> None:
    """Call a developer message a system message: the same to every older model."""
    for _, message in draft.messages("developer"):
        message["role"] = raw("system")
        draft.touch("messages")


def no_names(draft: Draft) -> None:
    """Leave the names of participants out."""
    for path, message in draft.messages():
        if message.pop("name", None) is not None:
            draft.touch("messages")
            draft.report(f"{path}.name")


_BREAKPOINTS = ("cache_control", "prompt_cache_breakpoint")


def no_cache_breakpoints(draft: Draft) -> None:
    """Leave breakpoints for the prompt cache out of messages and their parts."""
    for path, message in draft.messages():
        parts = read_objects(message.get("content")) or []
        places = {path: message}
        places |= {f"{path}.content[{i}]": part for i, part in enumerate(parts)}
        gone = [
            f"{place}.{name}"
            for place, members in places.items()
            for name in _BREAKPOINTS
            if members.pop(name, None) is not None
        ]
        if gone:
            if parts:
                message["content"] = raw(parts)
            draft.touch("messages")
            for one in gone:
                draft.report(one)


_ANSWER_MEMBERS = ("refusal", "annotations", "audio", "function_call")
_NOTHING = frozenset({b"null", b"[]"})


def no_answer_members(draft: Draft) -> None:
    """Leave out of earlier answers what only OpenAI's have; clients send them back whole."""
    for path, message in draft.messages("assistant"):
        for name in _ANSWER_MEMBERS:
            value = message.pop(name, None)
            if value is None:
                continue
            draft.touch("messages")
            if bytes(value) not in _NOTHING:
                draft.report(f"{path}.{name}")


def string_content(draft: Draft) -> None:
    """Join a list of texts to one string; anything else in it cannot be said."""
    for path, message in draft.messages():
        parts = read_objects(message.get("content"))
        if parts is None:
            continue
        texts = []
        for i, part in enumerate(parts):
            text = read_text(part.get("text"))
            if read_text(part.get("type")) != "text" or text is None:
                raise draft.refuse(f"{path}.content[{i}]", "reads text only.")
            texts.append(text)
        # Parts are lines of their own to servers that join them themselves.
        message["content"] = raw("\n".join(texts))
        draft.touch("messages")


def reasoning_back(draft: Draft) -> None:
    """Give thoughts of earlier turns back under the name that the server gave them."""
    for _, message in draft.messages("assistant"):
        thought = message.pop("reasoning_content", None)
        if thought is not None:
            message.setdefault("reasoning", thought)
            draft.touch("messages")


_THOUGHTS = ("reasoning_content", "reasoning", "thinking_blocks")
_PROOF = "extra_content"
"""What stands on a call of Gemini's; see `wire.thought_signature`."""


def no_reasoning_back(draft: Draft) -> None:
    """Leave thoughts of earlier turns out, which the server refuses or ignores."""
    _leave_out(draft, _THOUGHTS)


def may_have_thoughts(members: Members) -> bool:
    """Say whether `no_reasoning_back` could find something to leave out."""
    said = bytes(members.get("messages", b""))
    return (
        said.find(b'"reasoning') >= 0
        or said.find(b'"thinking_blocks"') >= 0
        or said.find(b'"extra_content"') >= 0
    )


def no_proofs_back(draft: Draft) -> None:
    """Leave out what other providers proved their thoughts with."""
    _leave_out(draft, ("thinking_blocks",))


def _leave_out(draft: Draft, names: Sequence[str]) -> None:
    if not draft.mentions("messages", *names, _PROOF):
        return
    for path, message in draft.messages("assistant"):
        for name in names:
            if message.pop(name, None) is not None:
                draft.touch("messages")
                draft.report(f"{path}.{name}")
        calls = read_objects(message.get("tool_calls")) or []
        proven = [i for i, call in enumerate(calls) if call.pop(_PROOF, None)]
        if proven:
            message["tool_calls"] = raw(calls)
            draft.touch("messages")
            for i in proven:
                draft.report(f"{path}.tool_calls[{i}].{_PROOF}")


def reasoning_required(draft: Draft) -> None:
    """Say something for thoughts that were lost: without any there is no answer."""
    if not draft.mentions("messages", "tool_calls"):
        return
    for _, message in draft.messages("assistant"):
        if "tool_calls" in message and not read_text(message.get("reasoning_content")):
            message["reasoning_content"] = raw(" ")
            draft.touch("messages")


# ---------------------------------------------------------------- Mistral


def thinking_back(draft: Draft) -> None:
    """Give thoughts of earlier turns back as the chunks that they came in."""
    for _, message in draft.messages("assistant"):
        blocks = read_objects(message.pop("thinking_blocks", None)) or ()
        thought = read_text(message.pop("reasoning_content", None))
        chunks: list[object] = [
            _thinking(
                read_text(block.get("thinking")) or "",
                read_text(block.get("signature")) or "",
            )
            for block in blocks
            if read_text(block.get("type")) == "thinking"
        ]
        if not chunks and thought:
            chunks = [_thinking(thought)]
        if not chunks:
            continue
        text = read_text(message.get("content"))
        if text is not None:
            chunks += [{"type": "text", "text": text}] if text else []
        else:
            chunks += read_objects(message.get("content")) or ()
        message["content"] = raw(chunks)
        draft.touch("messages")


def _thinking(words: str, signature: str = "") -> object:
    """Return a chunk of thoughts; another provider's signature would be refused."""
    said: dict[str, object] = {"type": "thinking", "thinking": []}
    if words:
        said["thinking"] = [{"type": "text", "text": words}]
    if signature.startswith(MISTRAL):
        said["signature"] = signature.removeprefix(MISTRAL)
    return said


def audio_string(draft: Draft) -> None:
    """Say a sound as ``AudioChunk`` of ``mistralai`` does: base64, and no format."""
    for _, message in draft.messages("user"):
        parts = read_objects(message.get("content"))
        changed = False
        for part in parts or ():
            sound = read_objects(b"[%s]" % bytes(part.get("input_audio", b"null")))
            if sound and "data" in sound[0]:
                part["input_audio"] = sound[0]["data"]
                changed = True
        if changed:
            message["content"] = raw(parts)
            draft.touch("messages")


def document_url(draft: Draft) -> None:
    """Say a file as Mistral does: https://docs.mistral.ai/capabilities/document_ai."""
    for path, message in draft.messages("user"):
        parts = read_objects(message.get("content"))
        if parts is None or not any(map(_is_file, parts)):
            continue
        for i, part in enumerate(parts):
            if not _is_file(part):
                continue
            file = read_objects(b"[%s]" % bytes(part.get("file", b"{}"))) or [{}]
            if "file_id" in file[0]:
                parts[i] = {"type": raw("file"), "file_id": file[0]["file_id"]}
            elif "file_data" in file[0]:
                parts[i] = {
                    "type": raw("document_url"),
                    "document_url": file[0]["file_data"],
                }
                if "filename" in file[0]:
                    parts[i]["document_name"] = file[0]["filename"]
            else:
                raise draft.refuse(f"{path}.content[{i}]", "cannot read this file.")
        message["content"] = raw(parts)
        draft.touch("messages")


def _is_file(part: Object) -> bool:
    return read_text(part.get("type")) == "file" and "file" in part


def prefix(draft: Draft) -> None:
    """Mark an assistant message that stands last as the beginning of the answer."""
    messages = draft.objects("messages")
    last = messages[-1] if messages else {}
    if read_text(last.get("role")) == "assistant" and "tool_calls" not in last:
        last.setdefault("prefix", raw(True))
        draft.touch("messages")


_NINE = re.compile(r"[A-Za-z0-9]{9}\Z")
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def nine_characters(call_id: str) -> str:
    """Return an id of nine letters and digits for `call_id`, always the same one."""
    if _NINE.match(call_id):
        return call_id
    digest = hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).digest()
    number = int.from_bytes(digest[:8], "big")
    out = []
    for _ in range(9):
        number, place = divmod(number, len(_ALPHABET))
        out.append(_ALPHABET[place])
    return "".join(out)


def tool_ids(draft: Draft) -> None:
    """Write the ids of calls and of their results in nine letters and digits."""
    for _, message in draft.messages("assistant", "tool"):
        if (own := read_text(message.get("tool_call_id"))) is not None:
            _rename(draft, message, "tool_call_id", own)
        calls = read_objects(message.get("tool_calls"))
        if not calls:
            continue
        for call in calls:
            if (given := read_text(call.get("id"))) is not None:
                _rename(draft, call, "id", given)
        message["tool_calls"] = raw(calls)


def _rename(draft: Draft, holder: Object, key: str, given: str) -> None:
    short = nine_characters(given)
    if short != given:
        holder[key] = raw(short)
        draft.touch("messages")
