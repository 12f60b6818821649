"""The body of Anthropic's Messages API as we send it; blocks and answers are in `wire`.

https://platform.claude.com/docs/en/api/messages.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Raw, Struct

from extproc.formats.anthropic.wire import CacheControl, Citing, TextBlock, WrittenBlock


class Turn(Struct, gc=False):
    role: Literal["user", "assistant", "system"]
    content: list[WrittenBlock]


class Tool(Struct, omit_defaults=True, gc=False):
    name: str
    input_schema: Raw
    description: str | None = None
    strict: bool | None = None
    cache_control: CacheControl | None = None


class WebTool(Struct, omit_defaults=True, kw_only=True, gc=False):
    """The search of the web, or the reading of its pages."""

    type: str
    name: str
    max_uses: int | None = None
    allowed_domains: tuple[str, ...] = ()
    blocked_domains: tuple[str, ...] = ()
    user_location: dict[str, str] | None = None
    max_content_tokens: int | None = None
    citations: Citing | None = None
    cache_control: CacheControl | None = None


class ToolChoice(Struct, omit_defaults=True, gc=False):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


class ThinkingConfig(Struct, omit_defaults=True, gc=False):
    type: Literal["enabled", "adaptive", "disabled", "between_tools"]
    budget_tokens: int | None = None
    display: str | None = None


class JsonFormat(Struct, tag="json_schema", tag_field="type", gc=False):
    schema: Raw


class OutputConfig(Struct, omit_defaults=True, gc=False):
    effort: str | None = None
    format: JsonFormat | None = None


class Metadata(Struct, gc=False):
    user_id: str


class MessagesBody(Struct, omit_defaults=True, kw_only=True):
    model: str
    max_tokens: int
    messages: list[Turn]
    system: list[TextBlock] | None = None
    tools: list[Tool | WebTool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: ThinkingConfig | None = None
    output_config: OutputConfig | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: tuple[str, ...] = ()
    metadata: Metadata | None = None
    service_tier: str | None = None
    stream: bool = False
