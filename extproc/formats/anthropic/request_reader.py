"""A client's ``POST /v1/messages`` in the canonical form.

https://platform.claude.com/docs/en/api/messages. One message stays one message, tool
results and all, so that places keep the client's own numbers.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats.anthropic import client_wire as wire
from extproc.formats.anthropic.citations import (
    FETCH,
    SEARCH,
    read_citations,
    read_search,
)
from extproc.formats.anthropic.validation import decode, invalid, spelling
from extproc.formats.anthropic.wire import Named, present
from extproc.formats.base import Members, Unsupported
from extproc.formats.base64_text import looks_like_base64
from extproc.formats.web_tools import is_web_tool, read_web_tool

_REQUEST = msgspec.json.Decoder(wire.Request)
_BLOCK: msgspec.json.Decoder[wire.Block] = msgspec.json.Decoder(wire.Block)
_INPUT = msgspec.json.Decoder(wire.ToolInput)
_TOOL = msgspec.json.Decoder(wire.Tool)
_NAMED = msgspec.json.Decoder(Named)

_BLOCKS = frozenset({
    "text", "image", "document", "search_result", "thinking", "redacted_thinking", "tool_use",
    "tool_result", "server_tool_use", "web_search_tool_result", "web_fetch_tool_result",
})  # fmt: skip

NAMES: Mapping[str, str] = {
    "max_output_tokens": "max_tokens",
    "stop": "stop_sequences",
    "end_user": "metadata.user_id",
    "output_format": "output_config.format",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "caching": "cache_control",
}
"""Ours to the canonical names, but for thinking, which has two."""

LEFT_OUT = frozenset({"context_management", "diagnostics", "speed"})
"""Extras for Anthropic's own servers, which change no answer's meaning."""

_SEARCH = "tool_search_tool_"
"""What the types of Anthropic's searches for tools begin with. Who is given all tools at
once, the deferred among them, needs no search."""

_CHOICES: Mapping[str, canonical.ToolChoice] = {
    "auto": canonical.ToolChoice("auto"),
    "any": canonical.ToolChoice("required"),
    "none": canonical.ToolChoice("none"),
}


def read_request(body: bytes, members: Members) -> canonical.Request:
    """Read a request; see `ClientFormat.read_request`."""
    said = decode(_REQUEST, body)
    if not said.messages:
        raise BadRequest("messages: there must be at least one.", param="messages")
    choice = said.tool_choice
    extras = {
        name: raw
        for name, raw in members.items()
        if name not in wire.WORDS and present(raw) is not None
    }
    left_out = [name for name in extras if name in LEFT_OUT]
    tools = tuple(_read_tools(said.tools or (), left_out))
    if said.thinking is not None and said.thinking.type == "between_tools":
        left_out.append("thinking")  # others think before a call, or not at all
    return canonical.Request(
        model=said.model,
        messages=(*_read_system(said.system), *_read_messages(said.messages)),
        tools=tools,
        tool_choice=_read_choice(choice),
        parallel_tool_calls=(
            False if choice and choice.disable_parallel_tool_use else None
        ),
        max_output_tokens=said.max_tokens,
        temperature=said.temperature,
        top_p=said.top_p,
        top_k=said.top_k,
        stop=tuple(said.stop_sequences or ()),
        output_format=_read_format(said),
        thinking=_read_thinking(said.thinking, said.output_config),
        end_user=said.metadata.user_id if said.metadata else None,
        service_tier="default"
        if said.service_tier == "standard_only"
        else said.service_tier,
        caching=_read_caching(said.cache_control),
        stream=bool(said.stream),
        include_usage=True,
        has_results=body.find(b'"search_result"') >= 0,
        left_out=tuple(left_out),
        extras={name: raw for name, raw in extras.items() if name not in LEFT_OUT},
        names={
            **NAMES,
            "thinking": "thinking" if said.thinking else "output_config.effort",
            **({"output_format": "output_format"} if said.output_format else {}),
        },
    )


# ---------------------------------------------------------------- messages


def _read_system(
    said: str | list[wire.TextBlock] | None,
) -> Iterator[canonical.Message]:
    if isinstance(said, str):
        yield canonical.Message("system", (canonical.Text(said),), where="system")
    elif said:
        parts = tuple(
            canonical.Text(block.text, _cache(block.cache_control)) for block in said
        )
        places = tuple(f"system[{i}]" for i in range(len(parts)))
        yield canonical.Message("system", parts, where="system", places=places)


def _read_messages(said: list[wire.Message]) -> Iterator[canonical.Message]:
    for i, message in enumerate(said):
        where = f"messages[{i}]"
        parts = tuple(_read_content(message.content, f"{where}.content"))
        places: tuple[str, ...] = ()
        if message.role == "assistant":
            places = tuple(f"{where}.content[{j}]" for j in range(len(parts)))
        yield canonical.Message(message.role, parts, where=where, places=places)


def _read_content(
    said: str | list[msgspec.Raw], where: str
) -> Iterator[canonical.Part]:
    if isinstance(said, str):
        yield canonical.Text(said)
        return
    for j, raw in enumerate(said):
        yield _read_block(raw, f"{where}[{j}]")


def _read_cited(said: msgspec.Raw, where: str) -> tuple[canonical.Citation, ...]:
    try:
        return read_citations(present(said))
    except msgspec.MsgspecError as exc:
        raise invalid(str(exc), f"{where}.citations") from None


def _read_block(raw: msgspec.Raw, where: str) -> canonical.Part:
    block = _decode_block(raw, where)
    match block:
        case wire.TextBlock(text, cache, citations):
            return canonical.Text(text, _cache(cache), _read_cited(citations, where))
        case wire.ImageBlock(source, cache):
            return canonical.Image(
                _read_source(source, f"{where}.source"), cache=_cache(cache)
            )
        case wire.DocumentBlock(source, title, context, citing, cache):
            return canonical.Document(
                _read_source(source, f"{where}.source"),
                title,
                _cache(cache),
                citing is not None and citing.enabled,
                context,
            )
        case wire.SearchResultBlock():
            return _read_found(block)
        case wire.ToolResultBlock(call, content, is_error, cache):
            parts = _read_result(content, where)
            return canonical.ToolResult(call, parts, is_error, _cache(cache))
        case _:
            return _read_assistants(block, raw, where)


def _read_found(block: wire.SearchResultBlock) -> canonical.Document:
    """Read a search result; a breakpoint on one of its texts is one behind it."""
    texts = tuple(one.text for one in block.content)
    marks = [one.cache_control for one in block.content if one.cache_control]
    encoded = base64.b64encode("\n".join(texts).encode()).decode()
    return canonical.Document(
        canonical.Inline("text/plain", encoded),
        block.title,
        _cache(block.cache_control or (marks[-1] if marks else None)),
        block.citations is not None and block.citations.enabled,
        result=canonical.Result(block.source, block.title, texts),
    )


def _decode_block(raw: msgspec.Raw, where: str) -> wire.Block:
    try:
        return _BLOCK.decode(raw)
    except (msgspec.ValidationError, UnicodeDecodeError):
        kind = decode(_NAMED, raw, where).type
        if kind in _BLOCKS:
            return decode(_BLOCK, raw, where)
        raise Unsupported(
            f"{where}: only Anthropic's own API reads blocks of type {kind!r}.",
            param=where,
        ) from None


def _read_assistants(
    block: (
        wire.ThinkingBlock
        | wire.RedactedThinkingBlock
        | wire.ToolUseBlock
        | wire.ServerToolUseBlock
        | wire.SearchResultsBlock
        | wire.FetchedBlock
    ),
    raw: msgspec.Raw,
    where: str,
) -> canonical.Part:
    match block:
        case wire.ThinkingBlock(thinking, signature):
            return canonical.Reasoning(thinking, signature or None)
        case wire.RedactedThinkingBlock(sealed):
            return canonical.Reasoning(encrypted=sealed)
        case wire.ServerToolUseBlock(call, name, said):
            return read_search(call, name, bytes(said), b"")
        case wire.SearchResultsBlock(call, found):
            return read_search(call, SEARCH, b"", bytes(found))
        case wire.FetchedBlock(call, found):
            return read_search(call, FETCH, b"", bytes(found))
        case wire.ToolUseBlock(call, name, _, cache):
            arguments = spelling(_INPUT.decode(raw).input, f"{where}.input")
            return canonical.ToolCall(call, name, arguments, cache=_cache(cache))


def _read_result(
    said: str | list[msgspec.Raw] | None, where: str
) -> tuple[canonical.Text | canonical.Image | canonical.Document, ...]:
    parts = []
    for k, part in enumerate(_read_content(said or [], f"{where}.content")):
        if not isinstance(part, canonical.Text | canonical.Image | canonical.Document):
            raise BadRequest(
                "A tool result has text, images and documents only.",
                param=f"{where}.content[{k}]",
            )
        parts.append(part)
    return tuple(parts)


def _read_source(
    said: wire.Base64Source | wire.PlainTextSource | wire.UrlSource | wire.FileSource,
    where: str,
) -> canonical.Source:
    match said:
        case wire.Base64Source(media_type, encoded):
            if not looks_like_base64(encoded):
                place = f"{where}.base64.data"
                raise BadRequest(f"{place}: Invalid base64 data", param=place)
            return canonical.Inline(media_type, encoded)
        case wire.PlainTextSource(words):
            encoded = base64.b64encode(words.encode()).decode()
            return canonical.Inline("text/plain", encoded)
        case wire.UrlSource(url):
            return canonical.Remote(url)
        case wire.FileSource(file_id):
            return canonical.FileReference(file_id)


def _read_caching(said: wire.CacheControl | None) -> canonical.Caching | None:
    return None if said is None else canonical.Caching(automatic=True, ttl=said.ttl)


def _cache(said: wire.CacheControl | None) -> canonical.CacheControl | None:
    return None if said is None else canonical.CacheControl(said.ttl)


# ---------------------------------------------------------------- tools and shapes


def _read_tools(
    said: Sequence[msgspec.Raw], left_out: list[str]
) -> Iterator[canonical.AnyTool]:
    """Yield the tools; what need not be said of them goes to `left_out`."""
    for i, raw in enumerate(said):
        where = f"tools[{i}]"
        kind = decode(_NAMED, raw, where).type
        if kind.startswith(_SEARCH):
            left_out.append(where)
            continue
        if is_web_tool(kind):
            yield read_web_tool(kind, raw, where, left_out.append)
            continue
        if kind not in {"", "custom"}:
            yield canonical.BuiltinTool(kind, raw)
            continue
        tool = decode(_TOOL, raw, where)
        spelling(tool.input_schema, f"{where}.input_schema")
        if tool.defer_loading:
            left_out.append(f"{where}.defer_loading")
        yield canonical.Tool(
            tool.name,
            tool.description,
            tool.input_schema,
            tool.strict,
            _cache(tool.cache_control),
        )


def _read_choice(said: wire.ToolChoice | None) -> canonical.ToolChoice | None:
    if said is None:
        return None
    if said.type != "tool":
        return _CHOICES[said.type]
    if said.name is None:
        raise BadRequest("tool_choice.name: say which tool.", param="tool_choice.name")
    return canonical.ToolChoice("named", (said.name,))


def _read_format(said: wire.Request) -> canonical.OutputFormat | None:
    config = said.output_config
    shape = (config.format if config else None) or said.output_format
    if shape is None:
        return None
    # Anthropic's models keep to the schema; there is no other way to ask.
    return canonical.OutputFormat("json_schema", schema=shape.schema, strict=True)


def _read_thinking(
    said: wire.Thinking | None, config: wire.OutputConfig | None
) -> canonical.Thinking | None:
    effort = config.effort if config else None
    if said is None:
        return None if effort is None else canonical.Thinking(effort)
    return canonical.Thinking(
        effort,
        said.budget_tokens,
        enabled=said.type in {"enabled", "adaptive"},
        adaptive=said.type == "adaptive",
        display=said.display,
    )
