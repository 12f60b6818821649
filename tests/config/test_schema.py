"""What one section may say by itself."""

from __future__ import annotations

import json

import msgspec
import pytest
from pydantic import ValidationError

from extproc.config.providers import ProviderConfig
from extproc.config.schema import (
    RESERVED_NAMES,
    Config,
    LimitsConfig,
    TimeoutsConfig,
)


def provider(**fields):
    return ProviderConfig.model_validate({"type": "openai", "api_key": "k", **fields})


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(90, 90), (1.5, 1.5), ("90s", 90), ("2m", 120), ("1h", 3600), ("500ms", 0.5)],
)
def test_times(given, seconds):
    assert TimeoutsConfig(idle=given).idle == seconds


@pytest.mark.parametrize("given", [0, -1, True, "90", "2 m", "1d", "1e3s", None, []])
def test_times_that_are_refused(given):
    with pytest.raises(ValidationError):
        TimeoutsConfig(idle=given)


@pytest.mark.parametrize(
    ("given", "size"),
    [(2048, 2048), ("2048", 2048), ("2KiB", 2048), ("32MiB", 32 << 20)],
)
def test_sizes(given, size):
    assert LimitsConfig(body_bytes=given).body_bytes == size


@pytest.mark.parametrize("given", [1, "1MB", "-1KiB", True, 1.5, "2 KiB"])
def test_sizes_that_are_refused(given):
    with pytest.raises(ValidationError):
        LimitsConfig(body_bytes=given)


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        provider().type = "anthropic"


def test_a_secret_is_in_no_text():
    shown = provider(api_key="sk-secret")
    assert "sk-secret" not in f"{shown} {shown!r} {shown.model_dump()}"
    assert "sk-secret" not in shown.model_dump_json()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_plain_text_is_allowed_on_this_machine(host):
    assert provider(base_url=f"http://{host}:8000/v1").endpoint.port == 8000


def test_plain_text_elsewhere_must_be_asked_for():
    url = "http://models.lan/v1"
    with pytest.raises(ValidationError, match="allow_plaintext"):
        provider(base_url=url)
    assert not provider(base_url=url, allow_plaintext=True).endpoint.tls


PRIVATE = [
    "10.0.0.1", "192.168.7.7", "172.16.0.1", "100.64.0.1", "[fd00::1]", "[fe80::1]",
    "169.254.169.254", "[fd00:ec2::254]", "metadata.google.internal", "0.0.0.0",
    "[::ffff:10.0.0.1]",
    "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::1]",
]  # fmt: skip


@pytest.mark.parametrize("host", PRIVATE)
def test_an_address_of_a_private_network_must_be_asked_for(host):
    url = f"https://{host}/v1"
    with pytest.raises(ValidationError, match="allow_private"):
        provider(base_url=url)
    assert provider(base_url=url, allow_private=True).endpoint.tls


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "8.8.8.8", "api.openai.com"])
def test_this_machine_and_the_public_need_no_asking(host):
    assert provider(base_url=f"https://{host}/v1").endpoint.host


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "127.1", "10.0x1"])
def test_a_name_that_a_resolver_takes_for_an_address_is_refused(host):
    with pytest.raises(ValidationError, match="no host name"):
        provider(base_url=f"https://{host}/v1")


