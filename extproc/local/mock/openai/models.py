"""The models that the mock of OpenAI serves, and what each of them refuses.

Facts from https://platform.openai.com/docs/models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SAMPLING: Final = frozenset(
    {
        "top_p",
        "presence_penalty",
        "frequency_penalty",
        "logprobs",
        "top_logprobs",
        "logit_bias",
    }
)
"""What no reasoning model takes."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model: its dated name (which answers carry) and its limits, in tokens."""

    id: str
    snapshot: str
    created: int
    context: int
    max_output: int
    reasoning: bool = False
    refuses: frozenset[str] = frozenset()
    """Fields that this model does not support."""
    images: bool = True
    audio: bool = False
    completes: bool = False
    """Serves legacy completions, and no chat."""
    searches: bool = False
    """Searches the web in chat completions, which no other model is offered."""
    caches: bool = False
    """Takes options and breakpoints for its prompt cache, as models from GPT-5.6 on do."""


def _reasoning(
    id_: str, date: str, created: int, context: int, *also: str, caches: bool = False
) -> Model:
    return Model(
        id_,
        f"{id_}-{date}",
        created,
        context,
        100_000 if id_.startswith("o") else 128_000,
        reasoning=True,
        refuses=SAMPLING | {"max_tokens", *also},
        caches=caches,
    )


PLAIN_REFUSES: Final = frozenset({"reasoning_effort"})

_BASE: Final = (
    Model(
        "gpt-4o",
        "gpt-4o-2024-08-06",
        1715367049,
        128_000,
        16_384,
        refuses=PLAIN_REFUSES,
    ),
    Model(
        "gpt-4o-mini",
        "gpt-4o-mini-2024-07-18",
        1721172741,
        128_000,
        16_384,
        refuses=PLAIN_REFUSES,
    ),
    Model(
        "gpt-4.1",
        "gpt-4.1-2025-04-14",
        1744316542,
        1_047_576,
        32_768,
        refuses=PLAIN_REFUSES,
    ),
    Model(
        "gpt-4.1-mini",
        "gpt-4.1-mini-2025-04-14",
        1744318173,
        1_047_576,
        32_768,
        refuses=PLAIN_REFUSES,
    ),
    Model(
        "gpt-4.1-nano",
        "gpt-4.1-nano-2025-04-14",
        1744321025,
        1_047_576,
        32_768,
        refuses=PLAIN_REFUSES,
    ),
    Model(
        "gpt-3.5-turbo",
        "gpt-3.5-turbo-0125",
        1677610602,
        16_385,
        4_096,
        refuses=PLAIN_REFUSES,
        images=False,
    ),
    Model(
        "gpt-4o-audio-preview",
        "gpt-4o-audio-preview-2025-06-03",
        1727460443,
        128_000,
        16_384,
        refuses=PLAIN_REFUSES,
        audio=True,
    ),
    Model(
        "gpt-4o-search-preview",
        "gpt-4o-search-preview-2025-03-11",
        1741388720,
        128_000,
        16_384,
        refuses=PLAIN_REFUSES
        | {"temperature", "top_p", "presence_penalty", "frequency_penalty"},
        searches=True,
    ),
    Model(
        "gpt-3.5-turbo-instruct",
        "gpt-3.5-turbo-instruct",
        1692901427,
        4_096,
        4_096,
        refuses=PLAIN_REFUSES,
        images=False,
        completes=True,
    ),
    _reasoning("gpt-5", "2025-08-07", 1754425777, 400_000, "stop"),
    _reasoning("gpt-5-mini", "2025-08-07", 1754425928, 400_000, "stop"),
    _reasoning("gpt-5-nano", "2025-08-07", 1754426384, 400_000, "stop"),
    _reasoning("gpt-5.6", "2026-07-09", 1783555200, 1_050_000, "stop", caches=True),
    _reasoning("o1", "2024-12-17", 1734375816, 200_000, "parallel_tool_calls"),
    _reasoning("o3", "2025-04-16", 1744225308, 200_000, "parallel_tool_calls", "stop"),
    _reasoning("o3-mini", "2025-01-31", 1737146383, 200_000, "parallel_tool_calls"),
    _reasoning(
        "o4-mini", "2025-04-16", 1744225351, 200_000, "parallel_tool_calls", "stop"
    ),
)

MODELS: Final[dict[str, Model]] = {
    name: model for model in _BASE for name in (model.id, model.snapshot)
}
