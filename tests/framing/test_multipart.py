"""One field of a form, found in any split; the rest only passes."""

from __future__ import annotations

import itertools
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import HTTP

import httpx
import pytest
from hypothesis import given, strategies as st

from extproc.errors import BadRequest
from extproc.framing.multipart import (
    MOST_HEADER_BYTES,
    MOST_PARTS,
    FieldFinder,
    boundary_of,
)

FILE = b"\x00\xff\r\n--not-the-one\r\n" * 9


def form(*parts, boundary=b"xyz"):
    """Write parts of (disposition, content), as a client does."""
    lines = [
        b"--" + boundary + b"\r\nContent-Disposition: form-data; " + said
        + b"\r\n\r\n" + content + b"\r\n"
        for said, content in parts
    ]  # fmt: skip
    return b"".join(lines) + b"--" + boundary + b"--\r\n"


MODEL = (b'name="model"', b"whisper-1")
SOUND = (b'name="file"; filename="a.wav"\r\nContent-Type: audio/wav', FILE)
SIZE = (b'name="n"', b"1")


def find(body, *, boundary=b"xyz", pieces=None):
    finder = FieldFinder(boundary, "model")
    for piece in pieces or [body]:
        finder.feed(piece)
    finder.close()
    return finder


def cut(body, points):
    edges = [0, *sorted(points), len(body)]
    return [body[a:b] for a, b in itertools.pairwise(edges)]


@pytest.mark.parametrize(
    "parts", [(MODEL, SOUND), (SOUND, MODEL), (SIZE, MODEL, SOUND), (MODEL,)]
)
@given(data=st.data())
def test_the_field_is_found_in_any_split(parts, data):
    body = form(*parts)
    points = data.draw(st.lists(st.integers(0, len(body)), max_size=6))
    finder = find(body, pieces=cut(body, points))
    start, end = finder.span
    assert finder.value == "whisper-1"
    assert body[start:end] == b"whisper-1"
    assert finder.over


@pytest.mark.parametrize("parts", [(MODEL, SOUND), (SOUND, MODEL)])
def test_the_field_is_found_byte_by_byte(parts):
    body = form(*parts)
    finder = find(body, pieces=[body[i : i + 1] for i in range(len(body))])
    assert body[slice(*finder.span)] == b"whisper-1"


def test_a_form_of_httpx_is_read():
    """The HTTP client of the official SDKs; fields come before files."""
    sent = httpx.Request(
        "POST", "http://x", data={"model": "m"}, files={"file": ("a.wav", FILE)}
    )
    body = sent.read()
    finder = find(body, boundary=boundary_of(sent.headers["content-type"]))
    assert finder.value == "m"


def test_what_a_python_parser_reads_is_what_is_found():
    body = form(SOUND, (b"name=model; x=y", b"m-1"), SIZE)
    head = b"content-type: multipart/form-data; boundary=xyz\r\n\r\n"
    parsed = BytesParser(EmailMessage, policy=HTTP).parsebytes(head + body)
    (part,) = [
        part
        for part in parsed.iter_parts()
        if part["content-disposition"].params["name"] == "model"
    ]
    assert part.get_payload() == find(body).value == "m-1"


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (form(SOUND), None),
        (form((b'name="models"', b"x"), (b'xname="model"', b"y")), None),
        (form((b'name="model"', b"")), ""),
        (b"preamble\r\n" + form(MODEL) + b"epilogue", "whisper-1"),
        (form(MODEL).replace(b"--xyz\r\n", b"--xyz \t\r\n"), "whisper-1"),
        (form((b'name="a"', b"x\r\n--xyzzy\r\n"), MODEL), "whisper-1"),
        (b"--xyz\r\n\r\nno headers\r\n" + form(MODEL), "whisper-1"),
    ],
)
def test_unusual_forms_are_read(body, value):
    assert find(body).value == value
    assert find(body, pieces=[body[i : i + 1] for i in range(len(body))]).value == value


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (form(MODEL, SOUND, MODEL), "more than once"),
        (form((b'name="model"; filename="m"', b"x")), "is a file"),
        (form((b"name*=utf-8''model", b"x")), "RFC 5987"),
        (form((b'name="model"', b"\xff")), "not UTF-8"),
        (form((b'name="model"', b"m" * 2000)), "too long"),
        (form((b'name="model"', b"m\r\n--xyzzy")), "boundary in it"),
        (form((b"x" * MOST_HEADER_BYTES, b"")), "headers of a part are too long"),
        (form(MODEL)[:-6], "before its last boundary"),
        (b"", "before its last boundary"),
        (b'{"model": "m"}', "before its last boundary"),
        (b"--xyz x\r\n", "behind a boundary"),
        (b"--xyz" + b" " * 20_000, "line of a boundary"),
        (form(*[SIZE] * MOST_PARTS, MODEL), "more than 1000 parts"),
        (
            form((b'name="f"', b"\r\n--xyzz" * MOST_PARTS), MODEL),
            "more than 1000 parts",
        ),
    ],
)
def test_a_form_that_cannot_be_trusted_is_refused(body, said):
    for pieces in ([body], [body[i : i + 1] for i in range(len(body))]):
        with pytest.raises(BadRequest, match=said):
            find(body, pieces=pieces)


def test_a_file_of_any_size_is_not_held():
    finder = FieldFinder(b"xyz", "model")
    finder.feed(form(MODEL, SOUND)[:-20])
    for _ in range(100):
        finder.feed(b"\r\n" * 50_000)
        assert len(finder._tail) < 100


@pytest.mark.parametrize(
    ("said", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('multipart/form-data; charset=x; Boundary="a b"', b"a b"),
    ],
)
def test_the_boundary_is_the_content_types(said, boundary):
    assert boundary_of(said) == boundary


@pytest.mark.parametrize(
    "said", ["multipart/form-data", "x; boundary=", "a;boundaryx=1"]
)
def test_a_form_without_a_boundary_is_refused(said):
    with pytest.raises(BadRequest, match="boundary"):
        boundary_of(said)
