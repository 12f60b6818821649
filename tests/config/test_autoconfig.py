"""A start without a configuration: what the environment says, or the mocks."""

from __future__ import annotations

import pytest

from extproc.config.load import ConfigError, autoconfig
from extproc.providers import PROVIDERS


def test_every_provider_whose_key_is_set_is_configured():
    keys = {provider.key_variable: "sk-a" for provider in PROVIDERS.values()}
    config = autoconfig(keys, mock_url="http://127.0.0.1:9")
    assert set(config.providers) == set(PROVIDERS)
    assert config.providers["openai"].endpoint.host == "api.openai.com"
    for name, provider in PROVIDERS.items():
        for pattern in provider.model_patterns:
            assert config.models[pattern].targets[0].provider == name
    listed = [name for model in config.models.values() for name in model.listed]
    expected = [name for provider in PROVIDERS.values() for name in provider.models]
    assert sorted(listed) == sorted(expected)


def test_one_key_configures_one_provider_and_no_mock():
    config = autoconfig({"ANTHROPIC_API_KEY": "k"}, mock_url="http://127.0.0.1:9")
    assert set(config.providers) == {"anthropic"}


def test_without_keys_the_mocks_serve():
    config = autoconfig({"OPENAI_API_KEY": ""}, mock_url="http://127.0.0.1:9")
    assert set(config.providers) == set(PROVIDERS)
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
