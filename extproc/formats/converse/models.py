"""What the families of models on Bedrock take, where they differ: facts, no code.

Converse's own fields are the same for all; what it has no word for goes to the model in
``additionalModelRequestFields``, in the spelling of its maker. Sources:
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters.html,
…/prompt-caching.html, …/structured-output.html and
https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html and
…/web-grounding.html.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from extproc.formats.caching import Offer

Effort = Literal["", "nova", "flat", "nested", "config"]

UP_TO_HIGH = ("low", "medium", "high")


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """What the requests of a family may say."""

    claude: bool = False
    """Thinking, sampling and the choice of tools are told in Anthropic's own words."""
    top_k: tuple[str, ...] = ()
    """Where ``top_k`` goes in the additional fields; nowhere, if it has none."""
    effort: Effort = ""
    """How much to think: Nova's ``reasoningConfig``, OpenAI's flat ``reasoning_effort`` or
    nested ``reasoning.effort``, a plain ``reasoning_config``; or not at all."""
    efforts: tuple[str, ...] = UP_TO_HIGH
    off: bool = True
    """Whether a model that can think may be told not to."""
    cache: Offer | None = None
    """What its prompt cache can be told; None is no cache points."""
    search: str = ""
    """The system tool that searches the web; empty: there is none."""
    structured: bool = True
    """JSON schemas for the answer, and strict tools."""
    forced: Literal["tool", "any", ""] = ""
    """Whether ``toolChoice`` may demand a call of one tool, or of any, or of none."""


_CLAUDE_CACHE = Offer(("5m", "1h"), nested=False)
_NOVA_CACHE = Offer(tools=False, nested=False)

CLAUDE = Family(claude=True, top_k=("top_k",), cache=_CLAUDE_CACHE, forced="tool")
_NOVA = Family(
    top_k=("inferenceConfig", "topK"),
    cache=_NOVA_CACHE,
    structured=False,
    forced="tool",
)
_NOVA_PREMIER = msgspec.structs.replace(_NOVA, search="nova_grounding")
_NOVA_2 = Family(
    search="nova_grounding",
    top_k=("inferenceConfig", "topK"),
    effort="nova",
    cache=_NOVA_CACHE,
    structured=False,
    forced="tool",
)
_GPT_OSS = Family(effort="flat", off=False)
_GPT = Family(
    effort="nested", efforts=("none", "low", "medium", "high", "xhigh", "max")
)
_CONFIGURED = Family(effort="config")
_MISTRAL = Family(top_k=("top_k",), forced="any")
_COHERE = Family(top_k=("k",), structured=False)
_PLAIN = Family(structured=False)
OPEN = Family()

FAMILIES: dict[str, Family] = {
    "anthropic.": CLAUDE,
    "claude": CLAUDE,
    "amazon.nova-2": _NOVA_2,
    "amazon.nova-premier": _NOVA_PREMIER,
    "amazon.nova": _NOVA,
    "amazon.": _PLAIN,
    "ai21.": _PLAIN,
    "cohere.": _COHERE,
    "meta.": _PLAIN,
    "mistral.": _MISTRAL,
    "moonshot": _CONFIGURED,
    "openai.gpt-oss": _GPT_OSS,
    "openai.": _GPT,
    "zai.": _CONFIGURED,
}
"""By the beginning of the model's name; the first that fits counts."""

_PLACE = re.compile(r"(?:us-gov|us|eu|apac|uk|au|jp|ca|sa|global)\.")
"""Where an inference profile runs, before the name."""


def family_of(model: str) -> Family:
    """Return the family of a model id, inference profile or ARN.

    An ARN that hides its model (an application's profile, a provisioned model) is taken
    for Claude, which most are: the API is the better judge.
    """
    name = model.rpartition("/")[2].lower()
    place = _PLACE.match(name)
    name = name[place.end() :] if place else name
    for beginning, family in FAMILIES.items():
        if name.startswith(beginning):
            return family
    return OPEN if "." in name else CLAUDE
