"""Servers that one runs oneself."""

from __future__ import annotations

from collections.abc import Mapping

from extproc.providers.presets.preset import Preset, server

PRESETS: Mapping[str, Preset] = {
    "vllm": server(
        "vLLM",
        8000,
        "https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
        name="vllm",
    ),
    "ollama": server(
        "Ollama", 11434, "https://docs.ollama.com/api/openai-compatibility",
        name="ollama",
    ),
}  # fmt: skip
