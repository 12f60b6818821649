"""What may stand in a Responses request where a value has to be one of a few."""

from __future__ import annotations

from collections.abc import Mapping

from extproc.formats.openai_validation import Wording

_PARTS = "'input_text', 'input_image', 'input_file', 'input_audio'"

SUPPORTED: Mapping[str, str] = {
    "input[].role": "'user', 'assistant', 'system', 'developer'",
    "input[].content[].type": f"{_PARTS}, 'output_text', 'refusal'",
    "input[].output[].type": "'input_text', 'input_image', 'input_file'",
    "tool_choice": "'none', 'auto', 'required'",
    "text.format.type": "'text', 'json_object', 'json_schema'",
    "text.verbosity": "'low', 'medium', 'high'",
    "reasoning.effort": ("'none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max'"),
    "reasoning.summary": "'auto', 'concise', 'detailed'",
    "truncation": "'auto', 'disabled'",
}
"""See `Wording.supported`."""

_WORDING = Wording(SUPPORTED)
decode = _WORDING.decode
