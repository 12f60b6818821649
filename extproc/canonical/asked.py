"""The request: its messages, its tools, and the shape that the answer is to have."""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from extproc.canonical.content import CacheControl, Caching, Message


class Tool(msgspec.Struct, frozen=True, gc=False):
    """A function that the model may call."""

    name: str
    description: str | None = None
    parameters: msgspec.Raw | None = None
    """JSON schema of the arguments; None is a function without parameters."""
    strict: bool | None = None
    cache: CacheControl | None = None


class CustomTool(msgspec.Struct, frozen=True, gc=False):
    """A tool that takes free text, optionally under a grammar."""

    name: str
    description: str | None = None
    format: msgspec.Raw | None = None


class Location(msgspec.Struct, frozen=True, gc=False):
    """Where the user is, about."""

    city: str | None = None
    country: str | None = None
    """Two letters of ISO 3166-1."""
    region: str | None = None
    timezone: str | None = None
    """Of the IANA's names."""


class WebSearch(msgspec.Struct, frozen=True, gc=False):
    """The provider searches the web for the model."""

    where: str
    """How the client calls the tool, such as ``tools[0]`` or ``web_search_options``."""
    allowed: tuple[str, ...] = ()
    """The domains of the pages that may be found; empty: any."""
    blocked: tuple[str, ...] = ()
    max_uses: int | None = None
    context_size: str | None = None
    """``low medium high``: how much of what it finds the model is to read."""
    location: Location | None = None
    cache: CacheControl | None = None
    name: ClassVar[str] = "web_search"


class WebFetch(msgspec.Struct, frozen=True, gc=False):
    """The provider reads pages of the web for the model."""

    where: str
    allowed: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()
    max_uses: int | None = None
    max_content_tokens: int | None = None
    citations: bool = False
    """The model is to cite what it has read."""
    cache: CacheControl | None = None
    name: ClassVar[str] = "web_fetch"


class BuiltinTool(msgspec.Struct, frozen=True, gc=False):
    """Any other tool that the provider runs itself, in the client's own spelling."""

    kind: str
    config: msgspec.Raw


AnyTool = Tool | CustomTool | WebSearch | WebFetch | BuiltinTool


class ToolChoice(msgspec.Struct, frozen=True, gc=False):
    """Which tools may or must be called."""

    mode: Literal["auto", "none", "required", "named"]
    names: tuple[str, ...] = ()
    """With ``named`` the one tool to call; with the others the tools allowed, if few."""


class OutputFormat(msgspec.Struct, frozen=True, gc=False):
    """The shape that the answer's text must have."""

    kind: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    description: str | None = None
    schema: msgspec.Raw | None = None
    strict: bool | None = None


class Thinking(msgspec.Struct, frozen=True, gc=False):
    """How much the model should reason before it answers."""

    effort: str | None = None
    """``none minimal low medium high xhigh max``: OpenAI's ``reasoning_effort``."""
    budget_tokens: int | None = None
    enabled: bool | None = None
    """Whether the client switched it on or off by name; None when it did not say."""
    adaptive: bool = False
    """The model decides how much (Anthropic's ``adaptive``)."""
    display: str | None = None
    """What the client wants to see of it: Anthropic's ``display``, OpenAI's summary."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What the client asks for, in nobody's dialect.

    Tuning fields are None when the client left them out: a provider's default stays the
    provider's.
    """

    model: str
    """The original model: as the client named it."""
    messages: tuple[Message, ...]
    tools: tuple[AnyTool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    n: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: msgspec.Raw | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    output_format: OutputFormat | None = None
    thinking: Thinking | None = None
    end_user: str | None = None
    """An opaque id of the person behind the request (``user``, ``metadata.user_id``)."""
    service_tier: str | None = None
    caching: Caching | None = None
    stream: bool = False
    include_usage: bool = False
    """The client asked for usage in its stream."""
    has_results: bool = False
    """Some of its documents may be search results."""
    left_out: tuple[str, ...] = ()
    """What only the provider whose API the client speaks has a use for, by the client's
    names; any other can do without, and the client is told so."""
    extras: dict[str, msgspec.Raw] = {}
    """Top-level fields without a canonical word, by the client's names."""
    names: dict[str, str] = {}
    """The client's own names of fields that it calls otherwise, by the names here, such
    as ``max_output_tokens`` to ``max_tokens``; an error names what the client wrote."""

    echo: dict[str, msgspec.Raw] = {}
    """What the client's own API repeats of the request in its answers, by its names;
    copies, which do not hold the request's body."""

    def name_of(self, field: str) -> str:
        """Return what the client calls `field`."""
        return self.names.get(field, field)
