"""instructor against the gateway: its modes over every provider."""

from __future__ import annotations

import itertools

import pytest

from tests.clients.judge import ANTHROPIC, OPENAI

pytestmark = pytest.mark.envoy

OPENAI_MODES = ["TOOLS", "TOOLS_STRICT", "JSON_SCHEMA", "RESPONSES_TOOLS"]
MODES = [
    *itertools.product(OPENAI_MODES, OPENAI),
    *itertools.product(["ANTHROPIC_TOOLS"], ANTHROPIC),
]


@pytest.mark.parametrize(("mode", "model"), MODES)
def test_a_person_comes_of_every_mode(instructor, mode, model):
    person = instructor.value("person", mode=mode, model=model, text="Who?")
    assert person["class"] == "Person"


@pytest.mark.parametrize(("mode", "model"), MODES)
def test_a_person_appears_bit_by_bit(instructor, mode, model):
    came = instructor.value("partial", mode=mode, model=model, text="Who?")
    assert isinstance(came["last"]["age"], int)
    # Gemini gives the arguments of a call in one piece.
    assert came["seen"] > 1 or model.startswith("gemini")


@pytest.mark.parametrize(
    ("mode", "model"),
    [
        *itertools.product(["TOOLS"], OPENAI),
        *itertools.product(["ANTHROPIC_TOOLS"], ANTHROPIC),
    ],
)
def test_what_is_no_person_is_asked_for_again(instructor, mock, mode, model):
    wrong = r'[[mock: tool-args="{\"name\":\"x\",\"age\":\"old\"}"]]'
    person = instructor.value(
        "person", mode=mode, model=model, text=f"{wrong} Who?", retries=2
    )
    assert isinstance(person["age"], int)
    assert len(mock.requests()) == 2


@pytest.mark.parametrize("model", ["gpt-4o", "gemini-3.5-flash"])
def test_json_mode_where_there_is_one(instructor, model):
    text = r'[[mock: answer="{\"name\":\"x\",\"age\":3}"]] Who?'
    person = instructor.value("person", mode="JSON", model=model, text=text)
    assert (person["name"], person["age"]) == ("x", 3)


@pytest.mark.parametrize("model", ANTHROPIC)
def test_json_by_prompt_over_messages(instructor, model):
    text = r'[[mock: answer="{\"name\":\"x\",\"age\":3}"]] Who?'
    person = instructor.value("person", mode="ANTHROPIC_JSON", model=model, text=text)
    assert (person["name"], person["age"]) == ("x", 3)
