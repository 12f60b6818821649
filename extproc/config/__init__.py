"""``gateway.yaml``: read strictly, compiled to the workers' snapshot and Envoy's files."""

from __future__ import annotations
