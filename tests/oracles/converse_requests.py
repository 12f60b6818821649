"""The judge of Converse requests: botocore's own model of Bedrock, read strictly."""

from __future__ import annotations

import base64
import functools
import itertools
import re
from typing import Any

import msgspec
from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape
from botocore.validate import ParamValidator


@functools.cache
def service() -> ServiceModel:
    """Return Bedrock's runtime, as botocore knows it."""
    return ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))


def as_python(value: Any, shape: Shape) -> Any:
    """Return JSON as a caller of botocore would give it, checking what it does not.

    The validator looks neither at enumerations and patterns nor at upper bounds; binary
    values are base64 on the wire and bytes for it.
    """
    limits = shape.metadata
    match shape.type_name:
        case "blob":
            return base64.b64decode(value, validate=True)
        case "structure" if not shape.is_document_type:
            assert isinstance(value, dict)
            members = shape.members
            assert value.keys() <= members.keys(), value.keys() - members.keys()
            if getattr(shape, "is_tagged_union", False):
                assert len(value) == 1, value
            return {key: as_python(item, members[key]) for key, item in value.items()}
        case "list":
            assert len(value) <= limits.get("max", len(value))
            return [as_python(item, shape.member) for item in value]
        case "map":
            assert len(value) <= limits.get("max", len(value))
            return {
                as_python(key, shape.key): as_python(item, shape.value)
                for key, item in value.items()
            }
        case "string":
            assert isinstance(value, str)
            assert len(value) <= limits.get("max", len(value)), value
            assert value in (shape.enum or [value]), value
            if "pattern" in limits:
                assert re.fullmatch(limits["pattern"], value), value
        case "integer" | "float" | "long":
            assert value <= limits.get("max", value), value
        case _:
            pass
    return value


def judge(body: bytes, model: str = "anthropic.claude-sonnet-4-5-v1:0") -> Any:
    """Check a body against `Converse`, and what the API adds to it; decode it."""
    decoded = msgspec.json.decode(body)
    for name in ("Converse", "ConverseStream"):
        shape = service().operation_model(name).input_shape
        params = {**as_python(decoded, shape), "modelId": model}
        report = ParamValidator().validate(params, shape)
        assert not report.has_errors(), report.generate_report()
    _check_conversation(decoded)
    return decoded


def _check_conversation(body: Any) -> None:
    turns = body["messages"]
    assert turns[0]["role"] == "user"
    assert all(a["role"] != b["role"] for a, b in itertools.pairwise(turns))
    blocks = [block for turn in turns for block in turn["content"]]
    for turn in turns:
        assert turn["content"]
        kinds = ["toolResult" in b for b in turn["content"] if "cachePoint" not in b]
        assert kinds == sorted(kinds, reverse=True)
        if any("document" in block for block in turn["content"]):
            assert any("text" in block for block in turn["content"])
    results = [b["toolResult"]["content"] for b in blocks if "toolResult" in b]
    assert all(results)
    texts = [*blocks, *body.get("system", []), *itertools.chain(*results)]
    assert all(block["text"].strip() for block in texts if "text" in block)
    names = [b["document"]["name"] for b in texts if "document" in b]
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"(?:[A-Za-z0-9()\[\]-]| (?! ))+", name), name
    if any("toolUse" in block or "toolResult" in block for block in blocks):
        calls = any("toolUse" in block for block in blocks)
        assert "toolConfig" in body or not calls
    assert "toolChoice" not in body.get("toolConfig", {}) or (
        "tool_choice" not in body.get("additionalModelRequestFields", {})
    )
