"""The canonical request, answer and stream that every format reads and writes.

A client format reads its request into `Request` and writes `Answer` and stream `Event`s
in its own shape; a provider format does the opposite. So N client and M provider formats
cost N + M. A request whose client and provider share a format never comes here: its bytes
pass.

Nothing here is any vendor's own: a field exists if at least two of the formats that we
speak can say it, or if losing it would change the answer. What a client said and the
canonical form has no word for stays in `Request.extras`, by its own name, so that the
provider's format can refuse or report it.

JSON that only travels (schemas, metadata, tool arguments) is kept as text or
`msgspec.Raw`, never decoded and re-encoded.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from extproc.errors import GatewayError
from extproc.usage import Usage

# ---------------------------------------------------------------- content sources


class Inline(msgspec.Struct, frozen=True, gc=False):
    """Bytes that came with the request."""

    media_type: str
    """Such as ``image/png``; empty when the client did not say."""
    data: str
    """Base64, as the client sent it."""


class Remote(msgspec.Struct, frozen=True, gc=False):
    """A URL that the provider may fetch; we never do."""

    url: str


class FileReference(msgspec.Struct, frozen=True, gc=False):
    """A file that was uploaded to the provider before."""

    id: str


Source = Inline | Remote | FileReference


class CacheControl(msgspec.Struct, frozen=True, gc=False):
    """A prompt-cache breakpoint after the part, tool or message that carries it."""

    ttl: str | None = None
    """``5m``, ``1h`` (Anthropic, Bedrock), ``30m``, ``12h`` (OpenAI); None is the
    provider's default."""


class Caching(msgspec.Struct, frozen=True, gc=False):
    """What a request says of its prompt's cache as a whole."""

    automatic: bool | None = None
    """Whether the provider is to set a breakpoint by itself at the end of the prompt
    (Anthropic's top-level ``cache_control``, OpenAI's ``implicit`` mode)."""
    ttl: str | None = None
    """How long that one lives."""
    default_ttl: str | None = None
    """How long a breakpoint lives that does not say."""


# ---------------------------------------------------------------- message parts


class Citation(msgspec.Struct, frozen=True, gc=False):
    """Where a text has something from: a page of the web, or a document of the request."""

    url: str = ""
    """Empty for a document of the request."""
    title: str | None = None
    quote: str = ""
    """The words of the source."""
    start: int | None = None
    """Where in the part's text that which is cited begins, in characters; None: the
    citation is of all of the text."""
    end: int | None = None
    document: int = 0
    """Which document of the request, counted from 0."""
    file: str = ""
    """The document's id, where it was uploaded before."""
    unit: Literal["char", "page", "block"] = "char"
    """In what the place in the document is counted."""
    first: int = 0
    last: int = 0
    """The end of the place, exclusive."""
    proof: str = ""
    """What Anthropic wants back: its ``encrypted_index``."""


class Text(msgspec.Struct, frozen=True, gc=False):
    """A run of text."""

    text: str
    cache: CacheControl | None = None
    citations: tuple[Citation, ...] = ()
    """The sources of an answer's text."""


class Image(msgspec.Struct, frozen=True, gc=False):
    """A picture."""

    source: Source
    detail: str | None = None
    """OpenAI's ``low``, ``high``, ``auto``."""
    cache: CacheControl | None = None


class Document(msgspec.Struct, frozen=True, gc=False):
    """A file to be read: a PDF, or plain text when the media type says so."""

    source: Source
    filename: str | None = None
    cache: CacheControl | None = None
    citations: bool = False
    """The answer is to cite it."""
    context: str | None = None
    """What is to be known of it, and not cited."""


class Audio(msgspec.Struct, frozen=True, gc=False):
    """Speech or sound, ``media_type`` such as ``audio/wav``."""

    source: Source
    cache: CacheControl | None = None


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """The model's own words for not answering."""

    text: str


class Reasoning(msgspec.Struct, frozen=True, gc=False):
    """What the model thought; `signature` or `encrypted` prove it to its provider."""

    text: str = ""
    signature: str | None = None
    encrypted: str | None = None
    """Reasoning that only the provider can read (Anthropic's ``redacted_thinking``)."""
    id: str | None = None


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """The model asks for a tool to be run."""

    id: str
    name: str
    arguments: str
    """JSON text of an object; never empty: a call without arguments has ``{}``."""
    custom: bool = False
    """A custom tool: `arguments` is free text."""
    signature: str | None = None
    """A proof of the thought behind the call (Gemini's ``thoughtSignature``)."""
    cache: CacheControl | None = None


class ToolResult(msgspec.Struct, frozen=True, gc=False):
    """What running a tool gave."""

    call_id: str
    parts: tuple[Text | Image | Document, ...]
    is_error: bool = False
    cache: CacheControl | None = None


class Found(msgspec.Struct, frozen=True, gc=False):
    """A page that a search of the web has found."""

    url: str
    title: str = ""
    proof: str = ""
    """What Anthropic wants back: its ``encrypted_content``."""


class Search(msgspec.Struct, frozen=True, gc=False):
    """The provider has searched the web for the model, or read a page of it."""

    id: str
    queries: tuple[str, ...] = ()
    found: tuple[Found, ...] = ()
    """Empty where the provider does not say, too."""
    page: str = ""
    """The URL that was read; empty: it was a search."""
    error: str = ""
    """Why it failed, in the provider's word."""


Part = (
    Text
    | Image
    | Document
    | Audio
    | Refusal
    | Reasoning
    | ToolCall
    | ToolResult
    | Search
)

