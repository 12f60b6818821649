"""Whom a process still serves, looked up from outside."""

from __future__ import annotations

import os
import socket

from extproc.local.clients import has_clients


def test_a_process_has_clients_while_it_listens_or_has_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert has_clients(os.getpid(), {port})
        with socket.create_connection(("127.0.0.1", port)):
            connection, _ = server.accept()
            server.close()
            with connection:
                assert has_clients(os.getpid(), {1, port})
                # The other end's port is another.
                assert not has_clients(os.getpid(), {1})
            assert not has_clients(os.getpid(), {port})


def test_of_a_process_that_cannot_be_seen_it_is_assumed() -> None:
    assert has_clients(2**22 + 1, {1})
