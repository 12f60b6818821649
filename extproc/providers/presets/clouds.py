"""Clouds, and gateways that serve models of others."""

from __future__ import annotations

from collections.abc import Mapping

from extproc.providers.presets.preset import Preset

PRESETS: Mapping[str, Preset] = {
    "openrouter": Preset(
        title="OpenRouter",
        base_url="https://openrouter.ai/api/v1",
        key="OPENROUTER_API_KEY",
        source="https://openrouter.ai/docs/api-reference/overview",
        quirks={"reasoning": "https://openrouter.ai/docs/use-cases/reasoning-tokens"},
    ),
    "vercel": Preset(
        title="Vercel AI Gateway",
        base_url="https://ai-gateway.vercel.sh/v1",
        key="AI_GATEWAY_API_KEY",
        source="https://vercel.com/docs/ai-gateway/sdks-and-apis/openai-chat-completions",
        quirks={
            "reasoning": "https://vercel.com/docs/ai-gateway/sdks-and-apis/openai-chat-completions/advanced"
        },
    ),
    "huggingface": Preset(
        title="Hugging Face",
        base_url="https://router.huggingface.co/v1",
        key="HF_TOKEN",
        source="https://huggingface.co/docs/inference-providers",
    ),
    "github_models": Preset(
        title="GitHub Models",
        base_url="https://models.github.ai/inference",
        key="GITHUB_MODELS_TOKEN",
        source="https://docs.github.com/en/github-models",
    ),
    "cloudflare": Preset(
        title="Cloudflare Workers AI",
        base_url="https://api.cloudflare.com/client/v4/accounts/{account_id}/ai/v1",
        key="CLOUDFLARE_API_KEY",
        source="https://developers.cloudflare.com/workers-ai/configuration/open-ai-compatibility/",
        variables={"account_id": "CLOUDFLARE_ACCOUNT_ID"},
    ),
    "databricks": Preset(
        title="Databricks",
        base_url="https://{host}/serving-endpoints",
        key="DATABRICKS_TOKEN",
        source="https://docs.databricks.com/en/machine-learning/foundation-models/api-reference.html",
        variables={"host": "DATABRICKS_HOST"},
    ),
    "snowflake": Preset(
        title="Snowflake Cortex",
        base_url="https://{account}.snowflakecomputing.com/api/v2/cortex/v1",
        key="SNOWFLAKE_PAT",
        source="https://docs.snowflake.com/en/user-guide/snowflake-cortex/cortex-rest-api",
        variables={"account": "SNOWFLAKE_ACCOUNT"},
    ),
    "digitalocean": Preset(
        title="DigitalOcean",
        base_url="https://inference.do-ai.run/v1",
        key="DIGITALOCEAN_INFERENCE_KEY",
        source="https://docs.digitalocean.com/products/gradient-ai-platform/details/models/",
    ),
    "scaleway": Preset(
        title="Scaleway",
        base_url="https://api.scaleway.ai/v1",
        key="SCW_SECRET_KEY",
        source="https://www.scaleway.com/en/docs/generative-apis/api-cli/using-chat-api/",
        quirks={
            "no_n": "https://www.scaleway.com/en/docs/generative-apis/api-cli/using-chat-api/",
            "no_logit_bias": "https://www.scaleway.com/en/docs/generative-apis/api-cli/using-chat-api/",
            "no_user": "https://www.scaleway.com/en/docs/generative-apis/api-cli/using-chat-api/",
        },
    ),
    "ovhcloud": Preset(
        title="OVHcloud AI Endpoints",
        base_url="https://oai.endpoints.kepler.ai.cloud.ovh.net/v1",
        key="OVH_AI_ENDPOINTS_ACCESS_TOKEN",
        source="https://www.ovhcloud.com/en/public-cloud/ai-endpoints/catalog/",
    ),
    "ionos": Preset(
        title="IONOS AI Model Hub",
        base_url="https://openai.inference.de-txl.ionos.com/v1",
        key="IONOS_API_TOKEN",
        source="https://docs.ionos.com/cloud/ai/ai-model-hub",
    ),
    "stackit": Preset(
        title="STACKIT",
        base_url="https://api.openai-compat.model-serving.eu01.onstackit.cloud/v1",
        key="STACKIT_API_KEY",
        source="https://docs.stackit.cloud/products/data-and-ai/ai-model-serving/basics/available-shared-models",
    ),
    "heroku": Preset(
        title="Heroku Inference",
        base_url="https://us.inference.heroku.com/v1",
        key="INFERENCE_KEY",
        source="https://devcenter.heroku.com/articles/heroku-inference-api-v1-chat-completions",
    ),
    "vultr": Preset(
        title="Vultr",
        base_url="https://api.vultrinference.com/v1",
        key="VULTR_API_KEY",
        source="https://api.vultrinference.com/",
        quirks={"reasoning": "https://api.vultrinference.com/"},
    ),
    "poe": Preset(
        title="Poe",
        base_url="https://api.poe.com/v1",
        key="POE_API_KEY",
        source="https://creator.poe.com/docs/external-applications/openai-compatible-api",
    ),
    "nano_gpt": Preset(
        title="NanoGPT",
        base_url="https://nano-gpt.com/api/v1",
        key="NANO_GPT_API_KEY",
        source="https://docs.nano-gpt.com",
        quirks={
            "reasoning": "https://docs.nano-gpt.com/api-reference/miscellaneous/extended-thinking"
        },
    ),
    "helicone": Preset(
        title="Helicone",
        base_url="https://ai-gateway.helicone.ai/v1",
        key="HELICONE_API_KEY",
        source="https://docs.helicone.ai/rest/ai-gateway/post-v1-chat-completions",
    ),
}
