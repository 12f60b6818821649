"""Clouds and gateways that serve models of others."""

from __future__ import annotations

from collections.abc import Mapping

from extproc.providers.presets.preset import Preset

PRESETS: Mapping[str, Preset] = {}
