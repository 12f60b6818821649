"""How many tokens a request has, counted by who would serve it.

The request is `canonical.Request`: what is counted is what would be sent.
"""

from __future__ import annotations

import msgspec

from extproc.usage import Usage

OPERATION = "count_tokens"


class TokenCount(msgspec.Struct, frozen=True, gc=False):
    """What the provider counted."""

    input_tokens: int

    @property
    def model(self) -> str:
        """Nothing: no provider repeats the model."""
        return ""

    @property
    def usage(self) -> Usage:
        """Nothing: counting is free."""
        return Usage()
