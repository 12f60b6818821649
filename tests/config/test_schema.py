"""What one section may say by itself."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from extproc.config.schema import (
    RESERVED_NAMES,
    Config,
    LimitsConfig,
    ProviderConfig,
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
    url = "http://10.0.0.1/v1"
    with pytest.raises(ValidationError, match="allow_plaintext"):
        provider(base_url=url)
    assert not provider(base_url=url, allow_plaintext=True).endpoint.tls


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
