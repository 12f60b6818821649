"""pydantic-ai, as its users call it: its OpenAI chat, Responses and Anthropic models."""

from __future__ import annotations

import os
from typing import Any

from anthropic import AsyncAnthropic
from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

URL, KEY = os.environ["BASE_URL"], os.environ["KEY"]


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int


def model_of(api: str, model: str) -> Model:
    """Return a model of the class that speaks `api`."""
    if api == "anthropic":
        theirs = AsyncAnthropic(base_url=URL, api_key=KEY, max_retries=0, timeout=20)
        return AnthropicModel(
            model, provider=AnthropicProvider(anthropic_client=theirs)
        )
    client = AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0, timeout=20)
    provider = OpenAIProvider(openai_client=client)
    kind = OpenAIChatModel if api == "chat" else OpenAIResponsesModel
    return kind(model, provider=provider)


def agent(api: str, model: str, **options: Any) -> Agent[None, Any]:
    """Return an agent with two tools."""
    made: Any = Agent(
        model_of(api, model),
        instructions="Be brief.",
        model_settings={"max_tokens": 2048},
        **options,
    )

    @made.tool_plain
    def get_weather(city: str) -> str:
        """Tell the weather in a city."""
        return f"sunny in {city}"

    @made.tool_plain
    def get_time() -> str:
        """Tell the time."""
        return "12"

    return made


def spent(usage: Any) -> dict[str, int]:
    """Return what the run cost."""
    return {
        "requests": usage.requests,
        "input": usage.input_tokens,
        "output": usage.output_tokens,
    }


async def say(api: str, model: str, text: str) -> Any:
    """Run an agent whose tools may be called."""
    run = await agent(api, model).run(text)
    parts = [
        [part.part_kind, getattr(part, "tool_name", None)]
        for message in run.all_messages()
        for part in message.parts
    ]
    return {"text": run.output, "parts": parts, "usage": spent(run.usage)}


async def stream(api: str, model: str, text: str) -> Any:
    """Run it, its last answer streamed."""
    async with agent(api, model).run_stream(text) as run:
        deltas = [
            piece async for piece in run.stream_text(delta=True, debounce_by=None)
        ]
        return {
            "text": "".join(deltas),
            "deltas": len(deltas),
            "usage": spent(run.usage),
        }


async def structured(api: str, model: str, text: str, mode: str = "tool") -> Any:
    """Ask for a person: by a tool, or by the model's own structured output."""
    output: Any = ToolOutput(Person) if mode == "tool" else NativeOutput(Person)
    run = await agent(api, model, output_type=output).run(text)
    return {"class": type(run.output).__name__, **run.output.model_dump()}


CALLS = {"say": say, "stream": stream, "structured": structured}
