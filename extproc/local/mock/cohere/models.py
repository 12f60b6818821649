"""Models that the mock of Cohere serves: https://docs.cohere.com/docs/models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Model:
    """One model and what it can do."""

    id: str
    context: int
    thinks: bool = False
    sees: bool = False
    calls: bool = True


MODELS: Final = {
    model.id: model
    for model in (
        Model("command-a-03-2025", 256_000),
        Model("command-a-reasoning-08-2025", 256_000, thinks=True),
        Model("command-a-vision-07-2025", 128_000, sees=True, calls=False),
        Model("command-r7b-12-2024", 128_000),
    )
}
