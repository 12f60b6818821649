"""Every way to a token, at endpoints that check who asks."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from extproc.config.identities import EntraConfig, GoogleConfig
from extproc.local.mock.azure.api import AUDIENCE as AZURE
from extproc.local.mock.identity import api as mock
from extproc.local.mock.reply import Request
from extproc.local.mock.state import Memory
from extproc.local.mock.vertex.api import AUDIENCE as GOOGLE
from extproc.server.tokens import TokenRefused, source_of
from extproc.server.tokens.google import GoogleFile, Metadata

NOW = 1_700_000_000.0
BASE = "http://127.0.0.1:1"
PEM = serialization.Encoding.PEM
SCOPE = GoogleConfig().scope


def pem_of(key):
    return key.private_bytes(
        PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def memory(key):
    found = Memory(lambda: NOW)
    found.service_accounts[mock.ACCOUNT] = key.public_key().public_bytes(
        PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return found


@pytest.fixture
def fetch(memory):
    identity = mock.Identity(memory)

    def answer(request):
        headers = tuple(
            (key.decode().lower(), value.decode()) for key, value in request.headers.raw
        )
        path = request.url.raw_path.decode()
        reply = identity.respond(
            Request(request.method, path, headers, request.content)
        )
        return httpx.Response(reply.status, content=reply.body)

    def run(source):
        async def once():
            transport = httpx.MockTransport(answer)
            async with httpx.AsyncClient(transport=transport) as http:
                return await source.fetch(http, NOW)

        return asyncio.run(once())

    return run


def entra(**more):
    said = {
        "tenant_id": mock.TENANT,
        "client_id": mock.APPLICATION,
        "client_secret": mock.SECRET,
        "authority": f"{BASE}/entra",
        **more,
    }
    return source_of(EntraConfig.model_validate_json(json.dumps(said)), {})


@pytest.fixture
def google(tmp_path, key):
    """Write a file of credentials and return who reads it."""

    def make(kind, **more):
        said = {
            "service_account": {
                "client_email": mock.ACCOUNT,
                "private_key": pem_of(key),
                "private_key_id": "1",
                "token_uri": f"{BASE}/google/token",
                "universe_domain": "googleapis.com",
            },
            "authorized_user": {
                "client_id": mock.APPLICATION,
                "client_secret": mock.SECRET,
                "refresh_token": mock.REFRESH_TOKEN,
                "token_uri": f"{BASE}/google/token",
            },
            "external_account": {
                "audience": mock.POOL,
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                "token_url": f"{BASE}/google/sts",
                "credential_source": {"file": str(tmp_path / "subject")},
            },
        }.get(kind, {})
        (tmp_path / "subject").write_text(f"{mock.SUBJECT_TOKEN}\n")
        file = tmp_path / "credentials.json"
        file.write_text(json.dumps({"type": kind, **said, **more}))
        return GoogleFile(file, SCOPE)

    return make


def audience(memory, token):
    assert token.seconds == pytest.approx(mock.LIFE)
    return memory.tokens[token.value].audience


def test_entra_gives_a_token_for_a_secret(fetch, memory):
    assert audience(memory, fetch(entra())) == AZURE


def test_entra_gives_a_token_for_a_clusters_statement(fetch, memory, tmp_path):
    file = tmp_path / "statement"
    file.write_text(mock.ASSERTION + "\n")
    source = entra(client_secret=None, federated_token_file=str(file))
    assert audience(memory, fetch(source)) == AZURE


@pytest.mark.parametrize(
    "kind", ["service_account", "authorized_user", "external_account"]
)
def test_google_gives_a_token_for_each_kind_of_file(fetch, memory, google, kind):
    assert audience(memory, fetch(google(kind))) == GOOGLE


def test_google_gives_the_token_of_an_account_that_a_workload_may_be(
    fetch, memory, google
):
    url = f"{BASE}/google/v1/projects/-/serviceAccounts/{mock.ACCOUNT}:generateAccessToken"
    token = fetch(google("external_account", service_account_impersonation_url=url))
    assert token.value == list(memory.tokens)[-1]
    assert audience(memory, token) == GOOGLE


def test_a_subject_token_may_stand_in_json(fetch, memory, google, tmp_path):
    file = tmp_path / "subject.json"
    file.write_text(json.dumps({"id": mock.SUBJECT_TOKEN}))
    form = {"type": "json", "subject_token_field_name": "id"}
    source = {"file": str(file), "format": form}
    token = fetch(google("external_account", credential_source=source))
    assert audience(memory, token) == GOOGLE


def test_a_machine_has_an_identity_of_its_own(fetch, memory):
    assert audience(memory, fetch(Metadata("127.0.0.1:1", SCOPE))) == GOOGLE


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"client_secret": "wrong-secret"}, "invalid_client: AADSTS7000215: Invalid"),
        ({"tenant_id": "elsewhere"}, "AADSTS90002: Tenant 'elsewhere' not found"),
        ({"scope": "other/.default"}, "invalid_scope"),
    ],
)
def test_entras_refusal_is_told_without_the_secret(fetch, more, why):
    with pytest.raises(TokenRefused, match=why) as refused:
        fetch(entra(**more))
    assert "secret" not in str(refused.value).replace("client secret", "")
    assert "Trace" not in str(refused.value)


def other_key():
    return pem_of(rsa.generate_private_key(65537, 2048))


@pytest.mark.parametrize(
    ("kind", "more", "why"),
    [
        ("service_account", {"private_key": other_key}, "Invalid JWT Signature"),
        ("service_account", {"private_key": "nonsense"}, "cannot be read"),
        (
            "service_account",
            {"private_key": lambda: pem_of(ec.generate_private_key(ec.SECP256R1()))},
            "not an RSA key",
        ),
        ("service_account", {"client_email": "x@y"}, "account not found"),
        ("service_account", {"token_uri": "http://example.com/token"}, "must begin"),
        ("service_account", {"private_key": 1}, "is not understood"),
        ("authorized_user", {"refresh_token": "stale"}, "invalid_grant"),
        ("external_account", {"audience": "//elsewhere"}, "invalid_request"),
        ("external_account", {"credential_source": {"url": "http://x"}}, "only a file"),
        ("gdch_service_account", {}, "is not understood"),
    ],
)
def test_googles_refusal_is_told(fetch, google, kind, more, why):
    made = {name: value() if callable(value) else value for name, value in more.items()}
    with pytest.raises(TokenRefused, match=why) as refused:
        fetch(google(kind, **made))
    assert "PRIVATE KEY" not in str(refused.value)


def test_a_file_that_is_gone_is_named(fetch, tmp_path):
    with pytest.raises(OSError, match="credentials"):
        fetch(GoogleFile(tmp_path / "credentials", SCOPE))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"access_token":""}',
        b'{"access_token":"a b"}',
        b'{"access_token":"a\\u00e9"}',
        b'{"access_token":"a","expires_in":0}',
        b'{"access_token":"a","expires_in":"soon"}',
    ],
)
def test_an_answer_without_a_usable_token_is_refused(body):
    async def once():
        transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
        async with httpx.AsyncClient(transport=transport) as http:
            await entra().fetch(http, NOW)

    with pytest.raises(TokenRefused, match=r"127\.0\.0\.1 answers with"):
        asyncio.run(once())


def test_where_google_is_looked_for_is_googles_own_order(tmp_path):
    config = GoogleConfig()
    named = {"GOOGLE_APPLICATION_CREDENTIALS": "/a.json", "HOME": str(tmp_path)}
    home = {"HOME": str(tmp_path)}
    assert source_of(config, named) == GoogleFile(Path("/a.json"), SCOPE)
    assert source_of(config, home) == Metadata("metadata.google.internal", SCOPE)
    elsewhere = {**home, "GCE_METADATA_HOST": "127.0.0.1:9"}
    assert source_of(config, elsewhere) == Metadata("127.0.0.1:9", SCOPE)
    file = tmp_path / ".config/gcloud/application_default_credentials.json"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    assert source_of(config, home) == GoogleFile(file, SCOPE)
    said = GoogleConfig(credentials_file=Path("/b.json"))
    assert source_of(said, named) == GoogleFile(Path("/b.json"), SCOPE)
