"""OpenAI's Responses request, as bytes become it; answers are in `answer_wire`.

https://platform.openai.com/docs/api-reference/responses/create; the fields are those of
``openai.types.responses``. Items are kept undecoded until their kind is known: there are
over thirty, and most only OpenAI's own servers can read.

Of the members of an item, those that are not named here only label it (``id``,
``status``, ``phase``, ``caller``) and are skipped: clients send the items of an answer
back as they were.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Raw, Struct

from extproc.formats.openai_caching import Breakpoint, Options

ABSENT = Raw()
"""A member that is not there. msgspec reads no optional `Raw`: a JSON null comes as the
four bytes ``null``, and `present` knows both."""

_NULL = Raw(b"null")


def present(raw: Raw) -> Raw | None:
    """Return `raw` unless it is absent or null."""
    return None if raw in (ABSENT, _NULL) else raw


# ---------------------------------------------------------------- content parts


class InputText(Struct, tag_field="type", tag="input_text", frozen=True):
    text: str
    prompt_cache_breakpoint: Breakpoint | None = None


class OutputText(Struct, tag_field="type", tag="output_text", frozen=True):
    text: str
    annotations: Raw = ABSENT


class PlainText(Struct, tag_field="type", tag="text", frozen=True):
    text: str


class RefusalPart(Struct, tag_field="type", tag="refusal", frozen=True):
    refusal: str


class InputImage(
    Struct, tag_field="type", tag="input_image", frozen=True, kw_only=True
):
    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None
    prompt_cache_breakpoint: Breakpoint | None = None


class InputFile(Struct, tag_field="type", tag="input_file", frozen=True, kw_only=True):
    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    filename: str | None = None
    prompt_cache_breakpoint: Breakpoint | None = None


class Sound(Struct, frozen=True):
    data: str
    format: str


class InputAudio(Struct, tag_field="type", tag="input_audio", frozen=True):
    input_audio: Sound


Part = (
    InputText
    | OutputText
    | PlainText
    | RefusalPart
    | InputImage
    | InputFile
    | InputAudio
)
OutputPart = InputText | InputImage | InputFile
"""What a tool may give back."""

# ---------------------------------------------------------------- items


class Kind(Struct, frozen=True):
    """Enough of an item or tool to know which it is."""

    type: str | None = None
    role: str | None = None
    id: str | None = None


class Message(Struct, frozen=True):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[Part]


class SummaryPart(Struct, frozen=True):
    text: str = ""


class Reasoning(Struct, frozen=True):
    id: str | None = None
    summary: list[SummaryPart] = []
    content: list[SummaryPart] | None = None
    encrypted_content: str | None = None


class FunctionCall(Struct, frozen=True):
    call_id: str
    name: str
    arguments: str
    namespace: str | None = None


class CustomToolCall(Struct, frozen=True):
    call_id: str
    name: str
    input: str
    namespace: str | None = None


class WebSearchCall(Struct, frozen=True):
    """A search of an earlier answer: of use to nobody who has not made it."""

    id: str | None = None


class CallOutput(Struct, frozen=True):
    """Of a function or of a custom tool."""

    call_id: str
    output: str | list[OutputPart]


# ---------------------------------------------------------------- tools and shapes


class FunctionTool(Struct, frozen=True, rename={"async_": "async"}):
    name: str
    description: str | None = None
    parameters: Raw = ABSENT
    strict: bool | None = None
    defer_loading: bool | None = None
    output_schema: Raw = ABSENT
    allowed_callers: list[str] | None = None
    async_: bool | None = None


class CustomTool(Struct, frozen=True, rename={"async_": "async"}):
    name: str
    description: str | None = None
    format: Raw = ABSENT
    defer_loading: bool | None = None
    allowed_callers: list[str] | None = None
    async_: bool | None = None


class TextFormatOfCustom(Struct, tag_field="type", tag="text", frozen=True):
    pass


class GrammarOfCustom(Struct, tag_field="type", tag="grammar", frozen=True):
    definition: str
    syntax: Literal["lark", "regex"]


class Choice(Struct, frozen=True):
    """A ``tool_choice`` that is an object."""

    type: str
    name: str | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list[Choice] | None = None


class TextFormat(Struct, tag_field="type", tag="text", frozen=True):
    pass


class JSONObjectFormat(Struct, tag_field="type", tag="json_object", frozen=True):
    pass


class JSONSchemaFormat(Struct, tag_field="type", tag="json_schema", frozen=True):
    name: str
    schema: Raw
    description: str | None = None
    strict: bool | None = None


class TextConfig(Struct, frozen=True):
    format: TextFormat | JSONObjectFormat | JSONSchemaFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


Summary = Literal["auto", "concise", "detailed"]


class ReasoningConfig(Struct, frozen=True):
    effort: (
        Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None
    ) = None
    summary: Summary | None = None
    generate_summary: Summary | None = None
    context: str | None = None
    mode: str | None = None


class StreamOptions(Struct, frozen=True):
    include_obfuscation: bool | None = None


class Request(Struct, frozen=True, kw_only=True):
    """The members that the canonical request has a word for, in whole or in part.

    Those that it has none for go to its `extras`, so a member may not be listed here
    without being read.
    """

    model: str
    input: str | list[Raw] | None = None
    instructions: str | None = None
    tools: list[Raw] | None = None
    tool_choice: Literal["none", "auto", "required"] | Choice | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    text: TextConfig | None = None
    reasoning: ReasoningConfig | None = None
    include: list[str] | None = None
    user: str | None = None
    service_tier: str | None = None
    prompt_cache_options: Options | None = None
    store: bool | None = None
    background: bool | None = None
    truncation: Literal["auto", "disabled"] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None


def raw(value: object) -> Raw:
    """Return JSON text of `value`."""
    return Raw(msgspec.json.encode(value))
