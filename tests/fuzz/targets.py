"""Every target, by name."""

from __future__ import annotations

from tests.fuzz import choosing, decoders, exchanges, operators, passing, texts
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    one.name: one
    for part in (decoders, exchanges, passing, choosing, operators, texts)
    for one in part.TARGETS
}
