"""Where Vertex AI is, for those who serve there."""

from __future__ import annotations


def vertex_base(location: str) -> str:
    """Return the base URL of Vertex AI in `location`.

    https://cloud.google.com/vertex-ai/docs/general/locations: a region, one of the two
    multi-regions, or ``global``.
    """
    if location == "global":
        return "https://aiplatform.googleapis.com/v1"
    if location in {"us", "eu"}:
        return f"https://aiplatform.{location}.rep.googleapis.com/v1"
    return f"https://{location}-aiplatform.googleapis.com/v1"
