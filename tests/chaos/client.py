"""Open-loop load: a request begins when it is due, however long those before it take."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from tests.harness import KEY

PATIENCE = 30.0


@dataclass
class Result:
    """What one client saw."""

    began: float
    """Seconds after the load began."""
    seconds: float
    failure: str = ""
    """Empty: a whole answer."""
    provider: str = ""
    """Who answered."""
    request_id: str = ""
    """As the answer said; Envoy's log has it too."""


async def ask(port: int, model: str, *, stream: bool) -> tuple[str, str, str]:
    """Ask once, on a connection of its own.

    Returns:
        what was wrong, or nothing; which provider answered; and the request's id.
    """
    body = json.dumps(
        {
            "model": model,
            "stream": stream,
            "messages": [{"role": "user", "content": "Hi"}],
        }
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n"
            f"authorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n{body}".encode()
        )
        answer = (await reader.read()).decode()
    finally:
        writer.close()
    status = answer.split(" ", 2)[1] if answer.startswith("HTTP/1.1 ") else "nothing"
    request_id = _header(answer, "x-request-id")
    if status != "200":
        return f"{status}: {answer[-200:]}", "", request_id
    whole = "data: [DONE]" if stream else '"finish_reason"'
    wrong = "" if whole in answer else f"200, cut: {answer[-200:]}"
    return wrong, _header(answer, "x-extproc-provider"), request_id


def _header(answer: str, name: str) -> str:
    return answer.partition(f"{name}: ")[2].partition("\r\n")[0]


async def load(port: int, model: str, *, rate: float, seconds: float) -> list[Result]:
    """Ask `rate` times a second; every second request is streamed."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    results: list[Result] = []

    async def one(number: int) -> None:
        due = start + number / rate
        await asyncio.sleep(max(0.0, due - loop.time()))
        provider = request_id = ""
        try:
            async with asyncio.timeout(PATIENCE):
                failure, provider, request_id = await ask(
                    port, model, stream=number % 2 == 1
                )
        except (OSError, TimeoutError) as error:
            failure = f"no answer: {type(error).__name__}"
        took = loop.time() - due
        results.append(Result(due - start, took, failure, provider, request_id))

    async with asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            tasks.create_task(one(number))
    return results
