"""Whether a provider works is said rightly by a running gateway, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.config.load import loads
from extproc.local.providers.through import through, virtual_model
from extproc.local.providers.verdict import CHECKS
from tests.harness import Mock, temporary_folder
from tests.local.providers.test_trial import KEY, failed, outcomes


@pytest.fixture(scope="module")
def mock():
    with temporary_folder() as folder:
        mock = Mock(folder)
        yield mock
        mock.stop()


def test_a_gateway_is_asked_as_an_application_would(mock):
    """The mock stands for a gateway: the same URL, the same answers."""
    found = through(mock.url, KEY, "gpt-4o")
    assert outcomes(found) == ["ok"] * len(CHECKS)
    assert failed(through(mock.url, "sk-other", "gpt-4o"))[0] == "key"
    assert failed(through(mock.url, KEY, "gpt-none"))[0] == "model"
    cut = through(mock.url, KEY, "gpt-4o[[mock: truncate after=2]]")
    assert failed(cut)[0] == "stream"
    down = through("http://gateway.invalid", KEY, "gpt-4o")
    assert failed(down)[0] == "address"


def test_an_answer_of_somebody_else_says_nothing_of_the_provider(mock):
    check, words = failed(through(mock.url, KEY, "gpt-4o", provider="p"))
    assert check == "answer"
    assert "p alone serves" in words


MODELS = """
providers:
  p: {type: openai, api_key: k}
  q: {type: openai, api_key: k}
models:
  both: {targets: [{provider: q, model: one}, {provider: p, model: one}]}
  first: {targets: [{provider: p, model: one}]}
  "all/*": {targets: [{provider: q, model: "*"}]}
"""


@pytest.mark.parametrize(
    ("name", "asked", "virtual"),
    [
        ("p", "one", "first"), ("q", "one", "all/one"), ("q", "two", "all/two"),
        ("p", "two", "p/two"),
    ],
)  # fmt: skip
def test_the_gateway_is_asked_for_what_the_provider_is_first_to_serve(
    name, asked, virtual
):
    config = loads(MODELS, {}, source="g.yaml", folder=Path("/nowhere"))
    assert virtual_model(config, name, asked) == virtual
