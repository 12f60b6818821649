"""The mock's own books."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import httpx
import pytest

from extproc.local.mock import serve

HEADERS = {
    "/v1/chat/completions": {"authorization": "Bearer sk-mock-1"},
    "/v1/messages": {"x-api-key": "sk-mock-1", "anthropic-version": "2023-06-01"},
}
ASKS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "model": "gpt-4o",
        "stream_options": {"include_usage": True},
        "messages": [],
    },
    "/v1/messages": {"model": "claude-sonnet-4-5", "max_tokens": 50, "messages": []},
}


@pytest.mark.parametrize("path", ASKS)
def test_they_have_what_went_out(tmp_path, path):
    books = tmp_path / "books"
    asyncio.run(_ask(path, books))
    lines = [json.loads(line) for line in books.read_text().splitlines()]
    told = [(line["mark"], line["whole"], line["status"]) for line in lines]
    assert told == [("a", True, 200), ("b", False, 200)] * 2
    whole, _, streamed, broken = lines
    assert whole["input"] == streamed["input"] > 0
    assert whole["output"] == streamed["output"] > 2
    assert whole["cached"] == streamed["cached"] == 3
    assert streamed["events"] > broken["events"] == 3
    assert (broken["output"] or 0) < whole["output"]
    assert {line["path"] for line in lines} == {path}


async def _ask(path, books):
    async with await serve(pace=0, books=books) as server, httpx.AsyncClient() as http:
        for stream in (False, True):
            for say in (
                "[[mock: mark=a]] [[mock: cached tokens=3]]",
                "[[mock: mark=b]] [[mock: cut-mid-chunk after=3]]",
            ):
                body = {**ASKS[path], "stream": stream}
                if not stream or path == "/v1/messages":
                    body.pop("stream_options", None)
                body["messages"] = [{"role": "user", "content": f"Hi {say}"}]
                with contextlib.suppress(httpx.HTTPError):
                    await http.post(server.url + path, json=body, headers=HEADERS[path])
