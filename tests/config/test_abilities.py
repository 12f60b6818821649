"""What is known of models, and who has the last word."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.config.abilities import known, overruled
from extproc.config.build import build
from extproc.config.load import loads
from extproc.deployment import Abilities

KNOWN = [
    ("openai", "gpt-4o", "context_tokens", 128_000),
    ("openai", "GPT-4o-2024-08-06", "context_tokens", 128_000),
    ("openai", "gpt-4o", "output_tokens", 16_384),
    ("openai", "gpt-3.5-turbo", "vision", False),
    ("anthropic", "claude-3-haiku-20240307", "context_tokens", 200_000),
    ("bedrock", "us.amazon.nova-micro-v1:0", "vision", False),
    ("gemini", "gemini-2.5-pro", "context_tokens", 1_048_576),
    ("anthropic", "claude-sonnet-4-5", "context_tokens", 1_000_000),
]


@pytest.mark.parametrize(("kind", "model", "ability", "value"), KNOWN)
def test_well_known_models_are_known(kind, model, ability, value):
    assert getattr(known(kind, model), ability) == value


def test_of_others_nothing_is_assumed():
    assert known("openai", "our-own-model") == Abilities()
    assert known("nobody", "gpt-9") == Abilities()


def test_the_configuration_overrules_the_table_and_leaves_the_rest():
    own = overruled(Abilities(vision=True, context_tokens=9), "openai", "gpt-3.5-turbo")
    assert (own.vision, own.context_tokens, own.output_tokens) == (True, 9, 4096)


def test_a_glob_is_no_model():
    text = """
providers: {openai: {type: openai, api_key: k}}
models:
  "*": {targets: [{provider: openai}]}
  gpt-4o: {targets: [{provider: openai}, {provider: openai, model: x, capabilities: {tools: false}}]}
"""
    config = loads(text, {}, source="g.yaml", folder=Path("/"))
    snapshot = build(config, grants=(), generation=1, created=1)
    found = [t.placement.abilities for model in snapshot.models for t in model.targets]
    assert found == [Abilities(), known("openai", "gpt-4o"), Abilities(tools=False)]
