"""The request of `generateContent`, field by field.

Reference: https://ai.google.dev/api/generate-content. Names, kinds and enums are proved
against `google.genai.types`. Names in snake_case are read by `spelling.py`.
"""

from __future__ import annotations

from typing import Final

from extproc.local.mock.rules import (
    Bool,
    FreeObj,
    Int,
    ListOf,
    Null,
    Num,
    Obj,
    Rule,
    Str,
    enum,
    one_of,
)

_SCALAR: Final = (Str(), Num(), Bool(), Null(), FreeObj())
ANYTHING: Final = one_of(*_SCALAR, ListOf(one_of(*_SCALAR)))

INT32: Final = Int(-(2**31), 2**31 - 1)

BLOB: Final = Obj({"mimeType!": Str(), "data!": Str()})
FILE: Final = Obj({"mimeType": Str(), "fileUri!": Str(min=1)})
RESOLUTION: Final = Obj(
    {
        "level": enum(
            "MEDIA_RESOLUTION_UNSPECIFIED",
            "MEDIA_RESOLUTION_LOW",
            "MEDIA_RESOLUTION_MEDIUM",
            "MEDIA_RESOLUTION_HIGH",
            "MEDIA_RESOLUTION_ULTRA_HIGH",
        ),
        "numTokens": INT32,
    }
)

FUNCTION_CALL: Final = Obj({"id": Str(), "name!": Str(min=1), "args": FreeObj()})
FUNCTION_RESPONSE: Final = Obj(
    {
        "id": Str(),
        "name!": Str(min=1),
        "response!": FreeObj(),
        "parts": ListOf(
            Obj(
                {
                    "inlineData": Obj({**BLOB.fields, "displayName": Str()}),
                    "fileData": Obj({**FILE.fields, "displayName": Str()}),
                }
            )
        ),
        "willContinue": Bool(),
        "scheduling": enum(
            "SCHEDULING_UNSPECIFIED", "SILENT", "WHEN_IDLE", "INTERRUPT"
        ),
    }
)

DATA: Final = (
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
    "executableCode",
    "codeExecutionResult",
)
"""A part has one of these."""

PART: Final = Obj(
    {
        "text": Str(),
        "inlineData": BLOB,
        "fileData": FILE,
        "functionCall": FUNCTION_CALL,
        "functionResponse": FUNCTION_RESPONSE,
        "executableCode": Obj(
            {
                "code!": Str(),
                "language!": enum("LANGUAGE_UNSPECIFIED", "PYTHON"),
                "id": Str(),
            }
        ),
        "codeExecutionResult": Obj(
            {
                "outcome!": enum(
                    "OUTCOME_UNSPECIFIED",
                    "OUTCOME_OK",
                    "OUTCOME_FAILED",
                    "OUTCOME_DEADLINE_EXCEEDED",
                ),
                "output": Str(),
                "id": Str(),
            }
        ),
        "thought": Bool(),
        "thoughtSignature": Str(),
        "mediaResolution": RESOLUTION,
        "videoMetadata": FreeObj(),
        "partMetadata": FreeObj(),
    }
)

CONTENT: Final = Obj({"role": Str(), "parts": ListOf(PART)})

TYPES: Final = enum(
    "TYPE_UNSPECIFIED",
    "STRING",
    "NUMBER",
    "INTEGER",
    "BOOLEAN",
    "ARRAY",
    "OBJECT",
    "NULL",
)

_SCHEMA: Final[dict[str, Rule]] = {
    "type": TYPES,
    "format": Str(),
    "title": Str(),
    "description": Str(),
    "nullable": Bool(),
    "enum": ListOf(Str()),
    "required": ListOf(Str()),
    "propertyOrdering": ListOf(Str()),
    "pattern": Str(),
    "minItems": Int(0),
    "maxItems": Int(0),
    "minProperties": Int(0),
    "maxProperties": Int(0),
    "minLength": Int(0),
    "maxLength": Int(0),
    "minimum": Num(),
    "maximum": Num(),
    "default": ANYTHING,
    "example": ANYTHING,
}
SCHEMA: Final = Obj(_SCHEMA)
_SCHEMA.update(
    {
        "items": SCHEMA,
        "anyOf": ListOf(SCHEMA),
        "properties": FreeObj(SCHEMA),
    }
)

