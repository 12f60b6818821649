"""Virtual models that name each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.config.load import ConfigError, loads

HEAD = "providers: {openai: {type: openai, api_key: sk-one}}\nmodels:\n"

CASES = {
    "an unknown fallback": (
        "fallbacks: [clod]",
        "models.a.fallbacks[0]: there is no model 'clod', did you mean claude?",
    ),
    "itself": (
        "context_fallbacks: [a]",
        "models.a.context_fallbacks[0]: 'a' leads to itself",
    ),
    "an unknown model in a rule": (
        "rules: [{model: nobody}]",
        "models.a.rules[0]: there is no model 'nobody'",
    ),
    "an unknown model in a split": (
        "rules: [{split: {claude: 9, nobody: 1}}]",
        "models.a.rules[0]: there is no model 'nobody'",
    ),
    "rules that go round": (
        "rules: [{model: round}]",
        "models.a.rules: the rules lead back to this model",
    ),
    "an alias that is a model": (
        "aliases: [claude]",
        "models.a.aliases[0]: the same as models.claude",
    ),
    "an alias with a star": (
        "aliases: [x-*]",
        "models.a.aliases[0]: an alias is a whole name, of a model with a whole name",
    ),
}


def text(more: str, target: str = "{provider: openai}") -> str:
    return HEAD + (
        f"  a: {{targets: [{target}], {more}}}\n"
        "  claude: {targets: [{provider: openai}], aliases: [sonnet]}\n"
        "  round: {targets: [{provider: openai}], rules: [{model: way}]}\n"
        "  way: {targets: [{provider: openai}], rules: [{model: a}]}\n"
        "  openai/*: {targets: [{provider: openai, model: '*'}]}\n"
    )


def read(source: str):
    return loads(source, {}, source="g.yaml", folder=Path("/"))


@pytest.mark.parametrize("name", CASES)
def test_a_name_that_leads_nowhere_is_told(name):
    more, message = CASES[name]
    with pytest.raises(ConfigError) as refused:
        read(text(more))
    assert f"g.yaml:3: {message}" in str(refused.value).split("\n")


@pytest.mark.parametrize(
    "more",
    [
        "fallbacks: [claude, sonnet, openai/gpt-4o]",
        "rules: [{when: {tags: [eu]}, split: {claude: 9, openai/x: 1}}]",
        "aliases: [b, c]",
    ],
)
def test_names_that_are_served_may_be_named(more):
    assert "a" in read(text(more)).models


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "{provider: openai, model: '*'}",
            "* stands for the end of a name like openai/*",
        ),
        ("{provider: openai, model: 'x-*'}", "is * or a whole name"),
    ],
)
def test_a_star_needs_one_to_stand_for(target, message):
    with pytest.raises(ConfigError, match="targets") as refused:
        read(text("owned_by: x", target))
    assert message in str(refused.value)


def test_two_models_may_stand_in_for_each_other():
    source = HEAD + (
        "  a: {targets: [{provider: openai}], fallbacks: [b]}\n"
        "  b: {targets: [{provider: openai}], fallbacks: [a]}\n"
    )
    assert len(read(source).models) == 2
