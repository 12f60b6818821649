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
        quirks={
            "reasoning": "https://docs.vllm.ai/en/latest/features/reasoning_outputs.html"
        },
    ),
    "sglang": server(
        "SGLang",
        30000,
        "https://docs.sglang.ai/basic_usage/openai_api_completions.html",
        name="sglang",
    ),
    "llama_cpp": server(
        "llama.cpp",
        8080,
        "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        name="llama_cpp",
    ),
    "ollama": server(
        "Ollama",
        11434,
        "https://docs.ollama.com/api/openai-compatibility",
        name="ollama",
        quirks={
            "max_tokens": "https://docs.ollama.com/api/openai-compatibility",
            "no_logit_bias": "https://docs.ollama.com/api/openai-compatibility",
            "no_n": "https://docs.ollama.com/api/openai-compatibility",
            "reasoning": "https://github.com/ollama/ollama/blob/main/openai/openai.go",
        },
    ),
    "lm_studio": server(
        "LM Studio",
        1234,
        "https://lmstudio.ai/docs/developer/openai-compat/chat-completions",
        name="lm_studio",
        quirks={
            "max_tokens": "https://lmstudio.ai/docs/developer/openai-compat/chat-completions"
        },
    ),
    "tgi": server(
        "Text Generation Inference",
        8080,
        "https://huggingface.co/docs/text-generation-inference/messages_api",
        name="tgi",
        quirks={
            "max_tokens": "https://huggingface.github.io/text-generation-inference/",
            "no_n": "https://huggingface.github.io/text-generation-inference/",
            "no_logit_bias": "https://huggingface.github.io/text-generation-inference/",
            "stop_list": "https://huggingface.github.io/text-generation-inference/",
            "stop_4": "https://huggingface.github.io/text-generation-inference/",
        },
    ),
    "localai": server(
        "LocalAI", 8080, "https://localai.io/features/text-generation/", name="localai"
    ),
    "jan": server(
        "Jan", 1337, "https://www.jan.ai/docs/desktop/api-server", name="jan"
    ),
    "llamafile": server(
        "llamafile", 8080, "https://github.com/mozilla-ai/llamafile", name="llamafile"
    ),
    "xinference": server(
        "Xinference",
        9997,
        "https://inference.readthedocs.io/en/latest/getting_started/using_xinference.html",
        name="xinference",
    ),
    "lmdeploy": server(
        "LMDeploy",
        23333,
        "https://lmdeploy.readthedocs.io/en/latest/llm/api_server.html",
        name="lmdeploy",
    ),
    "docker_model_runner": server(
        "Docker Model Runner",
        12434,
        "https://docs.docker.com/ai/model-runner/api-reference/",
        name="docker_model_runner",
        path="/engines/v1",
    ),
    "nim": server(
        "NVIDIA NIM, self-hosted",
        8000,
        "https://docs.nvidia.com/nim/large-language-models/latest/api-reference.html",
        name="nim",
    ),
    "mlx_lm": server(
        "MLX LM",
        8080,
        "https://github.com/ml-explore/mlx-lm/blob/main/mlx_lm/SERVER.md",
        name="mlx_lm",
    ),
}
