"""A start without a configuration: what the environment says, or the mocks."""

from __future__ import annotations

import pytest

from extproc.config.build import build
from extproc.config.load import ConfigError, autoconfig
from extproc.providers import NATIVE, PROVIDERS
from extproc.runtime import Runtime


def everything() -> dict[str, str]:
    """Return an environment with all that any provider is configured by."""
    environ = {}
    for provider in PROVIDERS.values():
        environ[provider.key_variable] = "sk-a"
        if provider.url_variable:
            environ[provider.url_variable] = "http://127.0.0.1:1/v1"
        environ |= dict.fromkeys(provider.variables.values(), "acme.example.com")
    return environ | {
        "GOOGLE_GENAI_USE_VERTEXAI": "true",
        "ANTHROPIC_VERTEX_PROJECT_ID": "p-1",
        "CLOUD_ML_REGION": "us-east5",
    }


def test_every_provider_whose_key_is_set_is_configured():
    config = autoconfig(everything(), mock_url="http://127.0.0.1:9")
    # One key opens two APIs of some services: the native one is taken.
    twins = {"bedrock-anthropic", "cohere_openai", "gemini_openai"}
    assert list(config.providers) == [n for n in PROVIDERS if n not in twins]
    assert config.providers["openai"].endpoint.host == "api.openai.com"
    for name, provider in PROVIDERS.items():
        if name in twins:
            continue
        for pattern in provider.model_patterns:
            first = next(n for n, p in PROVIDERS.items() if pattern in p.model_patterns)
            assert config.models[pattern].targets[0].provider == first
        (target,) = config.models[f"{name}/*"].targets
        assert (target.provider, target.model) == (name, "*")
    listed = {name for model in config.models.values() for name in model.listed}
    assert listed == {name for p in PROVIDERS.values() for name in p.models}


ENTRA = {
    "AZURE_TENANT_ID": "contoso",
    "AZURE_CLIENT_ID": "app",
    "AZURE_CLIENT_SECRET": "s3cret",
}
AZURE = {"AZURE_OPENAI_ENDPOINT": "https://east.openai.azure.com/"}
GOOGLE = {
    "GOOGLE_CLOUD_PROJECT": "p-1",
    "GOOGLE_APPLICATION_CREDENTIALS": "/etc/google.json",
}


def configured(environ):
    return autoconfig(environ, mock_url=None).providers


@pytest.mark.parametrize(
    ("environ", "name", "expected"),
    [
        ({"OPENAI_API_KEY": "sk-a"}, "openai", "https://api.openai.com/v1 key"),
        ({"ANTHROPIC_API_KEY": "k"}, "anthropic", "https://api.anthropic.com/v1 key"),
        (
            {**AZURE, "AZURE_OPENAI_API_KEY": "k"},
            "azure",
            "https://east.openai.azure.com key",
        ),
        (
            {**AZURE, **ENTRA, "OPENAI_API_VERSION": "2025-04-01-preview"},
            "azure",
            "https://east.openai.azure.com tokens",
        ),
        (GOOGLE, "vertex", "https://aiplatform.googleapis.com/v1 tokens"),
        (
            {**GOOGLE, "GOOGLE_CLOUD_LOCATION": "europe-west4"},
            "vertex",
            "https://europe-west4-aiplatform.googleapis.com/v1 tokens",
        ),
        (
            {"GOOGLE_GENAI_USE_VERTEXAI": "true", "GOOGLE_CLOUD_PROJECT": "p-1"},
            "vertex",
            "https://aiplatform.googleapis.com/v1 tokens",
        ),
        (
            {"GOOGLE_GENAI_USE_VERTEXAI": "true", "GOOGLE_API_KEY": "k"},
            "vertex",
            "https://aiplatform.googleapis.com/v1 key",
        ),
        (
            {"ANTHROPIC_VERTEX_PROJECT_ID": "p-1", "CLOUD_ML_REGION": "us-east5"},
            "vertex-anthropic",
            "https://us-east5-aiplatform.googleapis.com/v1 tokens",
        ),
        (
            {"AWS_BEARER_TOKEN_BEDROCK": "k"},
            "bedrock",
            "https://bedrock-runtime.us-east-1.amazonaws.com key",
        ),
        (
            {"AWS_REGION": "eu-west-3", "AWS_PROFILE": "dev"},
            "bedrock",
            "https://bedrock-runtime.eu-west-3.amazonaws.com signed",
        ),
    ],
)
def test_a_provider_of_the_environment_is_configured(environ, name, expected):
    provider = configured(environ)[name]
    there = provider.endpoint
    how = "tokens" if provider.identity else "key" if provider.api_key else "signed"
    assert f"https://{there.authority}{there.path} {how}" == expected


