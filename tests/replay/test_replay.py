"""Proofs of reasoning through conversations of several turns, as the SDKs hold them.

The mocks judge: they refuse a thought that they have not signed, one whose words were
changed, one in another place, and a call whose proof is missing.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import anthropic
import pytest

from tests.replay.gateway import PLACES, Gateway
from tests.replay.talkers import FAITHFUL, FORGETFUL

ASK = "Call get_weather, think, and say text before."
AND_THEN = "Call get_weather once more, redacted."
LAST = "Thanks, and think again."

CLIENTS = ("chat", "responses encrypted", "messages")
"""One of each API."""
MANNERS = [name for name in FAITHFUL if name not in CLIENTS]
"""Other ways of giving an answer back."""
PROVIDERS = ("openai", "deepseek", "anthropic", "gemini", "converse")

PROOFS = {
    "deepseek": ("reasoning_content",),
    "openai_responses": ("encrypted_content",),
    "anthropic": ("signature", "data"),
    "gemini": ("thoughtSignature",),
    "converse": ("signature", "redactedContent"),
}
"""What the providers give out and want back; OpenAI's chat has nothing of that kind."""


@pytest.fixture(scope="module")
def shared() -> Gateway:
    return Gateway()


@pytest.fixture
def gateway(shared: Gateway) -> Gateway:
    shared.forget()
    return shared


def found(said: object, names: tuple[str, ...]) -> Iterator[str]:
    """Yield the texts of members of these names, wherever they are."""
    if isinstance(said, dict):
        for key, value in said.items():
            if key in names and isinstance(value, str) and value:
                yield value
            yield from found(value, names)
    elif isinstance(said, list):
        for one in said:
            yield from found(one, names)


GOING_ON = [
    *itertools.product(CLIENTS, PLACES, [False, True]),
    *itertools.product(MANNERS, ["deepseek", "anthropic", "gemini"], [False]),
    ("responses", "openai", True),
]


@pytest.mark.parametrize(("name", "place", "streamed"), GOING_ON)
def test_a_conversation_goes_on_with_who_began_it(gateway, name, place, streamed):
    talker = FAITHFUL[name](gateway, streamed=streamed)
    for text in (ASK, AND_THEN, LAST):
        assert talker.say(place, text)
    assert talker.calls == 2
    names = PROOFS.get(place, ())
    given = {one for answer in gateway.given for one in found(answer, names)}
    back = set(found(gateway.sent[-1], names))
    # All of them but the last answer's, which nobody has given back yet.
    assert back == given - set(found(gateway.given[-1], names))
    assert back or not names
    # Nothing of what was said before is left out.
    assert not [
        one
        for told in gateway.dropped
        for one in told
        if "[" in one and "tools" not in one
    ]


@pytest.mark.parametrize("place", PROVIDERS)
@pytest.mark.parametrize("name", FORGETFUL)
def test_a_framework_that_drops_what_it_does_not_know_still_has_an_answer(
    gateway, name, place
):
    talker = FORGETFUL[name](gateway, streamed=False)
    if (name, place) == ("messages", "anthropic"):
        # Its own API, and its own provider's answer to a thought that is gone.
        with pytest.raises(
            anthropic.BadRequestError, match="must start with a thinking"
        ):
            talker.say(place, ASK)
        return
    for text in (ASK, AND_THEN, LAST):
        assert talker.say(place, text)
    assert talker.calls == 2


def test_a_call_whose_signature_was_dropped_has_the_documented_word_for_it(gateway):
    talker = FORGETFUL["chat"](gateway, streamed=False)
    talker.say("gemini", ASK)
    (proof,) = found(gateway.sent[-1], ("thoughtSignature",))
    # https://ai.google.dev/gemini-api/docs/thought-signatures
    assert proof == "skip_thought_signature_validator"


MOVES = [
    (name, *pair)
    for name in CLIENTS
    for pair in itertools.permutations(PROVIDERS, 2)
    if name != "responses encrypted" or "openai" in pair
]


@pytest.mark.parametrize(("name", "first", "second"), MOVES)
def test_a_conversation_moves_from_one_provider_to_another_and_back(
    gateway, name, first, second
):
    talker = FAITHFUL[name](gateway, streamed=False)
    for place, text in ((first, ASK), (second, AND_THEN), (first, LAST)):
        assert talker.say(place, text)


@pytest.mark.parametrize(
    "second", [place for place in PROVIDERS if place != "deepseek"]
)
@pytest.mark.parametrize("first", [place for place in PROOFS if place != "deepseek"])
@pytest.mark.parametrize("name", CLIENTS)
def test_a_conversation_moves_in_the_middle_of_a_tool_loop(
    gateway, name, first, second
):
    """As a fallback does: the call is one provider's, its result another's to read."""
    talker = FAITHFUL[name](gateway, streamed=False)
    talker.history.append({"role": "user", "content": ASK})
    _, calls = talker.step(first)
    assert calls
    told = set(found(gateway.given[-1], PROOFS[first]))
    words, calls = talker.step(second)
    assert (words, calls) == (words or "-", [])
    sent = json.dumps(gateway.sent[-1])
    same = {first, second} <= {"anthropic", "converse"} or first == second
    openais = first == "openai_responses" and second == "openai"
    if openais and name != "responses encrypted":
        return  # its chat API, which has no place for thoughts
    kept = [proof for proof in told if proof in sent]
    assert bool(kept) == (same or openais)
    reported = [one for one in gateway.dropped[-1] if "[" in one and "tools" not in one]
    assert bool(reported) == (not kept)
