"""Access tokens that expire: fetched by control ahead of time, for Envoy to send."""

from __future__ import annotations

from extproc.server.tokens.keeper import Keeper
from extproc.server.tokens.sources import source_of
from extproc.server.tokens.token import Source, Token, TokenRefused

__all__ = ["Keeper", "Source", "Token", "TokenRefused", "source_of"]
