"""What Bedrock's Converse takes: the whole request as a table.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html; the tests
walk it beside botocore's model. `UNIONS` are the objects that must have exactly one member.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from extproc.local.mock.rules import (
    Bool,
    FreeObj,
    Int,
    ListOf,
    Num,
    Obj,
    Rule,
    Str,
    enum,
)

_UNIONS: list[Obj] = []


def _union(fields: Mapping[str, Rule]) -> Obj:
    made = Obj(fields)
    _UNIONS.append(made)
    return made


def _matching(pattern: str, low: int = 0, high: int | None = None) -> Str:
    return Str(low, high, rf"^(?:{pattern})\Z")


TEXT: Final = Str()
FILLED: Final = Str(1)
BYTES: Final = Str(1)
"""Base64."""

S3: Final = Obj(
    {
        "uri!": _matching(r"s3://[a-z0-9][\.\-a-z0-9]{1,61}[a-z0-9](/.*)?", 1, 1024),
        "bucketOwner": _matching("[0-9]{12}"),
    }
)
SOURCE: Final = _union({"bytes": BYTES, "s3Location": S3})
CACHE_POINT: Final = Obj({"type!": enum("default"), "ttl": enum("5m", "1h")})
CITATIONS: Final = Obj({"enabled!": Bool()})
ERROR: Final = Obj({"message": TEXT})

IMAGE: Final = Obj(
    {
        "format!": enum("png", "jpeg", "gif", "webp"),
        "source!": SOURCE,
        "error": ERROR,
    }
)
AUDIO: Final = Obj(
    {
        "format!": enum(
            "mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac",
            "m4a", "mpeg", "mpga", "pcm", "webm",
        ),
        "source!": SOURCE,
        "error": ERROR,
    }
)  # fmt: skip
VIDEO: Final = Obj(
    {
        "format!": enum(
            "mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv", "three_gp"
        ),
        "source!": SOURCE,
    }
)
DOCUMENT: Final = Obj(
    {
        "format": enum("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"),
        "name!": Str(1, 200),
        "source!": _union(
            {
                "bytes": BYTES,
                "s3Location": S3,
                "text": TEXT,
                "content": ListOf(_union({"text": TEXT})),
            }
        ),
        "context": TEXT,
        "citations": CITATIONS,
    }
)
SEARCH_RESULT: Final = Obj(
    {
        "source!": TEXT,
        "title!": TEXT,
        "content!": ListOf(Obj({"text!": TEXT})),
        "citations": CITATIONS,
    }
)

TOOL_ID: Final = _matching("[a-zA-Z0-9_.:-]+", 1, 64)
TOOL_NAME: Final = _matching("[a-zA-Z0-9_-]+", 1, 64)
TOOL_REFERENCE: Final = Obj(
    {"tool!": Obj({"type": Str(1, 64), "name": Str(1, 128), "serverName": Str(1, 128)})}
)
TOOL_USE: Final = Obj(
    {
        "toolUseId!": TOOL_ID,
        "name!": TOOL_NAME,
        "input!": FreeObj(),
        "type": enum("server_tool_use"),
    }
)
TOOL_RESULT: Final = Obj(
    {
        "toolUseId!": TOOL_ID,
        "content!": ListOf(
            _union(
                {
                    "json": FreeObj(),
                    "text": TEXT,
                    "image": IMAGE,
                    "document": DOCUMENT,
                    "video": VIDEO,
                    "searchResult": SEARCH_RESULT,
                }
            )
        ),
        "status": enum("success", "error"),
        "type": TEXT,
    }
)

GUARDED: Final = _union(
    {
        "text": Obj(
            {
                "text!": TEXT,
                "qualifiers": ListOf(
                    enum("grounding_source", "query", "guard_content")
                ),
            }
        ),
        "image": Obj(
            {"format!": enum("png", "jpeg"), "source!": _union({"bytes": BYTES})}
        ),
    }
)

_SPAN: Final[Mapping[str, Rule]] = {"start": Int(0), "end": Int(0)}
_IN_DOCUMENT: Final = Obj({"documentIndex": Int(0), **_SPAN})
CITATION: Final = Obj(
    {
        "title": TEXT,
        "source": TEXT,
        "sourceContent": ListOf(_union({"text": TEXT})),
        "location": _union(
            {
                "web": Obj({"url": TEXT, "domain": TEXT}),
                "documentChar": _IN_DOCUMENT,
                "documentPage": _IN_DOCUMENT,
                "documentChunk": _IN_DOCUMENT,
                "searchResultLocation": Obj({"searchResultIndex": Int(0), **_SPAN}),
            }
        ),
    }
)

BLOCK: Final = _union(
    {
        "text": TEXT,
        "image": IMAGE,
        "document": DOCUMENT,
        "video": VIDEO,
        "audio": AUDIO,
        "toolUse": TOOL_USE,
        "toolResult": TOOL_RESULT,
        "guardContent": GUARDED,
        "cachePoint": CACHE_POINT,
        "reasoningContent": _union(
            {
                "reasoningText": Obj({"text!": TEXT, "signature": TEXT}),
                "redactedContent": Str(),
            }
        ),
        "citationsContent": Obj(
            {
                "content": ListOf(_union({"text": TEXT})),
                "citations": ListOf(CITATION),
            }
        ),
        "searchResult": SEARCH_RESULT,
        "toolAddition": TOOL_REFERENCE,
        "toolRemoval": TOOL_REFERENCE,
    }
)
SYSTEM: Final = _union(
    {"text": FILLED, "guardContent": GUARDED, "cachePoint": CACHE_POINT}
)

TOOL: Final = _union(
    {
        "toolSpec": Obj(
            {
                "name!": TOOL_NAME,
                "description": FILLED,
                "inputSchema!": _union({"json": FreeObj()}),
                "strict": Bool(),
            }
        ),
        "systemTool": Obj({"name!": TOOL_NAME}),
        "cachePoint": CACHE_POINT,
    }
)
TOOL_CONFIG: Final = Obj(
    {
        "tools!": ListOf(TOOL, 1),
        "toolChoice": _union(
            {"auto": Obj({}), "any": Obj({}), "tool": Obj({"name!": TOOL_NAME})}
        ),
    }
)

GUARDRAIL: Final[Mapping[str, Rule]] = {
    "guardrailIdentifier": _matching(
        "(|([a-z0-9]+)|(arn:aws(-[^:]+)?:bedrock:[a-z0-9-]{1,20}:[0-9]{12}:guardrail/"
        "[a-z0-9]+))",
        0,
        2048,
    ),
    "guardrailVersion": _matching("(|([1-9][0-9]{0,7})|(DRAFT))"),
    "trace": enum("enabled", "disabled", "enabled_full"),
}

CONVERSE: Final = Obj(
    {
        "messages": ListOf(
            Obj(
                {
                    "role!": enum("user", "assistant", "system"),
                    "content!": ListOf(BLOCK),
                }
            )
        ),
        "system": ListOf(SYSTEM),
        "inferenceConfig": Obj(
            {
                "maxTokens": Int(1),
                "temperature": Num(0, 1),
                "topP": Num(0, 1),
                "stopSequences": ListOf(FILLED, 0, 2500),
            }
        ),
        "toolConfig": TOOL_CONFIG,
        "guardrailConfig": Obj(GUARDRAIL),
        "additionalModelRequestFields": FreeObj(),
        "promptVariables": FreeObj(_union({"text": TEXT})),
        "additionalModelResponseFieldPaths": ListOf(Str(1, 256), 0, 10),
        "requestMetadata": FreeObj(
            _matching(r"[a-zA-Z0-9\s:_@$#=/+,-.]{0,256}", 0, 256), max=16, key_max=256
        ),
        "performanceConfig": Obj({"latency": enum("standard", "optimized")}),
        "serviceTier": Obj({"type!": enum("priority", "default", "flex", "reserved")}),
        "outputConfig": Obj(
            {
                "textFormat": Obj(
                    {
                        "type!": enum("json_schema"),
                        "structure!": _union(
                            {
                                "jsonSchema": Obj(
                                    {
                                        "schema!": TEXT,
                                        "name": TEXT,
                                        "description": TEXT,
                                    }
                                )
                            }
                        ),
                    }
                ),
                "effort": Str(0, 16),
            }
        ),
    }
)
"""The body of `/converse`; the model is in the path."""

CONVERSE_STREAM: Final = Obj(
    {
        **CONVERSE.fields,
        "guardrailConfig": Obj(
            {**GUARDRAIL, "streamProcessingMode": enum("sync", "async")}
        ),
    }
)
"""The body of `/converse-stream`."""

UNIONS: Final = tuple(_UNIONS)
