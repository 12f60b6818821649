"""Legacy completions of the official SDK, over every provider."""

from __future__ import annotations

import openai
import pytest

from tests.harness import BEDROCK, KEY

pytestmark = pytest.mark.envoy

MODELS = ["gpt-4o", "claude-sonnet-4-5", "gemini-2.5-flash", BEDROCK]


@pytest.mark.parametrize("model", MODELS)
def test_a_completion_plain_and_streamed(peers, model):
    ask = {"model": model, "prompt": "Say something nice", "max_tokens": 60}
    with openai.OpenAI(base_url=peers.base_url, api_key=KEY, max_retries=0) as client:
        plain = client.completions.create(**ask)
        chunks = list(client.completions.create(**ask, stream=True))
    assert plain.choices[0].text.startswith("You said: Say something nice")
    assert plain.usage.total_tokens > 0
    assert "".join(c.choices[0].text for c in chunks) == plain.choices[0].text


@pytest.mark.parametrize("model", MODELS)
def test_what_chat_cannot_say_is_refused_by_name(peers, model):
    with (
        openai.OpenAI(base_url=peers.base_url, api_key=KEY, max_retries=0) as client,
        pytest.raises(openai.BadRequestError) as caught,
    ):
        client.completions.create(model=model, prompt="x", suffix="y")
    assert caught.value.param == "suffix"
