"""One connection to a real redis-server, and to one that behaves as none does."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import pytest
import uvloop
from redis.exceptions import RedisError, ResponseError

from extproc.policy.claims import Admission, Admitted, Claim
from extproc.state.pipeline import Pipeline, Script
from extproc.state.redis import RedisStore, connect
from tests.busy import Busy
from tests.pki import Authority

NOW = 1_800_000_000.0
SCRIPT = Script("epoch")


def admit(store, name):
    claim = Claim("hour", "requests", 1000, 1, seconds=3600)
    return store.admit(Admission(name, (claim,)), now=NOW, expires=NOW + 900)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("many", [1, 33])
def test_a_burst_is_answered_within_few_turns_of_the_loop(redis_server, loop, many):
    """On time in turns: in a worker that works a burst off, each is some milliseconds."""

    async def play():
        store = RedisStore(connect(redis_server.url, timeout=5), tag=f"{{b{many}}}")
        await admit(store, "first")
        busy = Busy(asyncio.get_running_loop(), 0.005)
        asked = [admit(store, f"gw-{number}") for number in range(many)]
        verdicts = await asyncio.gather(*asked)
        busy.stop()
        await store.close()
        assert all(isinstance(verdict, Admitted) for verdict in verdicts)
        return busy.turns

    with asyncio.Runner(loop_factory=loop) as runner:
        # Redis itself may be late on a busy machine, but not each time.
        assert min(runner.run(play()) for _ in range(3)) <= 8


def test_a_script_that_the_server_has_forgotten_is_sent_whole(redis_server):
    async def play():
        client = connect(redis_server.url, timeout=5)
        store = RedisStore(client, tag="{f}")
        await admit(store, "first")
        await client.script_flush()
        again = await asyncio.gather(*(admit(store, f"gw-{n}") for n in range(20)))
        await store.close()
        assert {v.left[0].remaining for v in again} == set(range(979, 999))

    asyncio.run(play())


class Odd:
    """A server that answers each read with the next of `replies`, and keeps what it read."""

    def __init__(self, *replies, tls=None):
        self.replies = list(replies)
        self.read = b""
        self.connected = 0
        self._tls = tls
        self._writers = []

    @contextlib.asynccontextmanager
    async def serve(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        async with server:
            yield server.sockets[0].getsockname()[1]
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.gather(
                *(writer.wait_closed() for writer in self._writers),
                return_exceptions=True,
            )

    async def _serve(self, reader, writer):
        self.connected += 1
        self._writers.append(writer)
        while data := await reader.read(65536):
            self.read += data
            reply = self.replies.pop(0)
            if reply is None:
                break
            writer.write(reply)
        writer.close()


def ask(odd, times=1, *, url="redis://127.0.0.1:%d", timeout=5.0):
    """Return what asking so often comes to, one after the other."""

    async def play():
        async with odd.serve() as port:
            client = connect(url % port, timeout=timeout)
            pipeline = Pipeline(client, "{t}")
            seen = []
            for _ in range(times):
                try:
                    seen.append(await pipeline.run(SCRIPT, b"a", 1.5))
                except RedisError as error:
                    seen.append(type(error).__name__)
            await pipeline.close()
            await client.aclose()
            return seen

    return asyncio.run(play())


def test_a_connection_that_ends_is_an_error_and_the_next_one_is_new():
    odd = Odd(None, b":2\r\n", b"what\r\n", b":4\r\n")
    assert ask(odd, 4) == ["ConnectionError", 2, "InvalidResponse", 4]
    assert odd.connected == 3


def test_an_error_is_of_whom_it_answers_and_ends_nothing():
    odd = Odd(b"-OOM no\r\n", b":2\r\n")
    assert ask(odd, 2) == ["ResponseError", 2]
    assert odd.connected == 1
    assert b"\r\n$1\r\na\r\n$3\r\n1.5\r\n" in odd.read


def test_a_server_that_never_replies_is_given_up():
    assert ask(Odd(b"", b":1\r\n"), 2, timeout=0.2) == ["TimeoutError", 1]


def test_nobody_listening_is_an_error_at_once():
    async def play():
        pipeline = Pipeline(connect("unix:///nowhere", timeout=60), "{t}")
        with pytest.raises(RedisError):
            await pipeline.run(SCRIPT)
        await pipeline.close()

    asyncio.run(play())


def test_what_the_url_says_is_told_first():
    odd = Odd(b"+OK\r\n" * 3, b":7\r\n")
    assert ask(odd, url="redis://me:secret@127.0.0.1:%d/4?client_name=gw") == [7]
    assert odd.read.startswith(
        b"*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$6\r\nsecret\r\n"
        b"*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$2\r\ngw\r\n"
        b"*2\r\n$6\r\nSELECT\r\n$1\r\n4\r\n"
    )
    refused = Odd(b"-WRONGPASS no\r\n", b"-WRONGPASS no\r\n")
    assert ask(refused, 2, url="redis://:no@127.0.0.1:%d") == ["ResponseError"] * 2
    assert b"EVALSHA" not in refused.read


def test_tls_is_verified(tmp_path):
    authority = Authority(tmp_path)
    one = authority.issue("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(one.chain, one.key)
    url = f"rediss://127.0.0.1:%d?ssl_ca_certs={authority.bundle}"
    assert ask(Odd(b":7\r\n", tls=context), url=url) == [7]
    assert ask(Odd(tls=context), url="rediss://127.0.0.1:%d") == ["ConnectionError"]


def test_closing_tells_who_waits():
    async def play():
        async with Odd(b"").serve() as port:
            client = connect(f"redis://127.0.0.1:{port}", timeout=60)
            pipeline = Pipeline(client, "{t}")
            asked = asyncio.ensure_future(pipeline.run(SCRIPT))
            await asyncio.sleep(0)
            await pipeline.close()
            with pytest.raises(RedisError):
                await asyncio.wait_for(asked, 5)
            await client.aclose()

    asyncio.run(play())


def test_a_wrong_script_is_an_error_of_its_own(redis_server):
    async def play():
        pipeline = Pipeline(connect(redis_server.url, timeout=5), "{t}")
        with pytest.raises(ResponseError):
            await pipeline.run(Script("admit"), b"")
        await pipeline.close()

    asyncio.run(play())
