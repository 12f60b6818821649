"""The tools of a Responses request: what the model may call, and what OpenAI runs for it.

https://platform.openai.com/docs/guides/tools-web-search.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from extproc.local.mock import sources
from extproc.local.mock.answers import Tool

SOURCES: Final = "web_search_call.action.sources"

Body = Mapping[str, Any]
Json = dict[str, Any]


def searched(body: Body, text: str) -> bool:
    """Return whether the web is searched for the answer."""
    kinds = [str(tool["type"]) for tool in body.get("tools") or ()]
    offered = any(kind.startswith("web_search") for kind in kinds)
    return offered and sources.searches(text)


def cited(text: str) -> list[Json]:
    """Return the annotations of a text that rests on what was found."""
    start, end = sources.rests(text)
    span = {"start_index": start, "end_index": end}
    page = {"url": sources.PAGE, "title": sources.TITLE}
    return [{"type": "url_citation", **span, **page}]


def tools(
    body: Body,
) -> tuple[tuple[Tool, ...], Literal["auto", "any", "none"], str | None]:
    """Return the tools, how free the model is to call them, and the one that it must."""
    found = tuple(
        Tool(
            tool["name"],
            tool.get("parameters") or {},
            free_text=tool["type"] == "custom",
        )
        for tool in body.get("tools") or ()
        if tool["type"] in ("function", "custom")
    )
    forced: str | None = None
    choice: Literal["auto", "any", "none"] = "auto"
    match wanted := body.get("tool_choice", "auto"):
        case "none":
            choice = "none"
        case "required":
            choice = "any"
        case {"type": "allowed_tools", "tools": allowed}:
            names = {tool.get("name") for tool in allowed}
            found = tuple(tool for tool in found if tool.name in names)
            choice = "any" if wanted["mode"] == "required" else "auto"
        case {"type": "function" | "custom", "name": name}:
            choice, forced = "any", name
        case _:
            pass  # auto, or a tool that the mock does not run
    return found, choice, forced