@pytest.mark.parametrize(
    "environ",
    [
        AZURE,
        {**ENTRA, "AZURE_OPENAI_API_KEY": "k"},
        {**AZURE, **ENTRA, "AZURE_CLIENT_SECRET": ""},
        {"GOOGLE_CLOUD_PROJECT": "p-1"},
        {"GOOGLE_API_KEY": "k"},
        {"AWS_REGION": "us-east-1"},
        {"AWS_PROFILE": "dev"},
    ],
)
def test_half_of_what_a_provider_needs_configures_nothing(environ):
    with pytest.raises(ConfigError, match="no provider's key is set"):
        configured(environ)


def test_the_version_of_azures_api_is_in_its_paths():
    environ = {**AZURE, "AZURE_OPENAI_API_KEY": "k", "OPENAI_API_VERSION": "2024-10-21"}
    kind = configured(environ)["azure"].kind
    assert kind.chat_path.endswith("/chat/completions?api-version=2024-10-21")


def test_the_order_of_the_environment_changes_nothing():
    environ = everything()
    backwards = dict(reversed(environ.items()))
    assert autoconfig(environ, mock_url=None) == autoconfig(backwards, mock_url=None)


def test_a_model_is_asked_for_by_the_name_that_its_provider_knows():
    config = autoconfig({"GROQ_API_KEY": "gsk"}, mock_url=None)
    runtime = Runtime.of(build(config, grants=(), generation=1, created=0))
    model = runtime.model("groq/meta-llama/llama-4-scout")
    assert model is not None
    (target,) = model.targets
    name = target.request_model("groq/meta-llama/llama-4-scout")
    assert name == "meta-llama/llama-4-scout"


def test_a_server_of_ones_own_needs_an_address_and_no_key():
    config = autoconfig({"OLLAMA_BASE_URL": "http://127.0.0.1:11434/v1"}, mock_url=None)
    ollama = config.providers["ollama"]
    assert ollama.api_key is None
    assert ollama.endpoint.port == 11434
    with pytest.raises(ConfigError):
        autoconfig({"VLLM_API_KEY": "k"}, mock_url=None)


def test_one_key_configures_one_provider_and_no_mock():
    config = autoconfig({"ANTHROPIC_API_KEY": "k"}, mock_url="http://127.0.0.1:9")
    assert set(config.providers) == {"anthropic"}


def test_without_keys_the_mocks_serve():
    config = autoconfig({"OPENAI_API_KEY": ""}, mock_url="http://127.0.0.1:9")
    assert set(config.providers) == set(NATIVE)
    assert config.providers["openai"].base_url == "http://127.0.0.1:9/openai/v1"
    assert config.providers["gemini"].base_url == "http://127.0.0.1:9/gemini/v1beta"
    assert config.providers["bedrock"].base_url == "http://127.0.0.1:9/bedrock"
    for provider in config.providers.values():
        assert provider.api_key is not None
        assert provider.api_key.get_secret_value() == "sk-mock"


def test_without_keys_and_mocks_the_variables_are_named():
    with pytest.raises(ConfigError, match="OPENAI_API_KEY, ANTHROPIC_API_KEY"):
        autoconfig({}, mock_url=None)


def test_a_key_with_a_line_break_is_refused_without_being_shown():
    with pytest.raises(ConfigError) as refused:
        autoconfig({"OPENAI_API_KEY": "sk-a\n"}, mock_url=None)
    assert "providers.openai.api_key: has a blank" in str(refused.value)
    assert "sk-a" not in str(refused.value)
