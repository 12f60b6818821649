"""An LLM gateway: Envoy in front, this ext_proc service as its brain."""

from __future__ import annotations

__version__ = "0.1.0"
