"""Every target, by name."""

from __future__ import annotations

from tests.fuzz import decoders, exchanges, texts
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    one.name: one for one in (*decoders.TARGETS, *exchanges.TARGETS, *texts.TARGETS)
}
