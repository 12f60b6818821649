"""Content parts of messages and of tool outputs: text, pictures, files, sound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats.openai_annotations import read_annotations
from extproc.formats.openai_caching import read_breakpoint
from extproc.formats.openai_content import check_base64, read_data_uri, read_url
from extproc.formats.openai_responses import wire
from extproc.formats.openai_validation import missing

_AUDIO_TYPES = {"mp3": "audio/mpeg"}
"""The media types of formats that are not called so."""


def read_parts(
    content: str | Sequence[wire.Part], where: str
) -> Iterator[canonical.Part]:
    """Yield the parts of the content at `where`; a string is one."""
    if isinstance(content, str):
        yield canonical.Text(content)
        return
    for i, part in enumerate(content):
        yield read_part(part, f"{where}[{i}]")


def read_part(said: wire.Part, where: str) -> canonical.Part:
    """Read the part at `where`.

    Raises:
        BadRequest: a data URI that is none, or a picture or file without content.
    """
    match said:
        case wire.InputText(text, breakpoint_):
            return canonical.Text(text, read_breakpoint(breakpoint_))
        case wire.OutputText() | wire.PlainText():
            return canonical.Text(said.text, citations=_cited(said))
        case wire.RefusalPart(text):
            return canonical.Refusal(text)
        case wire.InputImage():
            return canonical.Image(
                _read_image(said, where),
                said.detail,
                read_breakpoint(said.prompt_cache_breakpoint),
            )
        case wire.InputFile():
            return canonical.Document(
                _read_file(said, where),
                said.filename,
                read_breakpoint(said.prompt_cache_breakpoint),
            )
        case wire.InputAudio(sound):
            kind = _AUDIO_TYPES.get(sound.format, f"audio/{sound.format}")
            encoded = check_base64(sound.data, f"{where}.input_audio.data")
            return canonical.Audio(canonical.Inline(kind, encoded))


def _read_image(said: wire.InputImage, where: str) -> canonical.Source:
    if said.image_url is not None:
        return read_url(said.image_url, f"{where}.image_url")
    if said.file_id is not None:
        return canonical.FileReference(said.file_id)
    raise missing(f"{where}.image_url")


def _read_file(said: wire.InputFile, where: str) -> canonical.Source:
    if said.file_data is not None:
        where = f"{where}.file_data"
        if said.file_data[:5].lower() == "data:":
            return read_data_uri(said.file_data, where)
        return canonical.Inline("", check_base64(said.file_data, where))
    if said.file_id is not None:
        return canonical.FileReference(said.file_id)
    if said.file_url is not None:
        source = read_url(said.file_url, f"{where}.file_url")
        if isinstance(source, canonical.Remote):
            return source
        raise BadRequest(
            f"Invalid '{where}.file_url': expected a URL; content belongs in "
            "'file_data'.",
            param=f"{where}.file_url",
            code="invalid_value",
        )
    raise missing(f"{where}.file_data")


def _cited(
    said: wire.OutputText | wire.PlainText,
) -> tuple[canonical.Citation, ...]:
    return read_annotations(said.annotations) if type(said) is wire.OutputText else ()
