"""Several keys of one provider."""

from __future__ import annotations

from pathlib import Path

from extproc.config.accounts import accounts
from extproc.config.build import build
from extproc.config.load import loads

TEXT = """
providers:
  one: {type: openai, api_key: sk-single}
  two: {type: openai, api_keys: [sk-first, sk-second]}
models:
  m:
    strategy: weighted
    targets: [{provider: two, weight: 3}, {provider: one, weight: 1, model: x}]
  p: {targets: [{provider: two}, {provider: one}]}
"""


def config(text=TEXT):
    return loads(text, {}, source="g.yaml", folder=Path("/"))


def targets(model, text=TEXT):
    snapshot = build(config(text), grants=(), generation=1, created=1)
    return next(spec for spec in snapshot.models if spec.name == model).targets


def test_each_key_has_a_cluster_of_its_own():
    found = {
        cluster: (name, account.api_key.get_secret_value())
        for cluster, (name, account) in accounts(config()).items()
        if account.api_key
    }
    assert found == {
        "one": ("one", "sk-single"),
        "two": ("two", "sk-first"),
        "two.2": ("two", "sk-second"),
    }


def test_the_keys_of_a_target_share_its_weight():
    assert [(t.cluster, t.placement.key, t.placement.weight) for t in targets("m")] == [
        ("two", "1", 3),
        ("two.2", "2", 3),
        ("one", "", 2),
    ]


def test_under_priority_the_keys_of_a_target_are_equals():
    assert [(t.cluster, t.placement.tier) for t in targets("p")] == [
        ("two", 0),
        ("two.2", 0),
        ("one", 1),
    ]


def test_a_replaced_key_is_another_credential():
    before, after = targets("m"), targets("m", TEXT.replace("sk-second", "sk-third"))
    changed = [
        b.placement.credential != a.placement.credential
        for b, a in zip(before, after, strict=True)
    ]
    assert changed == [False, True, False]
    assert "sk-" not in str(before)
