"""LangChain, as its users call it: ChatOpenAI over chat and Responses, ChatAnthropic."""

from __future__ import annotations

import os
from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

URL, KEY = os.environ["BASE_URL"], os.environ["KEY"]


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int


@tool
def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"sunny in {city}"


@tool
def get_time() -> str:
    """Tell the time."""
    return "12"


TOOLS = {"get_weather": get_weather, "get_time": get_time}


def chat_model(api: str, model: str, **options: Any) -> BaseChatModel:
    """Return a model of the class that speaks `api`."""
    plain: Any = {"model": model, "max_retries": 0, "timeout": 20, **options}
    if api == "anthropic":
        return ChatAnthropic(base_url=URL, api_key=KEY, **{"max_tokens": 2048} | plain)
    return ChatOpenAI(
        base_url=f"{URL}/v1",
        api_key=KEY,
        use_responses_api=api == "responses",
        **plain,
    )


def told(message: BaseMessage) -> dict[str, Any]:
    """Return what a program reads of an answer."""
    usage = getattr(message, "usage_metadata", None)
    return {
        "text": message.text,
        "usage": dict(usage) if usage else None,
        "metadata": message.response_metadata,
        "calls": getattr(message, "tool_calls", []),
    }


async def say(api: str, model: str, text: str, **options: Any) -> Any:
    """Ask with a system prompt."""
    asked = [SystemMessage("Be brief."), HumanMessage(text)]
    return told(await chat_model(api, model, **options).ainvoke(asked))


async def stream(api: str, model: str, text: str, **options: Any) -> Any:
    """Ask, and add up the chunks as LangChain does."""
    chunks: Any = [c async for c in chat_model(api, model, **options).astream(text)]
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    texts = sum(bool(chunk.text) for chunk in chunks)
    return {**told(whole), "chunks": len(chunks), "texts": texts}


async def tools(
    api: str, model: str, text: str, streamed: bool = False, **options: Any
) -> Any:
    """Call tools until there is an answer in words."""
    bound = chat_model(api, model, **options).bind_tools(list(TOOLS.values()))
    messages: list[Any] = [HumanMessage(text)]
    ran = []
    for _ in range(3):
        if streamed:
            chunks: Any = [chunk async for chunk in bound.astream(messages)]
            answer = chunks[0]
            for chunk in chunks[1:]:
                answer += chunk
        else:
            answer = await bound.ainvoke(messages)
        messages.append(answer)
        if not answer.tool_calls:
            break
        for call in answer.tool_calls:
            ran.append([call["name"], call["args"]])
            messages.append(await TOOLS[call["name"]].ainvoke(call))
    return {"ran": ran, "turns": len(messages), **told(messages[-1])}


async def structured(api: str, model: str, text: str, **options: Any) -> Any:
    """Ask for a person."""
    asked = chat_model(api, model).with_structured_output(Person, **options)
    person: Any = await asked.ainvoke(text)
    return {"class": type(person).__name__, **person.model_dump()}


CALLS = {"say": say, "stream": stream, "tools": tools, "structured": structured}
