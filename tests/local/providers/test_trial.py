"""Whether a provider works is said rightly, for everything that may be wrong with it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from extproc.cli import app
from extproc.config.load import loads
from extproc.config.schema import Config
from extproc.local.providers import trial
from extproc.local.providers.trial import default_model
from extproc.local.providers.verdict import CHECKS, Finding
from tests.harness import Mock, temporary_folder
from tests.pki import Authority

KEY = "sk-mock-trial"


@pytest.fixture(scope="module")
def mock() -> Iterator[Mock]:
    with temporary_folder() as folder:
        mock = Mock(folder)
        yield mock
        mock.stop()


def config(
    base_url: str, *, type_: str = "openai", key: str = KEY, more: str = ""
) -> Config:
    text = (
        f"providers:\n  p: {{type: {type_}, api_key: {key}, base_url: '{base_url}'{more}}}\n"
        "models:\n  m: {targets: [{provider: p, model: gpt-4o}]}\n"
    )
    return loads(text, {}, source="g.yaml", folder=Path("/nowhere"))


def outcomes(findings: list[Finding]) -> list[str]:
    assert [one.check for one in findings] == list(CHECKS)
    return [one.outcome for one in findings]


def failed(findings: list[Finding]) -> tuple[str, str]:
    """Return the one check that failed, and why."""
    (one,) = [one for one in findings if one.outcome == "failed"]
    return one.check, one.reason


WORKING = [
    ("openai", "/v1", "gpt-4o"),
    ("groq", "/v1", "gpt-4o"),
    ("anthropic", "/v1", "claude-sonnet-4-5"),
    ("gemini", "/v1beta", "gemini-3.5-flash"),
    ("cohere", "/v2", "command-a-03-2025"),
]


@pytest.mark.parametrize(("type_", "path", "model"), WORKING)
def test_what_works_is_said_to_work(mock, type_, path, model):
    mine = config(mock.url + path, type_=type_, key="sk-mock")
    findings = trial.direct(mine, "p", model)
    assert outcomes(findings) == ["ok"] * len(CHECKS), findings


BROKEN = [
    ("gpt-none", "model", "does not exist"),
    ("gpt-4o[[mock: status=500]]", "answer", "(status 500)"),
    ("gpt-4o[[mock: not-json]]", "answer", "(status 502)"),
    ("gpt-4o[[mock: reset]]", "answer", "the connection broke"),
    ("gpt-4o[[mock: truncate after=2]]", "stream", "ended in the middle"),
    ("gpt-4o[[mock: error-mid-stream after=2]]", "stream", ""),
    ("gpt-4o[[mock: no-usage]]", "usage", "include_usage"),
]


@pytest.mark.parametrize(("model", "check", "words"), BROKEN)
def test_what_is_broken_is_named_and_why(mock, model, check, words):
    found = trial.direct(config(mock.url + "/v1"), "p", model)
    assert failed(found)[0] == check
    assert words in failed(found)[1]
    place = CHECKS.index(check)
    assert outcomes(found)[:place] == ["ok"] * place


def test_a_refused_key_is_not_shown(mock):
    found = trial.direct(config(mock.url + "/v1", key="sk-other-secret"), "p", "gpt-4o")
    assert failed(found) == ("key", "it was refused (status 401)")
    assert outcomes(found)[2:] == ["untried"] * 4
    assert "secret" not in repr(found)


def test_a_name_that_does_not_resolve():
    found = trial.direct(config("https://provider.invalid/v1"), "p", "m")
    assert failed(found)[0] == "address"
    assert "DNS" in failed(found)[1]


def test_a_port_where_nobody_listens():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = trial.direct(config(f"http://127.0.0.1:{port}/v1"), "p", "m")
    assert failed(found) == ("address", "the connection is refused")


def test_a_certificate_of_nobody_known_and_no_tls_at_all(mock):
    with temporary_folder() as folder:
        mine = Authority(folder).issue("127.0.0.1")
        files = ("--tls-cert", str(mine[0]), "--tls-key", str(mine[1]))
        secure = Mock(folder, *files)
        try:
            found = trial.direct(config(f"{secure.url}/v1"), "p", "gpt-4o")
        finally:
            secure.stop()
    assert failed(found)[0] == "address"
    assert "(TLS)" in failed(found)[1]
    plain = trial.direct(config(mock.url.replace("http:", "https:") + "/v1"), "p", "m")
    assert failed(plain)[0] == "address"
    assert "TLS" in failed(plain)[1]


HANGING = [
    ("gpt-4o[[mock: silence]]", "answer", "not answered within 1 s"),
    ("gpt-4o[[mock: stall-mid-stream]]", "stream", "not answered within 1 s"),
]


@pytest.mark.parametrize(("model", "check", "words"), HANGING)
def test_what_hangs_is_named_within_the_time_that_it_has(mock, model, check, words):
    began = time.monotonic()
    found = trial.direct(config(mock.url + "/v1"), "p", model, seconds=1)
    assert failed(found) == (check, words)
    assert time.monotonic() - began < 30


def test_an_answer_that_does_not_end_is_named_too():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def trickle() -> None:
            with contextlib.suppress(OSError):
                client, _ = server.accept()
                with client:
                    client.recv(65536)
                    client.sendall(
                        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n"
                    )
                    while True:
                        client.sendall(b" ")
                        time.sleep(0.05)

        threading.Thread(target=trickle, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"
        found = trial.direct(config(url), "p", "gpt-4o", seconds=1)
    assert failed(found) == ("answer", "not answered within 1 s")


def test_a_connection_that_is_never_made_is_named():
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"https://127.0.0.1:{deaf.getsockname()[1]}/v1"
        mine = config(url, more=", timeouts: {connect: 0.5}")
        assert failed(trial.direct(mine, "p", "m")) == (
            "address",
            "no connection in time (timeouts.connect)",
        )


def refusing(answer: bytes) -> tuple[socket.socket, str]:
    """Return a proxy that says `answer` to whoever comes first."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            client, _ = server.accept()
            with client:
                client.recv(65536)
                client.sendall(b"HTTP/1.1 " + answer + b"\r\ncontent-length: 0\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    return server, f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_proxy_that_does_not_lead_there_is_named():
    def tried(proxy: str) -> tuple[str, str]:
        mine = config("https://models.invalid/v1", more=f", proxy: {proxy}")
        return failed(trial.direct(mine, "p", "m"))

    server, url = refusing(b"407 Proxy Authentication Required")
    with server:
        check, words = tried(url)
    assert (check, "407" in words) == ("address", True), words
    assert tried("http://127.0.0.1:1")[1] == "the connection of the proxy is refused"
    assert tried("http://proxy.invalid:1")[1] == (
        "the proxy's name does not resolve (DNS)"
    )


def test_a_provider_that_has_moved_is_named():
    server, url = refusing(b"308 Permanent Redirect\r\nlocation: https://x.invalid/")
    with server:
        check, words = failed(trial.direct(config(f"{url}/v1"), "p", "gpt-4o"))
    assert check == "answer"
    assert "redirect" in words


@pytest.mark.parametrize(
    ("provider", "words"),
    [
        ("{type: bedrock}", "Envoy signs"),
        ("{type: bedrock-anthropic, region: eu-west-1}", "Envoy signs"),
        (
            "{type: vertex, project: p-1, location: us-east5, google: {}}",
            "Control fetches",
        ),
        (
            "{type: azure, base_url: 'https://a.test', entra: {managed_identity: true}}",
            "Control fetches",
        ),
    ],
)
def test_what_needs_a_gateway_says_so_and_is_no_success(provider, words, tmp_path):
    file = tmp_path / "gateway.yaml"
    file.write_text(
        f"providers:\n  p: {provider}\n"
        "models:\n  m: {targets: [{provider: p, model: some}]}\n"
    )
    asked = ["providers", "test", "p", "--config", str(file), "--json"]
    run = CliRunner().invoke(app, asked)
    assert run.exit_code == 1
    found = json.loads(run.output)
    assert [one["outcome"] for one in found] == ["untried"] * len(CHECKS)
    assert found[0]["reason"].startswith(words)
    for needed in ("--url", "EXTPROC_KEY"):
        assert needed in found[0]["reason"]


def test_the_model_asked_for_is_one_that_the_configuration_names(mock):
    assert default_model(config(mock.url), "p") == "gpt-4o"
    text = (
        "providers:\n  p: {type: mistral, api_key: k}\n"
        "models:\n  'p/*': {targets: [{provider: p, model: '*'}]}\n"
    )
    other = loads(text, {}, source="g.yaml", folder=Path("/nowhere"))
    assert default_model(other, "p") == "mistral-large-latest"


def test_the_command_ends_in_1_where_something_fails(mock, tmp_path):
    file = tmp_path / "gateway.yaml"
    file.write_text(
        f"providers:\n  p: {{type: openai, api_key: {KEY}, base_url: '{mock.url}/v1'}}\n"
        "models:\n  m: {targets: [{provider: p, model: gpt-4o}]}\n"
    )
    run = CliRunner().invoke
    fine = run(app, ["providers", "test", "p", "--config", str(file), "--json"])
    assert fine.exit_code == 0, fine.output
    assert {one["outcome"] for one in json.loads(fine.output)} == {"ok"}
    asked = ["providers", "test", "p", "--config", str(file), "--model", "gpt-none"]
    bad = run(app, asked)
    assert bad.exit_code == 1
    assert "does not exist" in " ".join(bad.output.split())
    none = run(app, ["providers", "test", "q", "--config", str(file)])
    assert none.exit_code == 2
    assert "there are p" in none.stderr
