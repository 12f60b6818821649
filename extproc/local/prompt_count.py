"""How many tokens a prompt has, where that can be known without asking: OpenAI's own text.

OpenAI publishes its vocabularies and how chats of GPT-3.5, GPT-4 and GPT-4o are framed: 3
tokens around a message, 1 more for a name, and 3 that begin the answer. Nothing is
published of how tools, pictures, several parts or a schema are written out, nor of how
newer models frame a chat: there the worker's estimate stands.

`bpe-openai` has the vocabularies in it and downloads nothing; it takes a second to load and
some 100 MB, so it is for this command alone, and for no process that serves.
https://developers.openai.com/cookbook/examples/how_to_count_tokens_with_tiktoken
https://github.com/openai/tiktoken/blob/main/tiktoken/model.py
"""

from __future__ import annotations

from functools import cache
from typing import Final, Protocol

import msgspec

from extproc.policy.estimate import prompt_tokens

AROUND: Final = 3
NAMED: Final = 1
BEGUN: Final = 3

_CHAT: Final = (
    ("gpt-4o", "o200k_base"),
    ("chatgpt-4o-", "o200k_base"),
    ("gpt-4-", "cl100k_base"),
    ("gpt-3.5-turbo", "cl100k_base"),
)
"""Encoding of the chat models whose framing is published, by how their names begin."""
_TEXT: Final = (
    ("gpt-3.5-turbo-instruct", "cl100k_base"),
    ("davinci-002", "cl100k_base"),
    ("babbage-002", "cl100k_base"),
    ("text-embedding-3-", "cl100k_base"),
    ("text-embedding-ada-002", "cl100k_base"),
)
"""Of those that are sent text as it is."""
_HEARS: Final = ("audio", "realtime", "transcribe", "tts", "search")
"""In names of models that begin as others do, and are told more than the messages."""

_SPEAKERS: Final = ("system", "developer", "user", "assistant")
_MESSAGE: Final = {"role", "content", "name"}
_SILENT: Final = {
    "frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens",
    "messages", "metadata", "model", "n", "presence_penalty", "prompt_cache_key",
    "safety_identifier", "seed", "service_tier", "stop", "store", "stream",
    "stream_options", "temperature", "top_logprobs", "top_p", "user",
}  # fmt: skip
"""Fields of a chat of which the model is told nothing but the messages."""


class PromptCount(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of the prompt that one provider is sent."""

    tokens: int
    encoding: str | None = None
    """Whose tokens they are: it is their exact number. None: it is the estimate."""
    why: str = ""
    """It is only the estimate."""


class _Unknown(Exception):
    """The tokens cannot be told without asking the provider."""


class _Encoding(Protocol):
    def encode_ordinary(self, text: str) -> list[int]: ...


def count(provider: str, path: str, body: bytes) -> PromptCount:
    """Return how many tokens the prompt in `body` has.

    Args:
        provider: the provider's type, such as ``openai``.
        path: where `body` is sent.
        body: JSON, as the provider receives it.
    """
    try:
        model, texts, around = _read(provider, path, body)
        encoding = _named(model, path)
        tokens = around + sum(len(_encode(encoding, text)) for text in texts)
    except _Unknown as unknown:
        return PromptCount(prompt_tokens(body).expected, why=str(unknown))
    return PromptCount(tokens, encoding)


def said(found: PromptCount) -> str:
    """Return it as a person reads it."""
    if found.encoding is None:
        return f"about {found.tokens} tokens in, an estimate: {found.why}"
    return f"{found.tokens} tokens in, exactly ({found.encoding})"


def _named(model: str, path: str) -> str:
    # As `ft:gpt-4o-mini-2024-07-18:acme::id`.
    name = model.removeprefix("ft:")
    known = _CHAT if path.endswith("/chat/completions") else _TEXT
    if name == "gpt-4":
        return "cl100k_base"
    if not any(part in name for part in _HEARS):
        for start, encoding in known:
            if name.startswith(start):
                return encoding
    raise _Unknown(f"OpenAI has not published how {model} is told a prompt")


def _read(provider: str, path: str, body: bytes) -> tuple[str, list[str], int]:
    """Return the model, the texts that it is told, and the tokens around them."""
    if provider != "openai":
        raise _Unknown("only OpenAI's tokenizers are public")
    sent: dict[str, object] = {
        name: value
        for name, value in msgspec.json.decode(body, type=dict[str, object]).items()
        if value is not None
    }
    model = str(sent.get("model", ""))
    if path.endswith("/chat/completions"):
        if more := sorted(sent.keys() - _SILENT - _plain_format(sent)):
            raise _Unknown(f"{', '.join(more)} in the request")
        messages = sent.get("messages")
        if not isinstance(messages, list):
            raise _Unknown("the request has no messages")
        return model, *_chat(messages)
    for field, ending in (("prompt", "/completions"), ("input", "/embeddings")):
        if path.endswith(ending):
            if sent.get("suffix"):
                raise _Unknown("suffix in the request")
            return model, _texts(sent.get(field)), 0
    raise _Unknown("OpenAI has published it of chats, completions and embeddings alone")


def _chat(messages: list[object]) -> tuple[list[str], int]:
    texts: list[str] = []
    around = BEGUN
    for message in messages:
        if not isinstance(message, dict):
            raise _Unknown("a message is no object")
        told = {name: value for name, value in message.items() if value is not None}
        if more := sorted(told.keys() - _MESSAGE):
            raise _Unknown(f"{', '.join(more)} in a message")
        role, name = told.get("role"), told.get("name")
        if role not in _SPEAKERS:
            raise _Unknown(f"a message of role {role}")
        texts += [str(role), _content(told.get("content"))]
        around += AROUND
        if name is not None:
            texts.append(str(name))
            around += NAMED
    return texts, around


def _content(content: object) -> str:
    match content:
        case str():
            return content
        case [{"type": "text", "text": str(text)}]:
            return text
        case _:
            raise _Unknown("a message that is not one text")


def _texts(given: object) -> list[str]:
    """Return a prompt's or an input's texts, of which each stands for itself."""
    several = given if isinstance(given, list) else [given]
    texts = [one for one in several if isinstance(one, str)]
    if not texts or len(texts) < len(several):
        raise _Unknown("what is asked is not text")
    return texts


def _plain_format(sent: dict[str, object]) -> set[str]:
    plain = sent.get("response_format") == {"type": "text"}
    return {"response_format"} if plain else set()


def _encode(encoding: str, text: str) -> list[int]:
    try:
        return _loaded(encoding).encode_ordinary(text)
    except ImportError:
        raise _Unknown(
            "bpe-openai is not installed (pip install 'extproc[counting]')"
        ) from None
    except ValueError:
        raise _Unknown("a text is too long for bpe-openai") from None


@cache
def _loaded(encoding: str) -> _Encoding:
    import bpe_openai  # noqa: PLC0415

    loaded: _Encoding = bpe_openai.get_encoding(encoding)
    return loaded
