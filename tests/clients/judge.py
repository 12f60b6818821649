"""What the tests of the clients say to the mocks, and how its answers are known."""

from __future__ import annotations

from typing import Any

from tests.harness import BEDROCK

OPENAI = ["gpt-4o", "claude-sonnet-4-5", "gemini-3.5-flash", BEDROCK]
"""For clients of OpenAI's APIs: the same provider, then the foreign ones."""
ANTHROPIC = ["claude-sonnet-4-5", "gpt-4o", "gemini-3.5-flash", BEDROCK]
"""For clients of Anthropic's API."""
HELLO = "Say something nice"
ECHO = f"You said: {HELLO}"
"""How every mock's answer to `HELLO` begins."""
USE = "use get_weather and get_time please"
USED = "The tool says: "
"""How every mock's answer to a tool's result begins."""


def over(*apis: str) -> list[Any]:
    """Return each API with its own provider and two foreign ones, other ones for each."""
    pairs = []
    for n, api in enumerate(apis):
        own, *foreign = ANTHROPIC if api == "anthropic" else OPENAI
        chosen = {foreign[n % 3], foreign[(n + 1) % 3]}
        pairs += [(api, own), *((api, model) for model in foreign if model in chosen)]
    return pairs


def some(*apis: str) -> list[Any]:
    """Return each API with one provider, another one for each."""
    return [
        (api, (ANTHROPIC if api == "anthropic" else OPENAI)[-n])
        for n, api in enumerate(apis, 1)
    ]