Role = Literal["system", "developer", "user", "assistant", "tool"]


class Message(msgspec.Struct, frozen=True, gc=False):
    """One turn, its parts in the client's order."""

    role: Role
    parts: tuple[Part, ...]
    name: str | None = None
    """OpenAI's participant name."""
    where: str = ""
    """How the client would name this message, such as ``messages[3]``; for errors."""
    places: tuple[str, ...] = ()
    """How the client would name each part; empty where `place` can tell."""

    def place(self, i: int) -> str:
        """Return how the client would name part `i`; in chat's words, if nobody said."""
        if self.places:
            return self.places[i]
        part, before = self.parts[i], self.parts[:i]
        if isinstance(part, Reasoning):
            return f"{self.where}.reasoning"
        calls = sum(isinstance(one, ToolCall) for one in before)
        if isinstance(part, ToolCall):
            return f"{self.where}.tool_calls[{calls}]"
        if self.role == "tool":
            return self.where
        thoughts = sum(isinstance(one, Reasoning) for one in before)
        return f"{self.where}.content[{i - calls - thoughts}]"


# ---------------------------------------------------------------- tools and shapes


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


class ListedModel(msgspec.Struct, frozen=True, gc=False):
    """A model as a list of models names it."""

    id: str
    created: int
    """Unix seconds."""
    owned_by: str


# ---------------------------------------------------------------- the whole answer

Finish = Literal[
    "stop", "stop_sequence", "length", "context_length", "tool_calls",
    "content_filter", "refusal", "pause",
]  # fmt: skip
"""Why the model stopped. A format without the finer word uses the coarser one:
``stop_sequence`` is a ``stop``, ``context_length`` a ``length``, ``refusal`` a
``content_filter``; ``pause`` is Anthropic's ``pause_turn``, a ``stop`` elsewhere."""

AnswerPart = Text | Reasoning | ToolCall | Refusal | Audio | Search


class Choice(msgspec.Struct, frozen=True, gc=False):
    """One of the alternatives that were asked for; most providers give one."""

    parts: tuple[AnswerPart, ...]
    finish: Finish
    stop_sequence: str | None = None
    logprobs: msgspec.Raw | None = None
    """OpenAI's ``logprobs`` object."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A whole answer."""

    id: str
    model: str
    """The response model: what the provider says has answered."""
    choices: tuple[Choice, ...]
    usage: Usage | None = None
    created: int | None = None
    """Unix seconds; None where the provider does not say."""
    service_tier: str | None = None
    unsaid: tuple[str, ...] = ()
    """What it has besides and none of this can say, by the provider's names."""


# ---------------------------------------------------------------- the streamed answer
# A stream is: Started, then for each part PartStarted, its deltas, PartEnded, then
# Finished (once a choice), Reported, Ended. Parts may interleave only where `index`
# differs. KeepAlive may stand anywhere, Failed ends everything.

PartKind = Literal["text", "reasoning", "tool_call", "refusal"]


class Started(msgspec.Struct, frozen=True, gc=False):
    """The answer begins."""

    id: str
    model: str
    usage: Usage | None = None
    """What is known of the prompt already."""
    created: int | None = None


class PartStarted(msgspec.Struct, frozen=True, gc=False):
    """A part opens; `id` and `name` belong to tool calls."""

    index: int
    """Counts the parts of one choice, in order of appearance."""
    kind: PartKind
    id: str = ""
    name: str = ""
    encrypted: str | None = None
    """A reasoning part that is whole at once and that only the provider can read."""
    custom: bool = False
    choice: int = 0


class Delta(msgspec.Struct, frozen=True, gc=False):
    """More of a part's text: words, thoughts, or the JSON text of arguments."""

    index: int
    text: str
    choice: int = 0
    logprobs: msgspec.Raw | None = None
    """An array of tokens as in OpenAI's ``logprobs.content``; the text may be empty then,
    since a token can be a part of a character."""


class SignatureDelta(msgspec.Struct, frozen=True, gc=False):
    """The proof of a reasoning part or tool call; it comes once, whole."""

    index: int
    signature: str
    choice: int = 0


class Cited(msgspec.Struct, frozen=True, gc=False):
    """A source of an open part's text."""

    index: int
    citation: Citation
    choice: int = 0


class Searched(msgspec.Struct, frozen=True, gc=False):
    """The provider has searched; it may stand between any two other events."""

    search: Search
    choice: int = 0


class Unsaid(msgspec.Struct, frozen=True, gc=False):
    """Something of the answer that no event can say, by the provider's name for it."""

    what: str


class PartEnded(msgspec.Struct, frozen=True, gc=False):
    """A part is whole."""

    index: int
    choice: int = 0


class Finished(msgspec.Struct, frozen=True, gc=False):
    """A choice is whole."""

    finish: Finish
    stop_sequence: str | None = None
    choice: int = 0


class Reported(msgspec.Struct, frozen=True, gc=False):
    """The usage so far; the last one counts."""

    usage: Usage


class KeepAlive(msgspec.Struct, frozen=True, gc=False):
    """Nothing yet. Silence would let an idle timer downstream cut a slow model off."""


class Failed(msgspec.Struct, frozen=True):
    """The provider gave up in the middle; nothing follows."""

    error: GatewayError


class Ended(msgspec.Struct, frozen=True, gc=False):
    """The stream came to its proper end."""


Event = (
    Started
    | PartStarted
    | Delta
    | SignatureDelta
    | Cited
    | Searched
    | Unsaid
    | PartEnded
    | Finished
    | Reported
    | KeepAlive
    | Failed
    | Ended
)
