"""What is not chat, asked for by a provider's own SDK and by a client of the gateway.

Each pair is (the SDK of who serves, a client of ours), for `test_sdk_requests`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from google.genai.types import EmbedContentConfig
from openai import NotFoundError

from tests.harness import BEDROCK

SOUND = ("a.wav", b"RIFF" + bytes(range(256)))
PICTURE = ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(50))
LINES = ("in.jsonl", b'{"custom_id":"1"}\n')
SAY: list[Any] = [{"role": "user", "content": "hello"}]
TEXTS = ["the sun", "the moon"]
CLAUDE = BEDROCK.partition(".")[2]
"""Without its geography: inference profiles have no tokens of their own."""

Call = Callable[[Any], object]


def _made(client: Any, model: str, what: str) -> object:
    """Ask for a picture or a sound, or to hear one."""
    match what:
        case "a picture":
            return client.images.generate(model=f"{model}gpt-image-1", prompt="a sun")
        case "an edited picture":
            return client.images.edit(
                model=f"{model}gpt-image-1", image=PICTURE, prompt="red", n=1
            )
        case "speech":
            return client.audio.speech.create(
                model=f"{model}tts-1", voice="alloy", input="Hello"
            )
        case "a transcription":
            return client.audio.transcriptions.create(
                model=f"{model}gpt-4o-transcribe", file=SOUND, language="en"
            )
        case _:
            return client.audio.transcriptions.create(
                model=f"{model}whisper-1", file=SOUND, response_format="text"
            )


def _kept(client: Any, what: str, **more: Any) -> object:
    """Ask for something that has an id, or make it."""
    match what:
        case "a file":
            return client.files.create(file=LINES, purpose="batch", **more)
        case "its files":
            return client.files.list(purpose="batch", limit=5, **more)
        case "its batches":
            return client.batches.list(limit=2, **more)
        case "a vector store":
            return client.vector_stores.create(name="docs", **more)
        case "its training":
            return client.fine_tuning.jobs.list(limit=3, **more)
        case "a stored response":
            return _absent(client.responses.retrieve, "resp_0", **more)
        case _:
            return _absent(client.files.content, "file-0", **more)


def _absent(call: Callable[..., object], *args: Any, **more: Any) -> object:
    """Ask for what is not there: the request is what matters."""
    with pytest.raises(NotFoundError):
        call(*args, **more)
    return None


def _at(name: str) -> dict[str, Any]:
    return {"extra_headers": {"x-extproc-provider": name}}


def _invoked(boto: Any, model: str, **body: Any) -> object:
    return boto.invoke_model(
        modelId=model, body=json.dumps(body), contentType="application/json"
    )


def _azures(w: Any, name: str) -> Any:
    return w.azure() if name == "azure" else w.azure_v1()


def _makes(name: str, what: str) -> tuple[Call, Call]:
    return (
        lambda w: _made(_azures(w, name), "", what),
        lambda w: _made(w.gpt(), f"{name}/", what),
    )


def _keeps(name: str, what: str) -> tuple[Call, Call]:
    return (
        lambda w: _kept(_azures(w, name), what),
        lambda w: _kept(w.gpt(), what, **_at(name)),
    )


AZURES = ("azure", "azure-v1")
MADE = (
    "a picture", "an edited picture", "speech", "a transcription",
    "a transcription in words",
)  # fmt: skip
KEPT = (
    "a file", "its files", "its batches", "a vector store", "its training",
    "a stored response", "a file's content",
)  # fmt: skip
OTHERS: dict[str, tuple[Call, Call]] = {
    **{f"{name}, {what}": _makes(name, what) for name in AZURES for what in MADE},
    **{f"{name}, {what}": _keeps(name, what) for name in AZURES for what in KEPT},
    "azure, counting": (
        lambda w: w.azure().responses.input_tokens.count(model="gpt-4o", input="hello"),
        lambda w: w.gpt().responses.input_tokens.count(
            model="azure/gpt-4o", input="hello"
        ),
    ),
    "azure v1, counting": (
        lambda w: w.azure_v1().responses.input_tokens.count(
            model="gpt-4o", input="hello"
        ),
        lambda w: w.gpt().responses.input_tokens.count(
            model="azure-v1/gpt-4o", input="hello"
        ),
    ),
    "azure v1, embeddings": (
        lambda w: w.azure_v1().embeddings.create(
            model="text-embedding-3-small", input=TEXTS
        ),
        lambda w: w.gpt().embeddings.create(
            model="azure-v1/text-embedding-3-small", input=TEXTS
        ),
    ),
    "azure v1, streamed": (
        lambda w: w.azure_v1().chat.completions.create(
            model="gpt-4o", messages=SAY, stream=True,
            stream_options={"include_usage": True},
        ),
        lambda w: w.gpt().chat.completions.create(
            model="azure-v1/gpt-4o", messages=SAY, stream=True,
            stream_options={"include_usage": True},
        ),
    ),
    "bedrock, counting a body of InvokeModel": (
        lambda w: w.boto().count_tokens(
            modelId=CLAUDE,
            input={
                "invokeModel": {
                    "body": json.dumps(
                        {
                            "anthropic_version": "2026-10-21",
                            "messages": SAY, "max_tokens": 1,
                        }
                    )
                }
            },
        ),
        lambda w: w.claude().messages.count_tokens(
            model=f"signed/{BEDROCK}", messages=SAY
        ),
    ),
    "converse, counting": (
        lambda w: w.boto().count_tokens(
            modelId=CLAUDE,
            input={"converse": {"messages": [{"role": "user", "content": [{"text": "hello"}]}]}},
        ),
        lambda w: w.claude().messages.count_tokens(
            model=f"converse/{BEDROCK}", messages=SAY
        ),
    ),
    "bedrock, Titan's embeddings": (
        lambda w: _invoked(
            w.boto(), "amazon.titan-embed-text-v2:0", inputText="hello", dimensions=256
        ),
        lambda w: w.gpt().embeddings.create(
            model="converse/amazon.titan-embed-text-v2:0", input="hello", dimensions=256
        ),
    ),
    "bedrock, Cohere's embeddings": (
        lambda w: _invoked(
            w.boto(), "cohere.embed-english-v3",
            texts=TEXTS, input_type="search_document", embedding_types=["float"],
        ),
        lambda w: w.gpt().embeddings.create(
            model="converse/cohere.embed-english-v3", input=TEXTS,
            extra_body={"input_type": "search_document"},
        ),
    ),
    "bedrock, a ranking": (
        lambda w: _invoked(
            w.boto(), "cohere.rerank-v3-5:0",
            query="sun", documents=TEXTS, top_n=1, api_version=2,
        ),
        lambda w: w.rank("converse/cohere.rerank-v3-5:0"),
    ),
    "studio, embeddings": (
        lambda w: w.studio().models.embed_content(
            model="gemini-embedding-001", contents=TEXTS,
            config=EmbedContentConfig(output_dimensionality=8),
        ),
        lambda w: w.gpt().embeddings.create(
            model="studio/gemini-embedding-001", input=TEXTS, dimensions=8
        ),
    ),
    "studio, counting": (
        lambda w: w.studio().models.count_tokens(
            model="gemini-2.5-flash", contents="hello"
        ),
        lambda w: w.claude().messages.count_tokens(
            model="studio/gemini-2.5-flash", messages=SAY
        ),
    ),
    "vertex, embeddings by prediction": (
        lambda w: w.gemini().models.embed_content(
            model="text-embedding-005", contents=TEXTS,
            config=EmbedContentConfig(
                output_dimensionality=8, task_type="RETRIEVAL_QUERY"
            ),
        ),
        lambda w: w.gpt().embeddings.create(
            model="gemini/text-embedding-005", input=TEXTS, dimensions=8,
            extra_body={"task_type": "RETRIEVAL_QUERY"},
        ),
    ),
    "vertex, an embedding": (
        lambda w: w.gemini().models.embed_content(
            model="gemini-embedding-2", contents="hello",
            config=EmbedContentConfig(output_dimensionality=8),
        ),
        lambda w: w.gpt().embeddings.create(
            model="gemini/gemini-embedding-2", input="hello", dimensions=8
        ),
    ),
    "vertex, counting for Gemini": (
        lambda w: w.gemini().models.count_tokens(
            model="gemini-2.5-flash", contents="hello"
        ),
        lambda w: w.claude().messages.count_tokens(
            model="gemini/gemini-2.5-flash", messages=SAY
        ),
    ),
    "vertex, Gemini": (
        lambda w: w.gemini().models.generate_content(
            model="gemini-2.5-flash", contents="hello"
        ),
        lambda w: w.gpt().chat.completions.create(
            model="gemini/gemini-2.5-flash", messages=SAY
        ),
    ),
    "vertex, Gemini streamed": (
        lambda w: list(
            w.gemini().models.generate_content_stream(
                model="gemini-2.5-flash", contents="hello"
            )
        ),
        lambda w: w.gpt().chat.completions.create(
            model="gemini/gemini-2.5-flash", messages=SAY, stream=True
        ),
    ),
    "mistral, embeddings": (
        lambda w: w.mistral().embeddings.create(
            model="mistral-embed", inputs=TEXTS, output_dimension=8
        ),
        lambda w: w.gpt().embeddings.create(
            model="mistral/mistral-embed", input=TEXTS, dimensions=8,
            encoding_format="float",
        ),
    ),
    "cohere": (
        lambda w: w.co().chat(model="command-a-03-2025", messages=SAY, max_tokens=9),
        lambda w: w.gpt().chat.completions.create(
            model="cohere/command-a-03-2025", messages=SAY, max_tokens=9
        ),
    ),
    "cohere, streamed": (
        lambda w: list(w.co().chat_stream(model="command-a-03-2025", messages=SAY)),
        lambda w: w.gpt().chat.completions.create(
            model="cohere/command-a-03-2025", messages=SAY, stream=True
        ),
    ),
    "cohere, embeddings": (
        lambda w: w.co().embed(
            model="embed-v4.0", texts=TEXTS, input_type="search_query",
            output_dimension=256, embedding_types=["float"],
        ),
        lambda w: w.gpt().embeddings.create(
            model="cohere/embed-v4.0", input=TEXTS, dimensions=256,
            extra_body={"input_type": "search_query"}, encoding_format="float",
        ),
    ),
    "cohere, a ranking": (
        lambda w: w.co().rerank(
            model="rerank-v3.5", query="sun", documents=TEXTS, top_n=1
        ),
        lambda w: w.rank("cohere/rerank-v3.5"),
    ),
}  # fmt: skip
