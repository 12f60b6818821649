"""Model makers and inference services."""

from __future__ import annotations

from collections.abc import Mapping

from extproc.providers.presets.preset import Preset

_GROQ = "https://console.groq.com/docs/openai"

PRESETS: Mapping[str, Preset] = {
    "groq": Preset(
        title="Groq",
        name="groq",
        base_url="https://api.groq.com/openai/v1",
        key="GROQ_API_KEY",
        source=_GROQ,
        quirks={
            "no_logprobs": _GROQ,
            "no_logit_bias": _GROQ,
            "no_names": _GROQ,
            "no_n": _GROQ,
        },
    ),
    "deepseek": Preset(
        title="DeepSeek",
        name="deepseek",
        base_url="https://api.deepseek.com/v1",
        key="DEEPSEEK_API_KEY",
        source="https://api-docs.deepseek.com/",
        patterns=("deepseek-*",),
        models=("deepseek-chat", "deepseek-reasoner"),
    ),
    "xai": Preset(
        title="xAI",
        name="x_ai",
        base_url="https://api.x.ai/v1",
        key="XAI_API_KEY",
        source="https://docs.x.ai/docs/api-reference",
        patterns=("grok-*",),
        models=("grok-4", "grok-4-fast-reasoning", "grok-4-fast-non-reasoning"),
    ),
}
