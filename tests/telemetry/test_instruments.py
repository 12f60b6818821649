"""The table of metrics, and the page that says it.

``EXTPROC_GOLDEN=write`` rewrites the table in `docs/metrics.md`; the diff is what is
reviewed. That each of them is emitted is shown by `tests/agreement`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from extproc.telemetry import semconv
from extproc.telemetry.instruments import INSTRUMENTS, table

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
MARK = "| metric | type | unit | labels | what |"


def test_the_page_is_fresh() -> None:
    text = PAGE.read_text()
    before, _, rest = text.partition(MARK)
    after = rest[rest.index("\n\n") :] if "\n\n" in rest else "\n"
    if os.environ.get("EXTPROC_GOLDEN") == "write":
        PAGE.write_text(before + table().rstrip() + after)
    assert table().rstrip() in PAGE.read_text(), "run make golden"


def test_names_are_unique_and_spelled_alike() -> None:
    names = [one.prometheus for one in INSTRUMENTS]
    assert len(set(names)) == len(names)
    for one in INSTRUMENTS:
        assert re.fullmatch(r"(gen_ai|extproc)_[a-z0-9_]+", one.prometheus)
        assert not one.prometheus.endswith("_total"), "Prometheus adds it to counters"
        assert one.text.endswith(".")


def test_the_conventions_come_first_and_whole() -> None:
    assert [one.name for one in INSTRUMENTS[:5]] == list(semconv.BUCKETS)
    assert all(one.buckets == semconv.BUCKETS[one.name] for one in INSTRUMENTS[:5])


def test_histograms_alone_have_buckets() -> None:
    for one in INSTRUMENTS:
        assert bool(one.buckets) == (one.kind == "histogram")
        assert list(one.buckets) == sorted(one.buckets)
