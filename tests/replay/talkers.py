"""Applications that hold a conversation, each as its official SDK makes it do that.

Every one of them gives an answer back in the way that the SDK's own documentation shows,
runs the tools that are called, and goes on until the model has nothing to call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import anthropic
import openai
from openai.types.chat import ChatCompletionMessage

from tests.replay.gateway import Gateway

Json = dict[str, Any]

PARAMETERS: Final = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
RESULT: Final = "12 degrees"


class Talker:
    """An application with one tool."""

    def __init__(self, gateway: Gateway, *, streamed: bool) -> None:
        self.gateway = gateway
        self.streamed = streamed
        self.history: list[Any] = []
        self.calls = 0
        self.thoughts = ""
        """All that was shown of the model's."""

    def say(self, model: str, text: str) -> str:
        """Ask, run tools until none is called, and return the last words."""
        self.history.append({"role": "user", "content": text})
        for _ in range(3):
            words, calls = self.step(model)
            if not calls:
                return words
            self.calls += len(calls)
        raise AssertionError("the model does nothing but call")

    def step(self, model: str) -> tuple[str, list[str]]:
        """Take one turn; return its words and the ids of its calls."""
        raise NotImplementedError


class Chat(Talker):
    """``openai`` and chat completions; the message goes back as a dict."""

    tools: Final = [
        {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
    ]  # fmt: skip

    def step(self, model: str) -> tuple[str, list[str]]:
        message = self.answer(model)
        self.history.append(self.given_back(message))
        self.thoughts += (message.model_extra or {}).get("reasoning_content") or ""
        calls = [call.id for call in message.tool_calls or ()]
        self.history += [
            {"role": "tool", "tool_call_id": id_, "content": RESULT} for id_ in calls
        ]
        return message.content or "", calls

    def answer(self, model: str) -> Any:
        asks: Json = {
            "model": model, "messages": self.history, "tools": self.tools,
            "reasoning_effort": "low", "max_completion_tokens": 9000,
        }  # fmt: skip
        chat = self.gateway.openai.chat.completions
        if not self.streamed:
            return chat.create(**asks).choices[0].message
        with chat.stream(**asks) as stream:
            return stream.get_final_completion().choices[0].message

    def given_back(self, message: Any) -> Any:
        said: Json = message.model_dump(exclude_none=True)
        said.pop("parsed", None)
        for call in said.get("tool_calls") or ():
            call.pop("index", None)
            call["function"].pop("parsed_arguments", None)
        return said


class ChatObject(Chat):
    """The same; the message goes back as the object that it is."""

    def given_back(self, message: Any) -> Any:
        return message


class ChatBare(Chat):
    """A framework in between knows OpenAI's own fields only, and drops all others."""

    def given_back(self, message: Any) -> Any:
        said: Json = {"role": "assistant", "content": message.content}
        if message.tool_calls:
            said["tool_calls"] = [
                {"id": call.id, "type": "function",
                 "function": {"name": call.function.name, "arguments": call.function.arguments}}
                for call in message.tool_calls
            ]  # fmt: skip
        return said


class ChatLastPiece(Chat):
    """The npm SDK's stream helper: of an extension, a later piece replaces the earlier."""

    def answer(self, model: str) -> Any:
        message: Json = {"role": "assistant", "content": ""}
        calls: dict[int, Json] = {}
        asks: Json = {
            "model": model, "messages": self.history, "tools": self.tools,
            "reasoning_effort": "low", "max_completion_tokens": 9000,
        }  # fmt: skip
        stream = self.gateway.openai.chat.completions.create(**asks, stream=True)
        for chunk in stream:
            for choice in chunk.choices:
                delta = choice.delta.model_dump(exclude_none=True)
                message["content"] += delta.pop("content", "")
                for piece in delta.pop("tool_calls", ()):
                    call = calls.setdefault(piece.pop("index"), piece)
                    if call is not piece:
                        arguments = piece.pop("function", {}).get("arguments", "")
                        call["function"]["arguments"] += arguments
                        call |= piece
                message |= delta
        if calls:
            message["tool_calls"] = list(calls.values())
        return ChatCompletionMessage.model_validate(message)


class Responses(Talker):
    """``openai`` and Responses; the output's items go back as they are."""

    more: ClassVar[Json] = {}

    def step(self, model: str) -> tuple[str, list[str]]:
        response = self.answer(model)
        self.history += self.given_back(response)
        calls = []
        for item in response.output:
            if item.type == "reasoning":
                self.thoughts += "".join(part.text for part in item.summary)
            elif item.type == "function_call":
                calls.append(item.call_id)
        self.history += [
            {"type": "function_call_output", "call_id": id_, "output": RESULT}
            for id_ in calls
        ]
        return response.output_text, calls

    def answer(self, model: str) -> openai.types.responses.Response:
        tool = {
            "type": "function", "name": "get_weather", "parameters": PARAMETERS,
            "strict": True,
        }  # fmt: skip
        asks: Json = {
            "model": model, "input": self.history, "tools": [tool],
            "reasoning": {"effort": "low", "summary": "auto"},
            "max_output_tokens": 9000, **self.more,
        }  # fmt: skip
        responses = self.gateway.openai.responses
        if not self.streamed:
            return responses.create(**asks)
        with responses.stream(**asks) as stream:
            return stream.get_final_response()

    def given_back(self, response: Any) -> list[Any]:
        return list(response.output)


class ResponsesEncrypted(Responses):
    """The same, with nothing stored at OpenAI."""

    more: ClassVar[Json] = {"include": ["reasoning.encrypted_content"], "store": False}


class ResponsesDumped(ResponsesEncrypted):
    """The same; the items go back as dicts."""

    def given_back(self, response: Any) -> list[Any]:
        return [
            item.model_dump(exclude_none=True, exclude={"parsed_arguments", "parsed"})
            for item in response.output
        ]


class ResponsesBare(ResponsesEncrypted):
    """A framework in between gives words and calls back, and drops reasoning."""

    def given_back(self, response: Any) -> list[Any]:
        said: list[Any] = []
        for item in response.output:
            if item.type == "message":
                said.append({"role": "assistant", "content": response.output_text})
            elif item.type == "function_call":
                said.append(
                    {"type": "function_call", "call_id": item.call_id,
                     "name": item.name, "arguments": item.arguments}
                )  # fmt: skip
        return said


class Messages(Talker):
    """``anthropic`` and Messages; the content goes back as it is."""

    def step(self, model: str) -> tuple[str, list[str]]:
        message = self.answer(model)
        self.history.append(self.given_back(message))
        words, calls = "", []
        for block in message.content:
            if block.type == "thinking":
                self.thoughts += block.thinking
            elif block.type == "tool_use":
                calls.append(block.id)
            elif block.type == "text":
                words += block.text
        if calls:
            results = [
                {"type": "tool_result", "tool_use_id": id_, "content": RESULT}
                for id_ in calls
            ]
            self.history.append({"role": "user", "content": results})
        return words, calls

    def answer(self, model: str) -> anthropic.types.Message:
        tool = {"name": "get_weather", "input_schema": PARAMETERS}
        asks: Json = {
            "model": model, "messages": self.history, "tools": [tool],
            "max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 2000},
        }  # fmt: skip
        messages = self.gateway.anthropic.messages
        if not self.streamed:
            return messages.create(**asks)
        with messages.stream(**asks) as stream:
            return stream.get_final_message()

    def given_back(self, message: Any) -> Json:
        return {"role": "assistant", "content": message.content}


class MessagesDumped(Messages):
    """The same; the blocks go back as dicts."""

    def given_back(self, message: Any) -> Json:
        blocks = [
            block.model_dump(exclude_none=True, exclude={"parsed_output"})
            for block in message.content
        ]
        return {"role": "assistant", "content": blocks}


class MessagesBare(Messages):
    """A framework in between drops the thinking."""

    def given_back(self, message: Any) -> Json:
        kept = [b for b in message.content if b.type in {"text", "tool_use"}]
        return {"role": "assistant", "content": kept}


FAITHFUL: Final[Mapping[str, Callable[..., Talker]]] = {
    "chat": Chat,
    "chat object": ChatObject,
    "responses": Responses,
    "responses encrypted": ResponsesEncrypted,
    "responses dumped": ResponsesDumped,
    "messages": Messages,
    "messages dumped": MessagesDumped,
}
FORGETFUL: Final[Mapping[str, Callable[..., Talker]]] = {
    "chat": ChatBare,
    "chat last piece": ChatLastPiece,
    "responses": ResponsesBare,
    "messages": MessagesBare,
}
