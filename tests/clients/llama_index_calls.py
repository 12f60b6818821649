"""LlamaIndex, as its users call it: OpenAILike, which takes any model's name."""

from __future__ import annotations

import os
from typing import Any

from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

URL, KEY = os.environ["BASE_URL"], os.environ["KEY"]


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int


def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"sunny in {city}"


def model_of(model: str) -> OpenAILike:
    """Return a model."""
    return OpenAILike(
        model=model,
        api_base=f"{URL}/v1",
        api_key=KEY,
        is_chat_model=True,
        is_function_calling_model=True,
        max_retries=0,
        timeout=20,
        max_tokens=2048,
    )


def asked(text: str) -> list[ChatMessage]:
    """Return a conversation."""
    return [
        ChatMessage(role="system", content="Be brief."),
        ChatMessage(role="user", content=text),
    ]


async def say(model: str, text: str) -> Any:
    """Ask."""
    answer = await model_of(model).achat(asked(text))
    raw: Any = answer.raw
    return {"text": answer.message.content, "usage": raw.usage.model_dump()}


async def stream(model: str, text: str) -> Any:
    """Ask, and listen."""
    chunks = [chunk async for chunk in await model_of(model).astream_chat(asked(text))]
    return {
        "text": chunks[-1].message.content,
        "deltas": "".join(chunk.delta or "" for chunk in chunks),
        "chunks": len(chunks),
    }


async def tools(model: str, text: str) -> Any:
    """Call the tool that the model wants, and tell it the result."""
    llm, tool = model_of(model), FunctionTool.from_defaults(fn=get_weather)
    history = asked(text)
    answer = await llm.achat_with_tools([tool], chat_history=history)
    history.append(answer.message)
    ran = []
    for call in llm.get_tool_calls_from_response(answer):
        ran.append([call.tool_name, call.tool_kwargs])
        history.append(
            ChatMessage(
                role="tool",
                content=str(tool(**call.tool_kwargs)),
                additional_kwargs={"tool_call_id": call.tool_id},
            )
        )
    last = await llm.achat_with_tools([tool], chat_history=history)
    return {"ran": ran, "text": last.message.content}


async def structured(model: str, text: str) -> Any:
    """Ask for a person."""
    prompt = PromptTemplate("{text}")
    person = await model_of(model).astructured_predict(Person, prompt, text=text)
    return {"class": type(person).__name__, **person.model_dump()}


CALLS = {"say": say, "stream": stream, "tools": tools, "structured": structured}
