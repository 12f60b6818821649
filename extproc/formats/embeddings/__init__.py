"""Embeddings: OpenAI's API for clients, and each provider's own.

Every module here is one API. Errors are those of the provider's other APIs.
"""

from __future__ import annotations
