"""From a model name to an ordered chain of targets; pure."""

from __future__ import annotations
