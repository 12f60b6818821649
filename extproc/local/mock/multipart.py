"""Forms (RFC 7578) read by Python's own parser of MIME, which knows nothing of ours."""

from __future__ import annotations

from dataclasses import dataclass
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP


class NotAForm(Exception):
    """The body is not what its content-type says."""


@dataclass(frozen=True, slots=True)
class Part:
    """A field, or a file if it has a name."""

    content: bytes
    filename: str | None = None


def read_form(content_type: str, body: bytes) -> dict[str, list[Part]]:
    """Return the parts by their names.

    Raises:
        NotAForm: it cannot be read, or its last boundary is missing.
    """
    head = b"content-type: " + content_type.encode("latin-1") + b"\r\n\r\n"
    parsed = BytesParser(EmailMessage, policy=HTTP).parsebytes(head + body)
    if not parsed.is_multipart() or parsed.defects:
        raise NotAForm(
            ", ".join(type(one).__name__ for one in parsed.defects) or "empty"
        )
    out: dict[str, list[Part]] = {}
    for part in parsed.iter_parts():
        name = part.get_param("name", header="content-disposition")
        if not isinstance(name, str):
            raise NotAForm("a part has no name")
        content = part.get_payload(decode=True)
        if not isinstance(content, bytes):
            raise NotAForm("a part has parts")
        out.setdefault(name, []).append(Part(content, part.get_filename()))
    return out
