"""Content parts of a request's messages: text, pictures, sound, files, thoughts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats.openai_caching import read_breakpoint
from extproc.formats.openai_chat import wire
from extproc.formats.openai_content import check_base64, read_data_uri, read_url

_AUDIO_TYPES = {"mp3": "audio/mpeg"}
"""The media types of formats that are not called so."""

SaidPart = (
    wire.TextPart
    | wire.ImagePart
    | wire.AudioPart
    | wire.FilePart
    | wire.RefusalPart
    | wire.ThinkingPart
    | wire.RedactedThinkingPart
)


def read_parts(
    content: str | Sequence[SaidPart], where: str
) -> tuple[canonical.Part, ...]:
    """Return the parts of the message at `where`; a string is one."""
    if isinstance(content, str):
        return (canonical.Text(content),)
    return tuple(
        [read_part(part, f"{where}.content[{i}]") for i, part in enumerate(content)]
    )


def read_part(said: SaidPart, where: str) -> canonical.Part:
    """Read the part at `where`.

    Raises:
        BadRequest: a data URI that is none, or a file without content.
    """
    part: canonical.Part
    match said:
        case wire.TextPart():
            part = canonical.Text(said.text, cache=_cache(said))
        case wire.ImagePart(image_url=image):
            source = read_url(image.url, f"{where}.image_url.url")
            part = canonical.Image(source, image.detail, cache=_cache(said))
        case wire.AudioPart(input_audio=audio):
            kind = _AUDIO_TYPES.get(audio.format, f"audio/{audio.format}")
            sound = check_base64(audio.data, f"{where}.input_audio.data")
            part = canonical.Audio(canonical.Inline(kind, sound), _cache(said))
        case wire.FilePart(file=file):
            content = _read_file(file, f"{where}.file")
            part = canonical.Document(content, file.filename, cache=_cache(said))
        case wire.RefusalPart():
            part = canonical.Refusal(said.refusal)
        case wire.ThinkingPart():
            part = canonical.Reasoning(said.thinking, said.signature or None)
        case wire.RedactedThinkingPart():
            part = canonical.Reasoning(encrypted=said.data)
    return part


def with_cache(
    parts: tuple[canonical.Part, ...], said: wire.CacheControl
) -> tuple[canonical.Part, ...]:
    """Set a message's own breakpoint behind the last of its parts that can carry one."""
    for i in reversed(range(len(parts))):
        part = parts[i]
        if not isinstance(part, canonical.Refusal | canonical.Reasoning):
            marked = msgspec.structs.replace(
                part, cache=canonical.CacheControl(said.ttl)
            )
            return (*parts[:i], marked, *parts[i + 1 :])
    return parts


def _read_file(said: wire.File, where: str) -> canonical.Source:
    if said.file_data is not None:
        where = f"{where}.file_data"
        if said.file_data[:5].lower() == "data:":
            return read_data_uri(said.file_data, where)
        return canonical.Inline("", check_base64(said.file_data, where))
    if said.file_id is not None:
        return canonical.FileReference(said.file_id)
    raise BadRequest(
        f"Missing required parameter: '{where}.file_data' or '{where}.file_id'.",
        param=where,
        code="missing_required_parameter",
    )


def _cache(said: wire.Part) -> canonical.CacheControl | None:
    if said.cache_control is not None:
        return canonical.CacheControl(said.cache_control.ttl)
    return read_breakpoint(said.prompt_cache_breakpoint)
