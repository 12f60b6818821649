"""Canonical parts as Converse's content blocks.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ContentBlock.html. The
rules, where the two differ:

- Bytes go inline, objects of S3 by their ``s3://`` address. Bedrock fetches no other URL
  and has no uploaded files: both are refused.
- A document has a name, in an alphabet of its own and no name twice; a file's name is
  brought into it, and what that loses (beyond the extension, which the format tells) is
  reported.
- A part that is empty says nothing, and the API refuses it: it is left out. Blank text is
  left out and reported. A tool that gave nothing gave ``{}``: a result must hold something.
- Reasoning without its signature is left out and reported, and so is sealed reasoning that
  is not base64: another provider has sealed it.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats import proofs
from extproc.formats.base import Unsupported
from extproc.formats.citing import refuse_citing
from extproc.formats.converse import wire
from extproc.formats.converse.citations import Citing, FoundText, SearchResult

Drop = Callable[[str], None]

IMAGE_FORMATS: Mapping[str, str] = {
    "image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif",
    "image/webp": "webp",
}  # fmt: skip

DOCUMENT_FORMATS: Mapping[str, str] = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/markdown": "md",
    "text/plain": "txt",
}

AUDIO_FORMATS: Mapping[str, str] = {
    "audio/mpeg": "mp3", "audio/mp3": "mp3", "audio/opus": "opus", "audio/wav": "wav",
    "audio/x-wav": "wav", "audio/wave": "wav", "audio/aac": "aac", "audio/flac": "flac",
    "audio/mp4": "mp4", "audio/ogg": "ogg", "audio/m4a": "m4a", "audio/x-m4a": "m4a",
    "audio/pcm": "pcm", "audio/pcm16": "pcm", "audio/webm": "webm",
}  # fmt: skip

_EXTENSIONS: Mapping[str, str] = {"jpg": "jpeg", "htm": "html", "markdown": "md"}

_MAGIC = {
    "iVBORw0KGgo": "image/png", "/9j/": "image/jpeg", "R0lGOD": "image/gif",
    "UklGR": "image/webp", "JVBERi": "application/pdf",
}  # fmt: skip
"""How base64 of the types that we know begins, for clients that do not name them."""

_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9()\[\] -]+|\s{2,}")
_NOT_IN_ID = re.compile(r"[^a-zA-Z0-9_.:-]")
_S3 = re.compile(r"s3://[a-z0-9][.\-a-z0-9]{1,61}[a-z0-9](?:/.*)?", re.DOTALL)
TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")

MOST_NAME = 200
MOST_ID = 64

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclasses.dataclass(slots=True)
class Draft:
    """What the blocks of one request share."""

    drop: Drop
    cites: bool = True
    """The model cites documents."""
    names: set[str] = dataclasses.field(default_factory=set)
    """The documents' names so far."""


def write_part(
    role: str, part: canonical.Part, where: str, draft: Draft
) -> wire.Block | None:
    """Return the block for `part`; None when it says nothing.

    Raises:
        Unsupported: Converse cannot say it, or not from that role.
        BadRequest: it is broken in itself.
    """
    write = _WRITERS.get((role, type(part)))
    if write is None:
        kind = type(part).__name__.lower()
        raise Unsupported(f"Bedrock takes no {kind} from the {role}.", param=where)
    return write(part, where, draft)


def _text(part: canonical.Text, where: str, draft: Draft) -> wire.Block | None:
    if not part.text:
        return None
    if part.text.isspace():
        draft.drop(where)
        return None
    if part.citations:
        draft.drop(f"{where}.citations")
    return wire.Block(text=part.text)


def _refusal(part: canonical.Refusal, where: str, draft: Draft) -> wire.Block | None:
    return _text(canonical.Text(part.text), where, draft)


def _image(part: canonical.Image, where: str, draft: Draft) -> wire.Block:
    if part.detail not in {None, "auto"}:
        draft.drop(f"{where}.detail")
    named, source = _source(part.source, where)
    if named == "application/pdf":
        return _document(canonical.Document(part.source), where, draft)
    form = IMAGE_FORMATS.get(named)
    if form is None:
        raise Unsupported(
            f"Bedrock reads JPEG, PNG, GIF and WebP, not {named!r}.", param=where
        )
    return wire.Block(image=wire.Media(form, source))


def _found(part: canonical.Document, found: canonical.Result) -> wire.Block:
    texts = [FoundText(text) for text in found.texts if text]
    cites = Citing(True) if part.citations else None
    said = SearchResult(found.source, found.title, texts, cites)
    return wire.Block(search_result=said)


def _document(part: canonical.Document, where: str, draft: Draft) -> wire.Block:
    if part.result is not None:
        return _found(part, part.result)
    named, source = _source(part.source, where, part.filename or "")
    form = DOCUMENT_FORMATS.get(named)
    if form is None and named.startswith("text/"):
        form = "txt"
    if form is None:
        raise Unsupported(
            f"Bedrock reads {', '.join(DOCUMENT_FORMATS.values())}, not {named!r}.",
            param=where,
        )
    name = _document_name(part.filename, where, draft)
    if not draft.cites:
        refuse_citing(part, where)
    cites = Citing(True) if part.citations else None
    document = wire.Document(form, name, source, part.context or None, cites)
    return wire.Block(document=document)


def _audio(part: canonical.Audio, where: str, _: Draft) -> wire.Block:
    named, source = _source(part.source, where)
    form = AUDIO_FORMATS.get(named)
    if form is None:
        raise Unsupported(f"Bedrock does not hear {named!r}.", param=where)
    return wire.Block(audio=wire.Media(form, source))


