"""The table of clients against the tests that it speaks of."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "clients.md").read_text()
LINKS = {
    (ROOT / "docs" / link).resolve() for link in re.findall(r"\]\(([^)#]+)\)", TEXT)
}


def test_every_link_leads_somewhere():
    assert [str(link) for link in LINKS if not link.exists()] == []


def test_every_row_has_its_test_and_every_test_its_row():
    rows = [line for line in TEXT.splitlines() if line.startswith("| [")]
    assert len(rows) > 10
    assert all("../tests/" in row for row in rows)
    tests = set((ROOT / "tests" / "clients").glob("test_*.py")) - {Path(__file__)}
    assert tests <= LINKS
