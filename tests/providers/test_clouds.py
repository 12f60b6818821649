"""Models in a cloud's house: what is put around their makers' own requests."""

from __future__ import annotations

import msgspec
import pytest

from extproc.formats import anthropic
from extproc.providers import CLOUDS
from extproc.providers.bedrock_anthropic import BETAS, MESSAGES as ON_BEDROCK, flags
from extproc.providers.vertex_anthropic import COUNT, MESSAGES as ON_VERTEX

SAID = {
    "model": msgspec.Raw(b'"claude"'),
    "stream": msgspec.Raw(b"true"),
    "max_tokens": msgspec.Raw(b"9"),
    "messages": msgspec.Raw(b'[ {"role":"user","content":"\\u00e9"} ]'),
}


def wrapped(form, members=SAID, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    rendered = form.wrap(members, named)
    return msgspec.json.decode(rendered.body, type=dict[str, msgspec.Raw]), rendered


def test_bedrock_takes_model_and_streaming_from_the_path():
    body, rendered = wrapped(ON_BEDROCK)
    assert set(body) == {"anthropic_version", "max_tokens", "messages"}
    assert bytes(body["anthropic_version"]) == b'"bedrock-2023-05-31"'
    assert rendered.dropped == ()


def test_vertex_takes_the_model_from_the_path():
    body, _ = wrapped(ON_VERTEX)
    assert set(body) == {"anthropic_version", "stream", "max_tokens", "messages"}
    assert bytes(body["anthropic_version"]) == b'"vertex-2023-10-16"'


def test_vertex_counts_for_the_model_in_the_body():
    body, _ = wrapped(COUNT)
    assert {"model", "anthropic_version"} <= set(body)


@pytest.mark.parametrize("form", [ON_BEDROCK, ON_VERTEX])
def test_what_the_client_wrote_is_kept_to_the_byte(form):
    body, _ = wrapped(form)
    assert bytes(body["messages"]) == bytes(SAID["messages"])


@pytest.mark.parametrize("form", [ON_BEDROCK, ON_VERTEX, COUNT])
def test_a_newer_version_has_one_name_everywhere(form):
    body, _ = wrapped(form, anthropic_version="2026-10-21")
    assert bytes(body["anthropic_version"]) == b'"2026-10-21"'


def test_bedrock_gets_the_flags_that_it_takes_and_the_client_hears_of_the_rest():
    header = "pdfs-2024-09-25, files-api-2025-04-14,,advanced-tool-use-2025-11-20"
    body, rendered = wrapped(ON_BEDROCK, anthropic_beta=header)
    assert msgspec.json.decode(body["anthropic_beta"]) == [
        "pdfs-2024-09-25",
        "tool-search-tool-2025-10-19",
    ]
    assert rendered.dropped == ("anthropic-beta.files-api-2025-04-14",)


def test_a_flag_is_told_once():
    both = "advanced-tool-use-2025-11-20,tool-search-tool-2025-10-19"
    body, _ = wrapped(ON_BEDROCK, anthropic_beta=f"{both},{both}")
    told = msgspec.json.decode(body["anthropic_beta"])
    assert told == ["tool-search-tool-2025-10-19"]


def test_every_flag_leads_to_one_that_is_taken():
    assert {BETAS[name] for name in BETAS.values()} == set(BETAS.values())
    assert list(flags(" a ,b,")) == ["a", "b"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (
            b'{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}',
            429,
            "slow",
        ),
        (b'{"error":{"code":429,"message":"quota","status":"X"}}', 429, "quota"),
        (b'[{"error":{"code":404,"message":"no model"}}]', 404, "no model"),
        (b"<html>", 503, "503"),
        (b'{"type":"error","error":{"type":"authentication_error","message":"k"}}',
         401, "gateway's account"),
    ],
)  # fmt: skip
def test_vertex_errors_are_anthropics_or_googles(body, status, words):
    assert words in str(ON_VERTEX.read_error(status, body))


def test_bedrocks_errors_are_its_own():
    error = ON_BEDROCK.read_error(400, b'{"message":"invalid beta flag"}')
    assert (error.status, str(error)) == (400, "invalid beta flag")


def test_the_formats_are_anthropics_but_for_the_envelope():
    for form in (ON_BEDROCK, ON_VERTEX):
        assert form.name == anthropic.PROVIDER.name
        assert form.write_request is anthropic.PROVIDER.write_request
        assert form.stream_reader is anthropic.PROVIDER.stream_reader


@pytest.mark.parametrize("name", CLOUDS)
def test_all_that_addresses_need_can_be_said(name):
    settings = {
        "region": "eu-west-1",
        "location": "eu",
        "project": "p-1",
        "api_version": "2024-10-21",
    }
    found = CLOUDS[name].located(settings)
    assert found.missing("https://x.example.com") == []
    for path in (
        found.chat_path,
        found.stream_path or "",
        *(o.path for o in found.others),
    ):
        assert "{" not in path.replace("{model}", "")
