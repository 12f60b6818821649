"""What control asks others for: of their answers little is read, and nobody is followed.

Whom it asks, ``gateway.yaml`` says, or the machine's own environment; what answers there may
be anybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import httpx

from extproc import bounded

MOST_BYTES: Final = 64 << 10
"""Of an answer. One with a token has up to 10 KiB."""


def client() -> httpx.AsyncClient:
    """Return who asks: through the proxies of the environment, as far as it is TLS.

    The machine's own identity is asked for in the clear, and is for no proxy.
    """
    return httpx.AsyncClient(
        timeout=10.0,
        follow_redirects=False,
        mounts={"http://": httpx.AsyncHTTPTransport()},
    )


async def ask(
    http: httpx.AsyncClient,
    method: str,
    url: str,
    *,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    json: object = None,
) -> httpx.Response:
    """Return who answers, and with what; `form` or `json` is what is said.

    How long it may take is the caller's to bound: each byte may come late.

    Raises:
        httpx.HTTPError: nobody answers, or with more than `MOST_BYTES`, or compressed.
    """
    said = {**(headers or {}), **bounded.PLAIN}
    request = http.build_request(
        method, url, params=params, headers=said, data=form, json=json
    )
    answer = await http.send(request, stream=True, follow_redirects=False)
    try:
        content = await bounded.read_async(answer, most=MOST_BYTES)
    finally:
        await answer.aclose()
    return httpx.Response(answer.status_code, content=content, request=request)
