"""What alerts were told survives a control, in a file that nobody else reads."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from extproc.server.alert_book import (
    ALERTS_FILE,
    Alert,
    AlertBook,
    Reached,
    Standing,
    name_of,
)

ALERT = Alert(kind="budget", key="budget/x", summary="much", at=1, details={"n": [1]})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ALERTS_FILE


def run(book: AlertBook) -> None:
    """Let it run until it has written."""

    async def main() -> None:
        task = asyncio.ensure_future(book.run())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(main())


def test_what_one_has_written_the_next_one_knows(path: Path) -> None:
    book = AlertBook(path)
    assert book.fresh
    book.page.budgets["m"] = Reached(80, 2_000)
    book.page.standing["a"] = Standing("health", "a!", 1.5, 10.0, {"who": "b"})
    book.page.told_at["a"] = 11.5
    book.page.waiting["w"] = {"id-1": ALERT}
    run(book)
    again = AlertBook(path)
    assert not again.fresh
    assert again.page == book.page
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_one_that_has_told_nothing_leaves_word_that_it_was_there(path: Path) -> None:
    run(AlertBook(path))
    assert not AlertBook(path).fresh


def test_a_period_that_is_over_is_forgotten(path: Path) -> None:
    book = AlertBook(path, clock=lambda: 1_000.0)
    book.page.budgets |= {"old": Reached(100, 999), "new": Reached(50, 1_001)}
    book.write()
    assert AlertBook(path).page.budgets == {"new": Reached(50, 1_001)}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"budgets": 7}'])
def test_a_damaged_file_is_as_good_as_none(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert AlertBook(path).fresh


def test_a_disk_that_cannot_be_written_is_told_of(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.mkdir()
    run(AlertBook(path))
    assert "cannot be written" in caplog.text


def test_a_webhook_is_not_called_by_its_address() -> None:
    assert name_of("https://hooks.test/T/secret") == name_of(
        "https://hooks.test/T/secret"
    )
    assert "secret" not in name_of("https://hooks.test/T/secret")
