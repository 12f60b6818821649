"""Mistral: https://docs.mistral.ai/api, OpenAI's chat with words of its own.

The members are those of ``ChatCompletionRequest`` of ``mistralai``; it refuses others (422
``extra_forbidden``). ``prompt_mode``,
``safe_prompt``, ``guardrails`` and what else only its own clients say passes as it is; for
clients of other APIs ``prefix`` is set where an assistant message stands last.
"""

from __future__ import annotations

from extproc.formats import openai_chat
from extproc.formats.embeddings import output_dimension
from extproc.formats.openai_chat.quirks import quirky
from extproc.providers.base import Dialect, Provider

QUIRKS = (
    "max_tokens", "usage_unasked", "random_seed", "tool_ids", "prefix",
    "document_url", "audio_string", "thinking_chunks", "argument_objects",
    "no_developer_role", "no_names", "no_answer_members", "no_logit_bias", "no_user",
    "no_store", "no_web_search", "failed_finish", "service_tier_standard", "no_verbosity", "no_prompt_cache_options",
    "no_cache_breakpoints", "no_proofs_back",
)  # fmt: skip

PROVIDER = Provider(
    name="mistral_ai",
    title="Mistral",
    format=quirky(openai_chat.PROVIDER, QUIRKS, "Mistral"),
    base_url="https://api.mistral.ai/v1",
    chat_path="/chat/completions",
    others=(Dialect(output_dimension.MISTRAL, "/embeddings"),),
    forward_path="{path}",
    credential_header="authorization",
    credential_prefix="Bearer ",
    key_variable="MISTRAL_API_KEY",
    model_patterns=(
        "mistral-*", "ministral-*", "magistral-*", "codestral-*", "devstral-*",
        "pixtral-*", "voxtral-*", "open-mistral-*",
    ),
    models=(
        "mistral-large-latest", "mistral-medium-latest", "mistral-small-latest",
        "magistral-medium-latest", "codestral-latest",
    ),
    quirks=QUIRKS,
    source="https://docs.mistral.ai/api",
)  # fmt: skip