FUNCTION: Final = Obj(
    {
        "name!": Str(),
        "description": Str(),
        "parameters": SCHEMA,
        "parametersJsonSchema": FreeObj(),
        "response": SCHEMA,
        "responseJsonSchema": FreeObj(),
        "behavior": enum("UNSPECIFIED", "BLOCKING", "NON_BLOCKING"),
    }
)

TOOL: Final = Obj(
    {
        "functionDeclarations": ListOf(FUNCTION),
        "googleSearch": FreeObj(),
        "googleSearchRetrieval": FreeObj(),
        "googleMaps": FreeObj(),
        "codeExecution": FreeObj(),
        "urlContext": FreeObj(),
        "fileSearch": FreeObj(),
        "computerUse": FreeObj(),
        "mcpServers": ListOf(FreeObj()),
    }
)

TOOL_CONFIG: Final = Obj(
    {
        "functionCallingConfig": Obj(
            {
                "mode": enum("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"),
                "allowedFunctionNames": ListOf(Str()),
            }
        ),
        "retrievalConfig": FreeObj(),
        "includeServerSideToolInvocations": Bool(),
    }
)

THINKING: Final = Obj(
    {
        "includeThoughts": Bool(),
        "thinkingBudget": INT32,
        "thinkingLevel": enum(
            "THINKING_LEVEL_UNSPECIFIED", "MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"
        ),
    }
)

GENERATION_CONFIG: Final = Obj(
    {
        "temperature": Num(0, 2),
        "topP": Num(0, 1),
        "topK": Num(),
        "candidateCount": Int(1, 8),
        "maxOutputTokens": Int(1),
        "stopSequences": ListOf(Str(), max=5),
        "seed": INT32,
        "presencePenalty": Num(-2, 2),
        "frequencyPenalty": Num(-2, 2),
        "responseLogprobs": Bool(),
        "logprobs": Int(0, 20),
        "responseMimeType": enum("text/plain", "application/json", "text/x.enum"),
        "responseSchema": SCHEMA,
        "responseJsonSchema": FreeObj(),
        "responseModalities": ListOf(
            enum("MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "AUDIO", "VIDEO")
        ),
        "mediaResolution": enum(
            "MEDIA_RESOLUTION_UNSPECIFIED",
            "MEDIA_RESOLUTION_LOW",
            "MEDIA_RESOLUTION_MEDIUM",
            "MEDIA_RESOLUTION_HIGH",
        ),
        "speechConfig": FreeObj(),
        "thinkingConfig": THINKING,
        "enableEnhancedCivicAnswers": Bool(),
    }
)

SAFETY_SETTING: Final = Obj(
    {
        "category!": enum(
            "HARM_CATEGORY_UNSPECIFIED",
            "HARM_CATEGORY_HARASSMENT",
            "HARM_CATEGORY_HATE_SPEECH",
            "HARM_CATEGORY_SEXUALLY_EXPLICIT",
            "HARM_CATEGORY_DANGEROUS_CONTENT",
            "HARM_CATEGORY_CIVIC_INTEGRITY",
            "HARM_CATEGORY_JAILBREAK",
        ),
        "threshold!": enum(
            "HARM_BLOCK_THRESHOLD_UNSPECIFIED",
            "BLOCK_LOW_AND_ABOVE",
            "BLOCK_MEDIUM_AND_ABOVE",
            "BLOCK_ONLY_HIGH",
            "BLOCK_NONE",
            "OFF",
        ),
    }
)

GENERATE: Final = Obj(
    {
        "model": Str(),
        "contents": ListOf(CONTENT),
        "systemInstruction": CONTENT,
        "tools": ListOf(TOOL),
        "toolConfig": TOOL_CONFIG,
        "generationConfig": GENERATION_CONFIG,
        "safetySettings": ListOf(SAFETY_SETTING),
        "cachedContent": Str(),
        "serviceTier": enum("unspecified", "standard", "flex", "priority"),
        "labels": FreeObj(Str()),
        "store": Bool(),
    }
)
