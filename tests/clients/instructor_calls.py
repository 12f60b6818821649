"""instructor, as its users call it: over the openai and the anthropic SDK, in its modes."""

from __future__ import annotations

import os
from typing import Any

import anthropic
import instructor
import openai
from pydantic import BaseModel

URL, KEY = os.environ["BASE_URL"], os.environ["KEY"]


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int


def client_of(mode: str) -> Any:
    """Return a client of the SDK that `mode` is for."""
    plain: Any = {"api_key": KEY, "max_retries": 0, "timeout": 20}
    if mode.startswith("ANTHROPIC"):
        return instructor.from_anthropic(
            anthropic.AsyncAnthropic(base_url=URL, **plain), mode=instructor.Mode[mode]
        )
    return instructor.from_openai(
        openai.AsyncOpenAI(base_url=f"{URL}/v1", **plain), mode=instructor.Mode[mode]
    )


async def person(mode: str, model: str, text: str, retries: int = 1) -> Any:
    """Ask for a person, again where the answer is none."""
    ask: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
    if mode.startswith("ANTHROPIC"):
        ask["max_tokens"] = 2048
    made, raw = await client_of(mode).chat.completions.create_with_completion(
        model=model, response_model=Person, max_retries=retries, **ask
    )
    return {
        "class": type(made).__name__,
        **made.model_dump(),
        "raw": type(raw).__name__,
    }


async def partial(mode: str, model: str, text: str) -> Any:
    """Ask for a person who appears bit by bit."""
    ask: dict[str, Any] = {"messages": [{"role": "user", "content": text}]}
    if mode.startswith("ANTHROPIC"):
        ask["max_tokens"] = 2048
    seen = [
        made.model_dump()
        async for made in client_of(mode).chat.completions.create_partial(
            model=model, response_model=Person, **ask
        )
    ]
    return {"last": seen[-1], "seen": len(seen)}


CALLS = {"person": person, "partial": partial}
