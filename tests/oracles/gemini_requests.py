"""The judge of Gemini requests: Google's own SDK types, read strictly."""

from __future__ import annotations

import base64
import itertools
from typing import Any

import msgspec
import pydantic
from google.genai import types
from pydantic.alias_generators import to_camel


class GenerateBody(pydantic.BaseModel):
    """The body of ``generateContent``, whose parts only the SDK has types for."""

    model_config = pydantic.ConfigDict(alias_generator=to_camel, extra="forbid")

    contents: list[types.Content]
    system_instruction: types.Content | None = None
    tools: list[types.Tool] | None = None
    tool_config: types.ToolConfig | None = None
    generation_config: types.GenerationConfig | None = None
    safety_settings: list[types.SafetySetting] | None = None
    service_tier: types.ServiceTier | None = None
    cached_content: str | None = None


def _comparable(value: Any, key: str = "") -> Any:
    """Return JSON in which base64 is in one alphabet, and numbers are floats."""
    if isinstance(value, dict):
        return {name: _comparable(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_comparable(inner, key) for inner in value]
    if key in {"data", "thoughtSignature"}:
        return base64.urlsafe_b64decode(value.replace("+", "-").replace("/", "_"))
    return float(value) if type(value) is int else value


def judge(body: bytes) -> Any:
    """Check a body against the SDK's types, unknown fields refused; decode it."""
    decoded = msgspec.json.decode(body)
    read = GenerateBody.model_validate_json(body, strict=True)
    # The SDK's types take snake_case too; what it writes is camelCase.
    again = read.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert _comparable(again) == _comparable(decoded)
    roles = [content["role"] for content in decoded["contents"]]
    assert all(one != after for one, after in itertools.pairwise(roles))
    for content in decoded["contents"]:
        assert content["parts"]
        late = ["functionResponse" not in part for part in content["parts"]]
        assert late == sorted(late)
    return decoded
