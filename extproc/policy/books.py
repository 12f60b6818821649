"""What one worker remembers between requests, for the limits of the next."""

from __future__ import annotations

from extproc.policy.learned import Outputs
from extproc.policy.meters import Calendar


class Books:
    """How long answers are, and which periods are under way."""

    __slots__ = ("calendar", "outputs")

    def __init__(self) -> None:
        self.outputs = Outputs()
        self.calendar = Calendar()
