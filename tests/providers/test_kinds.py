"""Providers are imported when they are asked for, and are the same as ever."""

from __future__ import annotations

import subprocess
import sys

import pytest

from extproc.providers import (
    CLOUDS,
    HEADERS,
    JUDGED,
    NATIVE,
    PROVIDERS,
    openai,
    presets,
)
from extproc.providers.kinds import Kinds


def test_what_is_looked_up_is_what_its_module_has():
    assert PROVIDERS["openai"] is openai.PROVIDER
    assert PROVIDERS["groq"] is presets.PROVIDERS["groq"]
    assert list(PROVIDERS)[:5] == list(NATIVE)
    assert list(PROVIDERS)[-len(presets.PROVIDERS) :] == list(presets.PROVIDERS)
    assert dict(JUDGED) == {**NATIVE, **CLOUDS}
    assert len(PROVIDERS) == len(set(PROVIDERS))


def test_what_nobody_has_is_no_key():
    assert "nobody" not in PROVIDERS
    with pytest.raises(KeyError, match="nobody"):
        PROVIDERS["nobody"]


def test_a_table_can_be_given_more_and_lose_it_again():
    kinds = Kinds({"openai": "openai:PROVIDER"}, lambda: presets.PROVIDERS)
    kinds["mine"] = openai.PROVIDER
    assert kinds["mine"] is openai.PROVIDER
    del kinds["mine"]
    assert list(kinds) == ["openai", *presets.PROVIDERS]


def test_every_header_that_belongs_to_a_provider_is_known():
    assert {
        name
        for one in PROVIDERS.values()
        for name in (*one.headers, *one.format.headers)
    } == HEADERS


def test_a_lookup_imports_no_other_format():
    code = (
        "import sys\n"
        "from extproc.providers import PROVIDERS\n"
        "PROVIDERS['openai'], PROVIDERS['anthropic']\n"
        "print(*sys.modules)\n"
        "PROVIDERS['gemini']\n"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    before, after = (set(line.split()) for line in done.stdout.splitlines())
    others = {"gemini", "converse", "cohere"}
    assert not before & {f"extproc.formats.{one}" for one in others}
    assert "extproc.formats.gemini" in after
    assert "extproc.providers.presets" not in after
