"""The page of threats: every test that it calls upon is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_threat_is_shown_by_a_test_that_is_there(file, name):
    tree = ast.parse((ROOT / file).read_text())
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    assert name in {one.name for one in ast.walk(tree) if isinstance(one, functions)}


def test_the_page_calls_upon_many():
    assert len(NAMED) > 20


def test_whatever_the_linter_finds_unsafe_has_a_reason_to_be_there():
    bare = []
    for file in (ROOT / "extproc").rglob("*.py"):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            found = re.search(r"# noqa: ([A-Z]+\d+(?:, [A-Z]+\d+)*)(.*)", line)
            if found and re.search(r"\bS\d", found[1]) and not found[2].strip(" -"):
                bare.append(f"{file.relative_to(ROOT)}:{number}")
    assert bare == []


def test_nothing_that_others_wrote_is_unpickled_or_run():
    """The linter's own rules of that kind (S102, S301, S307, S506, S602) are on."""
    spared = r"# noqa: [A-Z0-9, ]*\bS(?:102|301|302|307|506|60[2457])\b"
    for file in (ROOT / "extproc").rglob("*.py"):
        assert not re.search(spared, file.read_text()), file