def _source(
    source: canonical.Source, where: str, filename: str = ""
) -> tuple[str, wire.Source]:
    """Return the media type, named or shown by the bytes or the name, and the source."""
    match source:
        case canonical.Inline(named, encoded):
            if not encoded:
                raise BadRequest("There is nothing in it.", param=where)
            kind = named.partition(";")[0].strip().lower()
            kind = kind or _by_magic(encoded) or _by_extension(filename)
            return kind, wire.Source(bytes=encoded)
        case canonical.Remote(url) if _S3.fullmatch(url) and len(url) <= 1024:
            return _by_extension(url), wire.Source(s3_location=wire.S3Location(url))
        case canonical.Remote():
            raise Unsupported(
                "Bedrock fetches no URLs but s3://…: send the bytes themselves.",
                param=where,
            )
        case canonical.FileReference():
            raise Unsupported(
                "Bedrock has no uploaded files: send the bytes themselves.", param=where
            )


def _by_magic(encoded: str) -> str:
    return next((kind for head, kind in _MAGIC.items() if encoded.startswith(head)), "")


def _by_extension(name: str) -> str:
    extension = name.rpartition(".")[2].lower()
    wanted = _EXTENSIONS.get(extension, extension)
    for formats in (IMAGE_FORMATS, DOCUMENT_FORMATS, AUDIO_FORMATS):
        for kind, form in formats.items():
            if form == wanted:
                return kind
    return ""


def _document_name(filename: str | None, where: str, draft: Draft) -> str:
    stem = filename or ""
    if _by_extension(stem):
        stem = stem.rpartition(".")[0]
    name = _NOT_IN_NAME.sub(" ", stem).strip()
    name = re.sub(r"\s+", " ", name)[: MOST_NAME - 8].strip() or "document"
    unique, n = name, 1
    while unique in draft.names:
        n += 1
        unique = f"{name} ({n})"
    draft.names.add(unique)
    if filename and unique != stem:
        draft.drop(f"{where}.filename")
    return unique


def _reasoning(
    part: canonical.Reasoning, where: str, draft: Draft
) -> wire.Block | None:
    if proofs.is_marked(part.encrypted) or proofs.is_marked(part.signature):
        draft.drop(where)
        return None
    if part.encrypted is not None and _is_base64(part.encrypted):
        return wire.Block(
            reasoning_content=wire.Reasoning(redacted_content=part.encrypted)
        )
    if part.signature and part.encrypted is None:
        said = wire.ReasoningText(part.text, part.signature)
        return wire.Block(reasoning_content=wire.Reasoning(said))
    draft.drop(where)
    return None


def _search(part: canonical.Search, where: str, draft: Draft) -> None:
    del part  # nobody else's search is known here
    draft.drop(where)


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False


def _tool_call(part: canonical.ToolCall, where: str, draft: Draft) -> wire.Block:
    if part.custom:
        raise Unsupported("Bedrock has no custom tools.", param=where)
    if part.signature is not None:
        draft.drop(f"{where}.signature")
    if TOOL_NAME.fullmatch(part.name) is None:
        raise bad_name(part.name, f"{where}.function.name")
    arguments = part.arguments.strip() or "{}"
    try:
        wire.decode(_OBJECT, arguments.encode())
    except msgspec.MsgspecError as exc:
        raise BadRequest(
            f"The arguments of a tool call must be a JSON object: {exc}.",
            param=f"{where}.function.arguments",
        ) from exc
    call = wire.ToolUse(call_id(part.id), part.name, msgspec.Raw(arguments))
    return wire.Block(tool_use=call)


def _tool_result(part: canonical.ToolResult, where: str, draft: Draft) -> wire.Block:
    content: list[wire.ResultBlock] = []
    for j, inner in enumerate(part.parts):
        place = canonical.result_place(where, j)
        block = write_part("user", inner, place, draft)
        if block is not None:
            content.append(
                wire.ResultBlock(
                    block.text, block.image, block.document, block.search_result
                )
            )
    return wire.Block(
        tool_result=wire.ToolResult(
            call_id(part.call_id),
            content or [wire.ResultBlock(json={})],
            "error" if part.is_error else None,
        )
    )


_WRITERS: Mapping[tuple[str, type], Callable[[Any, str, Draft], wire.Block | None]] = {
    ("system", canonical.Text): _text,
    ("user", canonical.Text): _text,
    ("user", canonical.Image): _image,
    ("user", canonical.Document): _document,
    ("user", canonical.Audio): _audio,
    ("user", canonical.ToolResult): _tool_result,
    ("assistant", canonical.Text): _text,
    ("assistant", canonical.Refusal): _refusal,
    ("assistant", canonical.Reasoning): _reasoning,
    ("assistant", canonical.ToolCall): _tool_call,
    ("assistant", canonical.Search): _search,
}
"""Who may say what, and how it is written; what is missing is refused by name."""


def cache_point(cache: canonical.CacheControl | None) -> wire.CachePoint | None:
    """Return the breakpoint to stand behind a part, tool or system text."""
    return None if cache is None else wire.CachePoint("default", cache.ttl)


def bad_name(name: str, where: str) -> Unsupported:
    """Say that a tool's name cannot be kept: the answer could not be told the old one."""
    return Unsupported(
        f"Bedrock's tools have names of 1 to 64 letters, digits, _ and -, not {name!r}.",
        param=where,
    )


def call_id(given: str) -> str:
    """Return `given` in the alphabet and length that Bedrock allows, the same each time.

    Other providers' ids, such as ``functions/get``, come back to us in histories.
    """
    made = _NOT_IN_ID.sub(lambda found: f"_{ord(found[0]):x}", given) or "_"
    if len(made) <= MOST_ID:
        return made
    digest = hashlib.sha256(given.encode()).hexdigest()[:16]
    return f"{made[: MOST_ID - 17]}-{digest}"
