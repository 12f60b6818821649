"""Model makers and clouds of Asia."""

from __future__ import annotations

from collections.abc import Mapping

from extproc.providers.presets.preset import Preset

_KIMI_THINKING = "https://platform.moonshot.cn/docs/guide/use-kimi-k2-thinking-model"
_ZAI = {
    **dict.fromkeys(
        (
            "max_tokens",
            "no_n",
            "no_logprobs",
            "no_penalties",
            "no_logit_bias",
            "no_parallel_tool_calls",
            "no_store",
            "no_metadata",
            "no_service_tier",
            "no_prediction",
            "no_prompt_cache_key",
            "no_verbosity",
        ),
        "https://github.com/zai-org/z-ai-sdk-python",
    ),
    "reasoning_back": "https://docs.z.ai/guides/capabilities/thinking-mode",
}

PRESETS: Mapping[str, Preset] = {
    "dashscope": Preset(
        title="Alibaba Model Studio",
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        key="DASHSCOPE_API_KEY",
        source="https://www.alibabacloud.com/help/en/model-studio/compatibility-of-openai-with-dashscope",
        patterns=("qwen*",),
    ),
    "dashscope_cn": Preset(
        title="Alibaba Model Studio, China",
        base_url="https://dashscope.aliyuncs.com/compatible-mode/v1",
        key="DASHSCOPE_CN_API_KEY",
        source="https://help.aliyun.com/zh/model-studio/compatibility-of-openai-with-dashscope",
        patterns=("qwen*",),
    ),
    "moonshot": Preset(
        title="Moonshot AI",
        base_url="https://api.moonshot.ai/v1",
        key="MOONSHOT_API_KEY",
        source="https://platform.kimi.ai/docs/api/chat",
        patterns=(
            "kimi-*",
            "moonshot-*",
        ),
        models=("kimi-k2.6",),
        quirks={"reasoning_required": _KIMI_THINKING},
    ),
    "moonshot_cn": Preset(
        title="Moonshot AI, China",
        base_url="https://api.moonshot.cn/v1",
        key="MOONSHOT_CN_API_KEY",
        source="https://platform.moonshot.cn/docs/api/chat",
        patterns=(
            "kimi-*",
            "moonshot-*",
        ),
        models=("kimi-k2.6",),
        quirks={"reasoning_required": _KIMI_THINKING},
    ),
    "zai": Preset(
        title="Z.AI",
        base_url="https://api.z.ai/api/paas/v4",
        key="ZAI_API_KEY",
        source="https://docs.z.ai/api-reference/llm/chat-completion",
        patterns=("glm-*",),
        quirks=_ZAI,
    ),
    "zhipu": Preset(
        title="Zhipu AI",
        base_url="https://open.bigmodel.cn/api/paas/v4",
        key="ZHIPU_API_KEY",
        source="https://docs.bigmodel.cn/api-reference",
        patterns=("glm-*",),
        quirks=_ZAI,
    ),
    "minimax": Preset(
        title="MiniMax",
        base_url="https://api.minimax.io/v1",
        key="MINIMAX_API_KEY",
        source="https://platform.minimax.io/docs/api-reference/text-openai-api",
        patterns=("MiniMax-*",),
        models=(
            "MiniMax-M3",
            "MiniMax-M2.7",
        ),
        quirks={
            "no_n": "https://platform.minimax.io/docs/api-reference/text-openai-api",
            "no_penalties": "https://platform.minimax.io/docs/api-reference/text-openai-api",
            "no_logit_bias": "https://platform.minimax.io/docs/api-reference/text-openai-api",
            "base_resp": "https://platform.minimax.io/docs/api-reference/errorcode",
        },
    ),
    "minimax_cn": Preset(
        title="MiniMax, China",
        base_url="https://api.minimaxi.com/v1",
        key="MINIMAX_CN_API_KEY",
        source="https://platform.minimaxi.com/docs/api-reference/text-openai-api",
        quirks={
            "no_n": "https://platform.minimax.io/docs/api-reference/text-openai-api",
            "no_penalties": "https://platform.minimax.io/docs/api-reference/text-openai-api",
            "no_logit_bias": "https://platform.minimax.io/docs/api-reference/text-openai-api",
            "base_resp": "https://platform.minimax.io/docs/api-reference/errorcode",
        },
    ),
    "volcengine": Preset(
        title="Volcengine Ark",
        base_url="https://ark.cn-beijing.volces.com/api/v3",
        key="ARK_API_KEY",
        source="https://www.volcengine.com/docs/82379/1298459",
        patterns=("doubao-*",),
    ),
    "siliconflow": Preset(
        title="SiliconFlow",
        base_url="https://api.siliconflow.com/v1",
        key="SILICONFLOW_API_KEY",
        source="https://docs.siliconflow.com/en/api-reference/chat-completions/chat-completions",
    ),
    "siliconflow_cn": Preset(
        title="SiliconFlow, China",
        base_url="https://api.siliconflow.cn/v1",
        key="SILICONFLOW_CN_API_KEY",
        source="https://docs.siliconflow.cn/cn/api-reference/chat-completions/chat-completions",
    ),
    "hunyuan": Preset(
        title="Tencent Hunyuan",
        base_url="https://api.hunyuan.cloud.tencent.com/v1",
        key="HUNYUAN_API_KEY",
        source="https://cloud.tencent.com/document/product/1729/111007",
        patterns=("hunyuan-*",),
    ),
    "qianfan": Preset(
        title="Baidu Qianfan",
        base_url="https://qianfan.baidubce.com/v2",
        key="QIANFAN_API_KEY",
        source="https://cloud.baidu.com/doc/qianfan-api/index.html",
        patterns=("ernie-*",),
    ),
    "stepfun": Preset(
        title="StepFun",
        base_url="https://api.stepfun.com/v1",
        key="STEPFUN_API_KEY",
        source="https://platform.stepfun.com/docs/zh/api-reference/chat/chat-completion-create",
        patterns=("step-*",),
        quirks={
            "reasoning": "https://platform.stepfun.com/docs/zh/api-reference/chat/chat-completion-create"
        },
    ),
    "xiaomi": Preset(
        title="Xiaomi MiMo",
        base_url="https://api.xiaomimimo.com/v1",
        key="XIAOMI_API_KEY",
        source="https://platform.xiaomimimo.com/static/docs/api/chat/openai-api.md",
        patterns=("mimo-*",),
    ),
    "modelscope": Preset(
        title="ModelScope",
        base_url="https://api-inference.modelscope.cn/v1",
        key="MODELSCOPE_API_KEY",
        source="https://modelscope.cn/docs/model-service/API-Inference/intro",
    ),
    "bailing": Preset(
        title="Ant Ling",
        base_url="https://api.tbox.cn/api/llm/v1",
        key="BAILING_API_TOKEN",
        source="https://alipaytbox.yuque.com/sxs0ba/ling/intro",
    ),
}
