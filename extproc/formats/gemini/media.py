"""Pictures, sound and files as Gemini takes them: bytes, or the address of a file.

https://ai.google.dev/gemini-api/docs/file-input-methods. The media type is the client's,
or what the first bytes or the ending of the URL's path show; it is never guessed. Where
nothing shows it the field is left out, and the API looks for itself.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

from extproc import canonical
from extproc.formats.base import Unsupported
from extproc.formats.gemini import wire
from extproc.formats.gemini.models import Abilities

PICTURES = frozenset({
    "image/png", "image/jpeg", "image/webp", "image/heic", "image/heif",
})  # fmt: skip
SOUNDS = frozenset({
    "audio/wav", "audio/mp3", "audio/mpeg", "audio/aiff", "audio/aac", "audio/ogg",
    "audio/flac", "audio/m4a", "audio/mp4", "audio/opus", "audio/pcm", "audio/webm",
})  # fmt: skip

_SAME: Mapping[str, str] = {
    "image/jpg": "image/jpeg", "audio/x-wav": "audio/wav", "audio/wave": "audio/wav",
    "audio/x-aac": "audio/aac", "audio/x-flac": "audio/flac",
    "audio/x-m4a": "audio/m4a", "audio/x-aiff": "audio/aiff",
}  # fmt: skip

_BEGINNINGS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"RIFF....WAVE", re.DOTALL), "audio/wav"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"%PDF-"), "application/pdf"),
)

_ENDINGS: Mapping[str, str] = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg",
    "webp": "image/webp", "heic": "image/heic", "heif": "image/heif",
    "gif": "image/gif", "pdf": "application/pdf", "txt": "text/plain",
    "html": "text/html", "csv": "text/csv", "md": "text/markdown", "xml": "text/xml",
    "mp4": "video/mp4", "mov": "video/mov", "webm": "video/webm",
    "wav": "audio/wav", "mp3": "audio/mp3", "ogg": "audio/ogg", "flac": "audio/flac",
}  # fmt: skip

_ENDING = re.compile(r"[a-z]+://[^?#]*/[^?#/]*\.([A-Za-z0-9]+)(?:[?#]|$)")

FILES_URL = "https://generativelanguage.googleapis.com/v1beta/"
"""Files that were uploaded before are named by their whole URL."""

_OWN_URL = re.compile(
    r"gs://|https://generativelanguage\.googleapis\.com/\w+/files/"
    r"|https://(?:www\.|m\.)?youtube\.com/|https://youtu\.be/"
)


def write_source(
    source: canonical.Source, allowed: frozenset[str], model: Abilities, where: str
) -> wire.Part:
    """Return the part for a picture, sound or file of one of the `allowed` media types.

    A type that ends in ``/`` allows all that begin so.

    Raises:
        Unsupported: the API does not read it, or does not fetch it.
    """
    match source:
        case canonical.Inline(named, encoded):
            return wire.Part(inline_data=_blob(named, encoded, allowed, where))
        case canonical.Remote(url):
            return wire.Part(file_data=_file(url, model, where))
        case canonical.FileReference(id=name):
            if name.startswith("files/"):
                name = FILES_URL + name
            if _OWN_URL.match(name) is None:
                raise Unsupported(
                    f"{name[:100]!r} is not a file of Gemini's API.", param=where
                )
            return wire.Part(file_data=_file(name, model, where))


def _blob(named: str, encoded: str, allowed: frozenset[str], where: str) -> wire.Blob:
    kind = media_type(named, encoded)
    if kind not in allowed and kind.partition("/")[0] + "/" not in allowed:
        raise Unsupported(f"Gemini's API does not read {kind!r} here.", param=where)
    return wire.Blob(kind, encoded)


def media_type(named: str, encoded: str) -> str:
    """Return the type as the client named it, or as the bytes show it; may be empty."""
    named = named.partition(";")[0].strip().lower()
    if named:
        return _SAME.get(named, named)
    try:
        head = base64.b64decode(encoded[:24])
    except (binascii.Error, ValueError):
        return ""
    return next((kind for begins, kind in _BEGINNINGS if begins.match(head)), "")


def _file(url: str, model: Abilities, where: str) -> wire.FileData:
    if _OWN_URL.match(url) is None:
        if not url.startswith(("https://", "http://")):
            raise Unsupported("Gemini's API fetches http and https URLs.", param=where)
        if not model.urls:
            raise Unsupported(
                "This Gemini model fetches no URLs: send the bytes.", param=where
            )
    ending = _ENDING.match(url)
    return wire.FileData(url, _ENDINGS.get(ending[1].lower()) if ending else None)
