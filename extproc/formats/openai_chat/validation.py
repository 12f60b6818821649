"""What may stand in a chat completion request where a value has to be one of a few."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from extproc.formats.openai_chat import wire
from extproc.formats.openai_validation import Wording

_PARTS = "'text', 'image_url', 'input_audio', 'file', 'refusal'"

SUPPORTED: Mapping[str, str] = {
    "messages[].role": (
        "'system', 'developer', 'user', 'assistant', 'tool', 'function'"
    ),
    "messages[].content[].type": _PARTS,
    "messages[].tool_calls[].type": "'function', 'custom'",
    "messages[].thinking_blocks[].type": "'thinking', 'redacted_thinking'",
    "tool_choice": "'none', 'auto', 'required'",
    "tool_choice.type": "'function', 'custom', 'allowed_tools'",
    "tool_choice.allowed_tools.mode": "'auto', 'required'",
    "function_call": "'none', 'auto'",
    "response_format.type": "'text', 'json_object', 'json_schema'",
    "reasoning_effort": ", ".join(map(repr, get_args(wire.Effort))),
    "thinking.type": "'enabled', 'disabled', 'adaptive'",
}
"""See `Wording.supported`."""


_WORDING = Wording(SUPPORTED)
decode = _WORDING.decode
invalid = _WORDING.invalid
