"""LiteLLM as a client: its openai, anthropic and responses calls, one base URL each."""

from __future__ import annotations

import os
from typing import Any

import litellm

URL, KEY = os.environ["BASE_URL"], os.environ["KEY"]
litellm.suppress_debug_info = True


def where(api: str, model: str) -> dict[str, Any]:
    """Return what names the model and its address."""
    base = URL if api == "anthropic" else f"{URL}/v1"
    prefix = "anthropic" if api == "anthropic" else "openai"
    return {
        "model": f"{prefix}/{model}",
        "api_base": base,
        "api_key": KEY,
        "num_retries": 0,
        "timeout": 20,
    }


async def chat(api: str, model: str, **ask: Any) -> Any:
    """Ask as one asks chat, whichever API it goes to."""
    answer: Any = await litellm.acompletion(**where(api, model), **ask)
    return answer.model_dump()


async def stream(api: str, model: str, **ask: Any) -> Any:
    """Ask, listen, and let LiteLLM put the chunks together."""
    chunks = [
        chunk
        async for chunk in await litellm.acompletion(
            **where(api, model),
            **ask,
            stream=True,
            stream_options={"include_usage": True},
        )
    ]
    whole: Any = litellm.stream_chunk_builder(chunks)
    return {"chunks": len(chunks), **whole.model_dump()}


async def responses(api: str, model: str, **ask: Any) -> Any:
    """Ask as one asks Responses."""
    answer: Any = await litellm.aresponses(**where(api, model), **ask)
    if not ask.get("stream"):
        return answer.model_dump()
    events = [event async for event in answer]
    return {
        "kinds": [str(getattr(e.type, "value", e.type)) for e in events],
        "response": events[-1].response.model_dump(),
    }


CALLS = {"chat": chat, "stream": stream, "responses": responses}
