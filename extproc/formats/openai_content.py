"""Content that OpenAI's APIs carry as text: data URIs, base64, the arguments of calls.

A data URI is taken apart, since no other format takes one; a URL stays a URL, for the
provider to fetch.
"""

from __future__ import annotations

import re

import msgspec

from extproc import canonical
from extproc.errors import BadRequest
from extproc.formats.base64_text import looks_like_base64

_DATA_URI = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),", re.IGNORECASE)
_HEAD = 512
"""A data URI's media type and parameters stand within its first characters."""

_ARGUMENTS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read_url(url: str, where: str) -> canonical.Inline | canonical.Remote:
    """Read a URL, which may carry its content.

    Raises:
        BadRequest: neither http(s) nor a base64 data URI.
    """
    if url[:5].lower() == "data:":
        return read_data_uri(url, where)
    if not url or url[:1].isspace():
        raise _bad_url(where)
    return canonical.Remote(url)


def read_data_uri(url: str, where: str) -> canonical.Inline:
    """Take a data URI apart.

    Raises:
        BadRequest: it is none, or not of base64.
    """
    match = _DATA_URI.match(url[:_HEAD])
    if match is None or not match[2].lower().endswith(";base64"):
        raise _bad_url(where)
    return canonical.Inline(match[1].lower(), check_base64(url[match.end() :], where))


def check_base64(text: str, where: str) -> str:
    """Return `text` if it looks like base64; it is not decoded, as it only travels.

    Raises:
        BadRequest: its length or one of the characters looked at is not base64's.
    """
    if not looks_like_base64(text):
        raise _bad_url(where)
    return text


def read_arguments(text: str, where: str) -> str:
    """Return the arguments of a call, which are the JSON text of an object.

    Models and clients leave them out for a function without parameters.

    Raises:
        BadRequest: they are something else.
    """
    if not text or text.isspace():
        return "{}"
    try:
        _ARGUMENTS.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError) as exc:
        raise BadRequest(
            f"Invalid '{where}': expected the JSON text of an object: {exc}.",
            param=where,
            code="invalid_value",
        ) from None
    return text


def _bad_url(where: str) -> BadRequest:
    return BadRequest(
        f"Invalid '{where}': expected a valid URL or base64-encoded content, such as "
        "'data:image/png;base64,…'.",
        param=where,
        code="invalid_base64" if where.endswith("data") else "invalid_image_url",
    )
