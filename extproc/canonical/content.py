"""What messages are made of: parts, and where their bytes come from."""

from __future__ import annotations

from typing import Literal

import msgspec


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
    result: bool = False
    """Search results of the request are counted, and `url` is what the client said."""
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


class Result(msgspec.Struct, frozen=True, gc=False):
    """What a search of the client's own has found."""

    source: str
    """A URL, or whatever the client calls it."""
    title: str
    texts: tuple[str, ...]
    """The pieces that may be cited."""


class Document(msgspec.Struct, frozen=True, gc=False):
    """A file to be read: a PDF, or plain text when the media type says so."""

    source: Source
    filename: str | None = None
    cache: CacheControl | None = None
    citations: bool = False
    """The answer is to cite it."""
    context: str | None = None
    """What is to be known of it, and not cited."""
    result: Result | None = None
    """What the text is, if it is no file; see `formats.citing`."""


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


def result_place(where: str, j: int) -> str:
    """Return how the client would name part `j` of the tool result at `where`.

    Responses' items are ``input[i]``, and what a tool gave is their ``output``.
    """
    inner = "output" if where.startswith("input[") else "content"
    return f"{where}.{inner}[{j}]"


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
        part = self.parts[i]
        if isinstance(part, Reasoning):
            return f"{self.where}.reasoning"
        if isinstance(part, ToolCall):
            calls = [one for one in self.parts[:i] if isinstance(one, ToolCall)]
            return f"{self.where}.tool_calls[{len(calls)}]"
        if self.role == "tool":
            return self.where
        if i:
            others = ToolCall | Reasoning
            i -= sum([isinstance(one, others) for one in self.parts[:i]])
        return f"{self.where}.content[{i}]"