@pytest.mark.parametrize(
    ("fields", "base", "path"),
    [
        (
            {"type": "azure", "api_key": "k", "base_url": "https://x.openai.azure.com"},
            "https://x.openai.azure.com",
            "/openai/v1/chat/completions",
        ),
        (
            {
                "type": "azure",
                "api_key": "k",
                "base_url": "https://x.openai.azure.com",
                "api_version": "2024-10-21",
            },
            "https://x.openai.azure.com",
            "/openai/deployments/{model}/chat/completions?api-version=2024-10-21",
        ),
        (
            {"type": "vertex", "api_key": "k"},
            "https://aiplatform.googleapis.com/v1",
            "/publishers/google/models/{model}:generateContent",
        ),
        (
            {"type": "vertex", "project": "p-1"},
            "https://aiplatform.googleapis.com/v1",
            (
                "/projects/p-1/locations/global/publishers/google/models/{model}"
                ":generateContent"
            ),
        ),
        (
            {"type": "vertex", "project": "p-1", "location": "us-central1"},
            "https://us-central1-aiplatform.googleapis.com/v1",
            (
                "/projects/p-1/locations/us-central1/publishers/google/models/{model}"
                ":generateContent"
            ),
        ),
        (
            {"type": "vertex", "project": "p-1", "location": "eu"},
            "https://aiplatform.eu.rep.googleapis.com/v1",
            "/projects/p-1/locations/eu/publishers/google/models/{model}:generateContent",
        ),
        (
            {"type": "bedrock", "region": "eu-west-1"},
            "https://bedrock-runtime.eu-west-1.amazonaws.com",
            "/model/{model}/converse",
        ),
    ],
)
def test_settings_say_where_a_provider_is(fields, base, path):
    found = ProviderConfig.model_validate(fields)
    there = found.endpoint
    assert f"https://{there.authority}{there.path}" == base
    assert found.kind.chat_path == path


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"type": "azure", "api_key": "k"}, "base_url is missing"),
        ({"type": "azure", "base_url": "https://x.azure.com"}, r"\(or entra\)"),
        ({"type": "openai", "google": {}}, "has no google"),
        ({"type": "vertex", "project": "p-1", "api_key": "k", "google": {}}, "exclude"),
        ({"type": "bedrock", "entra": {}}, "needs either client_secret"),
        ({"type": "bedrock", "aws": {"access_key_id": "AKIA"}}, "go together"),
        ({"type": "bedrock", "aws": {"web_identity_token_file": "/t"}}, "role_arn"),
        (
            {"type": "openai", "api_key": "k", "proxy": "http://1.2.3.4:1/path"},
            "http://HOST:PORT",
        ),
        (
            {
                "type": "openai",
                "api_key": "k",
                "proxy": "http://1.2.3.4:1",
                "base_url": "http://127.0.0.1:1/v1",
            },
            "https:// only",
        ),
        (
            {
                "type": "azure",
                "base_url": "https://x.azure.com",
                "entra": {"tenant_id": "t", "client_id": "c"},
            },
            "needs either client_secret",
        ),
        (
            {
                "type": "azure",
                "base_url": "https://x.azure.com",
                "entra": {
                    "tenant_id": "t",
                    "client_id": "c",
                    "client_secret": "s",
                    "authority": "http://login.example.com",
                },
            },
            "must begin with https",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(fields, complaint):
    with pytest.raises(ValidationError, match=complaint):
        ProviderConfig.model_validate_json(msgspec.json.encode(fields))


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("bedrock-runtime.eu-west-1.amazonaws.com", "eu-west-1"),
        ("bedrock-runtime-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("bedrock-runtime.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("bedrock-runtime.us-east-2.api.aws", "us-east-2"),
        ("vpce-0a1-bc.bedrock-runtime.ap-south-1.vpce.amazonaws.com", "ap-south-1"),
        ("bedrock.internal.example.com", "us-west-2"),
        ("bedrock-runtime.eu-west-1.amazonaws.com.example.com", "us-west-2"),
    ],
)
def test_signatures_are_for_the_region_of_the_address(host, region):
    fields = {"type": "bedrock", "base_url": f"https://{host}", "region": "us-west-2"}
    assert ProviderConfig.model_validate(fields).signing_region == region


def test_a_server_of_ones_own_may_need_no_key():
    assert provider(api_key=None, base_url="http://127.0.0.1/v1").api_key is None


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_our_own_clusters_cannot_be_providers(name):
    fields = {"type": "openai", "api_key": "k"}
    models = {"m": {"targets": ({"provider": name},)}}
    with pytest.raises(ValidationError, match="taken by the gateway"):
        Config.model_validate({"providers": {name: fields}, "models": models})


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Upper": "a"},
        {"x api": "a"},
        {"authorization": "a"},
        {"x-envoy-retry-on": "5xx"},
        {"x-gw-a": "a"},
        {"host": "a"},
        {"x-a": "a\nb"},
        {"x-a": "é"},
    ],
)
def test_headers_that_are_refused(headers):
    with pytest.raises(ValidationError):
        provider(headers=headers)


@pytest.mark.parametrize(
    ("said", "lifetime"),
    [
        (False, None),
        ("false", None),
        (True, 3600),
        ("true", 3600),
        ({"lifetime": "30m"}, 1800),
    ],
)
def test_sessions_are_wanted_or_not_or_for_so_long(said, lifetime):
    plain = {
        "providers": {"p": {"type": "openai", "api_key": "k"}},
        "models": {"m": {"targets": [{"provider": "p"}]}},
        "realtime": said,
    }
    found = Config.model_validate_json(json.dumps(plain)).realtime
    assert (found.lifetime if found else None) == lifetime
