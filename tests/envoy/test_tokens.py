"""Tokens that expire while requests run: control renews them, and nobody notices."""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

import httpx
import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from extproc.local.mock.identity.api import ACCOUNT, APPLICATION, SECRET, TENANT
from tests.harness import KEY, Mock, temporary_folder, wait_for
from tests.running import Run

pytestmark = pytest.mark.envoy

LIFE = 5.0
"""Seconds: the next token comes after 3.5 to 4, so a second is left for the slowest."""
MODELS = ("gpt-4o", "gemini-2.5-flash", "claude-sonnet-4-5@20250929")


def service_account(folder, mock):
    """Make an account at the mock's Google; return the file of its key."""
    key = rsa.generate_private_key(65537, 2048)
    pem = serialization.Encoding.PEM
    httpx.put(
        f"{mock.url}/_mock/service-accounts/{ACCOUNT}",
        content=key.public_key().public_bytes(
            pem, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    ).raise_for_status()
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    said = {
        "type": "service_account",
        "client_email": ACCOUNT,
        "private_key": private.decode(),
        "token_uri": f"{mock.url}/google/token",
    }
    (folder / "google.json").write_text(json.dumps(said))
    return "google.json"


def config(mock, credentials):
    google = {"project": "p-1", "google": {"credentials_file": credentials}}
    vertex = {"base_url": f"{mock.url}/vertex/v1", **google}
    return {
        "providers": {
            "azure": {
                "type": "azure",
                "base_url": f"{mock.url}/azure",
                "api_version": "2024-10-21",
                "entra": {
                    "tenant_id": TENANT,
                    "client_id": APPLICATION,
                    "client_secret": SECRET,
                    "authority": f"{mock.url}/entra",
                },
            },
            "vertex": {"type": "vertex", **vertex},
            "claude": {"type": "vertex-anthropic", **vertex},
        },
        "models": {
            model: {"targets": [{"provider": provider}]}
            for model, provider in zip(
                MODELS, ("azure", "vertex", "claude"), strict=True
            )
        },
    }


class Running(Run):
    """`extproc run`, whose providers want tokens of a short life."""

    def __init__(self, folder: Path) -> None:
        self.mock = Mock(folder, "--token-seconds", str(LIFE))
        plain = config(self.mock, service_account(folder, self.mock))
        super().__init__(folder, plain)

    def tokens(self) -> set[str]:
        """Return the tokens that providers have been sent."""
        return {
            request["headers"]["authorization"]
            for request in self.mock.requests()
            if "authorization" in request["headers"]
        }

    def stop(self) -> None:
        self.process.stop()
        self.mock.stop()


@contextlib.contextmanager
def running():
    with temporary_folder() as folder:
        running = Running(folder)
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture(scope="module")
def run():
    with running() as shared:
        yield shared


@pytest.fixture
def own():
    """One that no other test sees, to be broken."""
    with running() as alone:
        yield alone


def ask(http, model):
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text


def client(run):
    headers = {"authorization": f"Bearer {KEY}"}
    return httpx.Client(base_url=run.url, headers=headers, timeout=20)


def test_tokens_change_under_requests_and_none_fails(run):
    asked = 0
    patience = time.monotonic() + 8 * LIFE
    with client(run) as http:
        # One identity at Azure and one at Google, each with its third token.
        while len(run.tokens()) < 6:
            assert time.monotonic() < patience
            for model in MODELS:
                ask(http, model)
                asked += 1
            time.sleep(0.02)
    assert asked > 30


def test_control_says_how_tokens_fare(run):
    ready = httpx.get(f"{run.control_url()}/health/ready").json()
    by_cluster = {frozenset(told["clusters"]): told for told in ready["tokens"]}
    expected = {frozenset({"azure"}), frozenset({"vertex", "claude"})}
    assert set(by_cluster) == expected
    assert all(told["ok"] for told in by_cluster.values())
    assert all(0 < told["expires_in"] <= LIFE for told in by_cluster.values())
    metrics = httpx.get(f"{run.control_url()}/metrics").text
    assert 'extproc_token_valid_seconds{provider="azure"}' in metrics


def test_no_token_is_in_a_log_or_readable_by_others(run):
    with client(run) as http:
        for model in MODELS:
            ask(http, model)
    tokens = [token.removeprefix("Bearer ") for token in run.tokens()]
    assert len(tokens) >= 2
    for log in run.folder.rglob("*.log"):
        text = log.read_text(errors="replace")
        assert not any(token in text for token in tokens), log
    files = list((run.folder / "state" / "xds").glob("sds-*.json"))
    assert len(files) == 3
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_refusal_is_loud(own):
    plain = yaml.safe_load(own.file.read_text())
    plain["providers"]["azure"]["entra"]["client_secret"] = "revoked"
    own.file.write_text(yaml.safe_dump(plain))

    def refused():
        told = httpx.get(f"{own.control_url()}/health/ready").json()["tokens"]
        (azure,) = [one for one in told if one["clusters"] == ["azure"]]
        return azure if azure["failures"] else None

    azure = wait_for(refused, own.process.output, 20)
    assert "AADSTS7000215: Invalid client secret" in azure["problem"]
    assert "no token for azure" in own.process.output()
    metrics = httpx.get(f"{own.control_url()}/metrics").text
    assert 'extproc_token_refresh_failures_total{provider="azure"}' in metrics
