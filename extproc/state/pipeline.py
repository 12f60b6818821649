"""Scripts on one Redis connection, all that are asked for at one time in one round trip.

Whoever finds the connection free sends everything that is waiting and, when its own reply
is here, wakes the next one to do the same: no task of ours stands by, and a burst of 200
requests is a few round trips on one socket and not 200 sockets.
"""

from __future__ import annotations

import asyncio
import hashlib
from importlib import resources
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

MOST_AT_ONCE: Final = 500
"""Scripts in one round trip: some 20 ms of the server's time."""


class Script:
    """One verb's script, sent whole only to a server that does not have it yet."""

    def __init__(self, name: str) -> None:
        file = resources.files("extproc.state") / "lua" / f"{name}.lua"
        self.text = file.read_text(encoding="utf-8")
        self.sha = hashlib.sha1(self.text.encode()).hexdigest()  # noqa: S324  EVALSHA's


class _Call:
    """One script that is asked for."""

    __slots__ = ("arguments", "future", "script")

    def __init__(
        self,
        script: Script,
        arguments: tuple[bytes | float, ...],
        future: asyncio.Future[Any],
    ) -> None:
        self.script = script
        self.arguments = arguments
        self.future = future


_LEAD: Final = object()
"""What a future is woken with whose turn it is to send."""


class Pipeline:
    """Runs scripts; see the module's docstring."""

    def __init__(self, client: Redis, tag: str) -> None:
        self._client = client
        self._tag = tag
        self._waiting: list[_Call] = []
        self._busy = False

    async def run(self, script: Script, *arguments: bytes | float) -> Any:  # noqa: ANN401
        """Return the script's reply.

        Raises:
            RedisError: the server cannot be asked, or says that the script is wrong.
        """
        call = _Call(script, arguments, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._busy and await call.future is not _LEAD:
            return call.future.result()
        self._busy = True
        batch = self._waiting[:MOST_AT_ONCE]
        del self._waiting[:MOST_AT_ONCE]
        try:
            replies = await self._send(batch)
        except (RedisError, OSError) as error:
            lost = error if isinstance(error, RedisError) else RedisError(str(error))
            replies = [lost] * len(batch)
        finally:
            self._hand_over()
        reply: Any = None
        for other, answer in zip(batch, replies, strict=True):
            if other is call:
                reply = answer
            elif other.future.done():
                continue  # nobody waits for it any more
            elif isinstance(answer, Exception):
                other.future.set_exception(answer)
            else:
                other.future.set_result(answer)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _hand_over(self) -> None:
        self._waiting = [call for call in self._waiting if not call.future.done()]
        if self._waiting:
            self._waiting[0].future.set_result(_LEAD)
        else:
            self._busy = False

    async def _send(self, batch: list[_Call]) -> list[Any]:
        pipe = self._client.pipeline(transaction=False)
        for call in batch:
            pipe.execute_command(
                "EVALSHA", call.script.sha, 1, self._tag, *call.arguments
            )
        replies: list[Any] = await pipe.execute(raise_on_error=False)
        for i, reply in enumerate(replies):
            if isinstance(reply, NoScriptError):
                call = batch[i]
                replies[i] = await self._client.eval(
                    call.script.text, 1, self._tag, *call.arguments
                )
        return replies
