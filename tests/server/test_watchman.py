"""What is wrong is told once when it matters, and once when it is over, and not too often."""

from __future__ import annotations

import msgspec
from hypothesis import given, strategies as st

from extproc.server.alert_book import Alert, AlertBook, Page
from extproc.server.conditions import Condition
from extproc.server.watchman import Watchman

HOUR = 3_600.0


class Watch:
    """A watchman whose clock is ours."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.told: list[tuple[str, str]] = []
        self.alerts: list[Alert] = []
        self._book = AlertBook()
        self._watchman = self._another()

    def _another(self) -> Watchman:
        return Watchman(self._hear, clock=lambda: self.now, book=self._book)

    def restart(self) -> None:
        """Go on with another one, who knows what is in the file."""
        page = msgspec.json.encode(self._book.page)
        self._book = AlertBook()
        self._book.page = msgspec.json.decode(page, type=Page)
        self._watchman = self._another()

    def _hear(self, alert: Alert) -> None:
        self.alerts.append(alert)
        self.told.append((alert.key, alert.state))

    def look(self, *keys: str, after: float = 0.0, later: float = 5.0) -> None:
        self._watchman.look([Condition(key, f"{key}!", after) for key in keys])
        self.now += later


def test_once_when_it_begins_and_once_when_it_is_over() -> None:
    watch = Watch()
    for _ in range(5):
        watch.look("a")
    watch.look()
    watch.look()
    assert watch.told == [("a", "firing"), ("a", "resolved")]
    assert [one.summary for one in watch.alerts] == ["a!", "Over: a!"]
    assert watch.alerts[1].details == {"since": 1_000}


def test_what_is_over_at_once_is_not_told() -> None:
    watch = Watch()
    watch.look("a", after=10.0)
    watch.look("a", after=10.0)
    for _ in range(9):
        watch.look()
    assert watch.told == []
    # Nor is a moment's absence its end.
    for keys in (("a",), (), ("a",), (), ("a",)):
        watch.look(*keys, after=10.0)
    assert watch.told == [("a", "firing")]


def test_what_comes_and_goes_is_told_once_an_hour() -> None:
    watch = Watch()
    for _ in range(100):
        watch.look("a")
        watch.look()
        watch.look()
    assert watch.told == [("a", "firing"), ("a", "resolved")]
    watch.look(later=HOUR)
    watch.look("a")
    assert watch.told[2:] == [("a", "firing")]


def test_what_lasts_is_told_again_every_hour() -> None:
    watch = Watch()
    for _ in range(int(3 * HOUR / 5)):
        watch.look("a")
    assert watch.told == [("a", "firing")] * 3


def test_a_restart_tells_nothing_again_and_still_tells_the_end() -> None:
    watch = Watch()
    watch.look("a", "b")
    watch.restart()
    watch.look("a", "b")
    watch.restart()
    # What nobody sees in the first half minute is not over: workers have to connect yet.
    for _ in range(5):
        watch.look("b")
    assert watch.told == [("a", "firing"), ("b", "firing")]
    for _ in range(5):
        watch.look("b")
    assert watch.told[2:] == [("a", "resolved")]
    assert watch.alerts[2].summary == "Over: a!"
    assert watch.alerts[2].details == {"since": 1_000}
    # Nor is it told again within the hour.
    watch.restart()
    watch.look("a", "b")
    assert len(watch.told) == 3
    watch.look("b", later=HOUR)
    watch.look("b")
    assert watch.told[3:] == [("b", "firing")]


@given(st.lists(st.sets(st.sampled_from("abc")), max_size=60))
def test_an_end_is_told_only_of_what_was_told(looks: list[set[str]]) -> None:
    watch = Watch()
    for keys in looks:
        watch.look(*keys, later=HOUR)
    for key in "abc":
        states = [state for told, state in watch.told if told == key]
        ends = [i for i, state in enumerate(states) if state == "resolved"]
        assert all(states[i - 1] == "firing" for i in ends if i)
        assert states[:1] in ([], ["firing"])
