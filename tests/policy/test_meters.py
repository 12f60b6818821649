"""What meters are called, and which period they are of."""

from __future__ import annotations

from extproc.config.subjects import zone
from extproc.identity import Allowance, Budget, RateLimit
from extproc.policy.meters import Calendar, meters_of


def test_a_subject_has_a_meter_for_each_of_its_limits():
    allowance = Allowance(
        (RateLimit("requests", 5, 60), RateLimit("total_tokens", 9, 3600)),
        3,
        (Budget(7, "month", "Europe/Berlin"),),
    )
    meters = meters_of("end_user", "ann/x", allowance)
    assert [(m.meter, m.counts, m.limit, m.seconds) for m in meters.limits] == [
        ("end_user/ann/x/requests/60", "requests", 5, 60),
        ("end_user/ann/x/total_tokens/3600", "total_tokens", 9, 3600),
        ("end_user/ann/x/running", "running", 3, 0),
    ]
    assert [p.meter for p in meters.purses] == ["end_user/ann/x/month/Europe/Berlin/"]
    assert meters.purses[0].subject == "end user 'ann/x'"
    assert meters_of("global", "", allowance).limits[0].subject == "everybody"


def test_a_new_period_begins_on_time():
    calendar, budget = Calendar(), Budget(1, "day", "Europe/Berlin")
    zones = {"Europe/Berlin": zone("Europe/Berlin", created=1_800_000_000)}
    start, end = calendar.period(budget, zones, 1_800_000_000.5)
    assert start <= 1_800_000_000 < end
    assert calendar.period(budget, zones, end - 0.1) == (start, end)
    assert calendar.period(budget, zones, end)[0] == end
    assert calendar.period(Budget(1, "day"), zones, 1_800_000_000)[0] % 86_400 == 0
