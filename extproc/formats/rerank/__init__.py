"""Rerank: the shapes of Cohere and Jina for clients, and each provider's own.

Every module here is one API or a family of them.
"""

from __future__ import annotations
