"""OpenAI: https://platform.openai.com/docs/api-reference, chat and responses."""

from __future__ import annotations

from extproc.formats import openai_chat, openai_completions, openai_responses
from extproc.formats.openai_responses import input_tokens
from extproc.providers import openai_dialects
from extproc.providers.base import Dialect, Provider

PROVIDER = Provider(
    name="openai",
    format=openai_chat.PROVIDER,
    base_url="https://api.openai.com/v1",
    chat_path="/chat/completions",
    others=(
        Dialect(openai_responses.PROVIDER, "/responses"),
        Dialect(input_tokens.PROVIDER, "/responses/input_tokens"),
        Dialect(
            openai_completions.PROVIDER,
            "/completions",
            # https://platform.openai.com/docs/models: the others answer as a chat.
            families=("gpt-3.5-turbo-instruct", "davinci-", "babbage-"),
        ),
        *openai_dialects.COMMON,
    ),
    forward_path="{path}",
    request_id_header="x-request-id",
    credential_header="authorization",
    credential_prefix="Bearer ",
    key_variable="OPENAI_API_KEY",
    model_patterns=("gpt-*", "chatgpt-*", "o1*", "o3*", "o4*"),
    models=(
        "gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano",
        "gpt-5", "gpt-5-mini", "gpt-5-nano", "o3", "o4-mini",
    ),
)  # fmt: skip
