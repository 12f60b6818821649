"""openai-agents, as its users call it: over Responses (its default) and over chat."""

from __future__ import annotations

import os
from typing import Any

from agents import (
    Agent,
    Model,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from pydantic import BaseModel

URL, KEY = os.environ["BASE_URL"], os.environ["KEY"]
set_tracing_disabled(True)


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int


@function_tool
def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"sunny in {city}"


@function_tool
def get_time() -> str:
    """Tell the time."""
    return "12"


def model_of(api: str, model: str) -> Model:
    """Return a model of the class that speaks `api`."""
    client = AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0, timeout=20)
    if api == "chat":
        return OpenAIChatCompletionsModel(model, openai_client=client)
    return OpenAIResponsesModel(model, openai_client=client)


def agent(api: str, model: str, **options: Any) -> Agent[Any]:
    """Return an agent with two tools, and one to hand over to."""
    settings = ModelSettings(include_usage=True)
    clerk = Agent(
        name="clerk",
        instructions="Answer the customer.",
        model=model_of(api, model),
        model_settings=settings,
    )
    plain: dict[str, Any] = {
        "tools": [get_weather, get_time],
        "handoffs": [clerk],
        **options,
    }
    return Agent(
        name="doorman",
        instructions="Be brief.",
        model=model_of(api, model),
        model_settings=settings,
        **plain,
    )


def told(run: Any) -> dict[str, Any]:
    """Return what a program reads of a run."""
    usage = run.context_wrapper.usage
    return {
        "text": run.final_output,
        "items": [item.type for item in run.new_items],
        "agent": run.last_agent.name,
        "usage": {
            "requests": usage.requests,
            "input": usage.input_tokens,
            "output": usage.output_tokens,
        },
    }


async def say(api: str, model: str, text: str) -> Any:
    """Run it to the end."""
    return told(await Runner.run(agent(api, model), text))


async def stream(api: str, model: str, text: str) -> Any:
    """Run it, and listen."""
    run = Runner.run_streamed(agent(api, model), text)
    deltas = [
        event.data.delta
        async for event in run.stream_events()
        if event.type == "raw_response_event"
        and event.data.type == "response.output_text.delta"
    ]
    return {**told(run), "deltas": deltas}


async def twice(api: str, model: str, text: str, then: str) -> Any:
    """Run it, and go on with all that was said."""
    first = await Runner.run(agent(api, model), text)
    said = [*first.to_input_list(), {"role": "user", "content": then}]
    return told(await Runner.run(agent(api, model), said))


async def structured(api: str, model: str, text: str) -> Any:
    """Ask for a person."""
    asked = agent(api, model, output_type=Person, tools=[], handoffs=[])
    person = (await Runner.run(asked, text)).final_output
    return {"class": type(person).__name__, **person.model_dump()}


CALLS = {"say": say, "stream": stream, "twice": twice, "structured": structured}
