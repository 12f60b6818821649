"""Every preset is a whole entry: addressed, keyed, sourced, and like no other."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from extproc.config.endpoint import parse_endpoint
from extproc.config.load import ConfigError, loads
from extproc.config.schema import CREDENTIAL_HEADERS
from extproc.formats.openai_chat.quirks import find_kind
from extproc.providers import NATIVE, PROVIDERS
from extproc.providers.presets import PRESETS
from extproc.runtime import glob_pattern

SHARED_KEYS = {
    "AWS_BEARER_TOKEN_BEDROCK": {"bedrock", "bedrock-anthropic"},
    "COHERE_API_KEY": {"cohere", "cohere_openai"},
    "GEMINI_API_KEY": {"gemini", "gemini_openai"},
    "OLLAMA_API_KEY": {"ollama", "ollama_cloud"},
}
"""Keys that open two APIs of one service."""


KNOWN = """
    groq deepseek xai together fireworks openrouter perplexity cerebras sambanova nvidia nim
    huggingface cohere_openai gemini_openai vllm sglang llama_cpp ollama lm_studio tgi databricks
    cloudflare github_models dashscope dashscope_cn moonshot moonshot_cn zai zhipu minimax
    minimax_cn volcengine
"""


def test_there_are_at_least_forty_and_the_best_known_are_among_them():
    assert len(PRESETS) >= 40
    assert set(KNOWN.split()) <= PRESETS.keys()


def test_none_hides_another():
    assert not PRESETS.keys() & NATIVE.keys()
    for field in ("title", "source"):
        values = Counter(getattr(preset, field) for preset in PRESETS.values())
        twice = {value for value, count in values.items() if count > 1}
        # Two places of one service have one page.
        assert field == "source" or not twice
    hosted = [p.base_url for p in PRESETS.values() if not p.keyless]
    assert len(set(hosted)) == len(hosted)
    keys: dict[str, set[str]] = {}
    for type_, provider in PROVIDERS.items():
        keys.setdefault(provider.key_variable, set()).add(type_)
    assert {k: types for k, types in keys.items() if len(types) > 1} == SHARED_KEYS


@pytest.mark.parametrize("type_", PRESETS)
def test_an_entry_is_whole(type_):
    preset, provider = PRESETS[type_], PROVIDERS[type_]
    assert re.fullmatch(r"[a-z][a-z0-9_]*", type_)
    assert re.fullmatch(r"[A-Z][A-Z0-9_]+", preset.key)
    assert preset.title
    assert preset.source.startswith("https://")
    for quirk, page in preset.quirks.items():
        assert find_kind(quirk) is not None, quirk
        assert page.startswith("https://"), quirk
    # "no X" and "X spelled otherwise" cannot both be.
    assert not {"max_tokens", "max_completion_tokens"} <= preset.quirks.keys()
    assert provider.credential_header in CREDENTIAL_HEADERS
    assert provider.quirks == tuple(preset.quirks)
    for model in preset.models:
        assert any(glob_pattern(p).match(model) for p in preset.patterns), model


@pytest.mark.parametrize("type_", PRESETS)
def test_its_address_passes_the_check_of_base_urls(type_):
    preset = PRESETS[type_]
    parts = dict.fromkeys(preset.variables, "acme")
    assert set(re.findall(r"{(\w+)}", preset.base_url)) == set(parts)
    there = parse_endpoint(preset.base_url.format_map(parts))
    assert not preset.base_url.endswith("/")
    # Keys travel encrypted, unless the server is on this machine.
    assert there.tls or (preset.keyless and there.is_loopback)
    assert bool(preset.url) == preset.keyless


@pytest.mark.parametrize("type_", PRESETS)
def test_a_configuration_may_name_it(type_, tmp_path):
    preset = PRESETS[type_]
    base_url = ", base_url: 'https://acme.example.com/v1'" if preset.variables else ""
    text = (
        f"providers: {{p: {{type: {type_}, api_key: k{base_url}}}}}\n"
        "models: {'*': {targets: [{provider: p}]}}\n"
    )
    config = loads(text, {}, source="g.yaml", folder=tmp_path)
    kind = config.providers["p"].kind
    assert (kind.title, kind.quirks) == (preset.title, tuple(preset.quirks))


def config_of(provider: str) -> str:
    return (
        f"providers:\n  p: {provider}\nmodels:\n  m: {{targets: [{{provider: p}}]}}\n"
    )


MISTAKES = {
    "{type: groq}": "api_key is missing (usually ${GROQ_API_KEY})",
    "{type: databricks, api_key: k}": (
        "base_url is missing: https://{host}/serving-endpoints"
    ),
    "{type: anthropic, api_key: k, quirks: [no_n]}": (
        "quirks are those of servers of OpenAI's chat API"
    ),
    "{type: openai, api_key: k, quirks: [no_such]}": (
        "'no_such' is not a kind of quirk: see docs/providers.md"
    ),
    "{type: openai, api_key: k, quirks: [no_n, no_n]}": "names a kind twice",
}


@pytest.mark.parametrize("provider", MISTAKES)
def test_a_mistake_is_explained(provider, tmp_path):
    with pytest.raises(ConfigError) as refused:
        loads(config_of(provider), {}, source="g.yaml", folder=tmp_path)
    assert MISTAKES[provider] in str(refused.value)


def test_a_server_of_ones_own_needs_no_key(tmp_path):
    text = config_of("{type: vllm}")
    config = loads(text, {}, source="g.yaml", folder=tmp_path)
    assert config.providers["p"].endpoint.port == 8000
