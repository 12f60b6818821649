"""Scripts written for LiteLLM's proxy make keys, teams and users here, and read spend."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from extproc.admin.errors import Invalid
from extproc.admin.litellm import words
from extproc.db import usage
from tests.admin import litellm
from tests.admin.application import KEYS
from tests.db.test_usage import DAY, row


def post(api, path: str, role: str = "owner", **body: Any) -> Any:
    return api.ask("POST", path, role, json=body)


def test_a_generated_key_is_limited_as_it_was_asked(api):
    post(api, "/team/new", team_id="crew")
    said = post(
        api, "/key/generate", key_alias="ci", team_id="crew", models=["gpt-4o"],
        max_budget=10.5, budget_duration="30d", tpm_limit=1000, rpm_limit=5,
        max_parallel_requests=2, duration="1h", metadata={"env": "ci", "n": 1},
        tags=["a"], aliases={}, permissions={}, soft_budget=8.4,
    ).json()  # fmt: skip
    assert said["key"].startswith("sk-")
    assert said["key_name"] == said["key"][:7] + "..."
    assert (said["max_budget"], said["budget_duration"]) == (10.5, "30d")
    assert (said["tpm_limit"], said["rpm_limit"]) == (1000, 5)
    assert said["spend"] == 0
    entry = api.ask("GET", "/admin/v1/keys/ci").json()
    assert entry["budgets"] == [{"usd": 10.5, "period": "month", "alerts": [80]}]
    assert entry["rate_limits"] == {"tokens_per_minute": 1000, "requests_per_minute": 5}
    assert entry["concurrency"] == 2
    assert entry["team"] == "crew"
    assert entry["expires"] == api.office.clock.now + 3600
    assert entry["metadata"] == {"env": "ci", "n": "1"}
    grant = api.office.runtime().grant(said["key"])
    assert grant is not None
    assert grant.may_use("gpt-4o")
    assert not grant.may_use("claude")


def test_a_key_is_found_by_itself_its_alias_and_nothing_else(api):
    key = post(api, "/key/generate", key_alias="ci").json()["key"]
    for name in (key, "ci"):
        info = api.ask("GET", "/key/info", params={"key": name}).json()
        assert info["info"]["token_id"] == "ci"
    file = api.ask("GET", "/key/info", params={"key": KEYS["viewer"]}).json()
    assert file["info"]["token_id"] == "viewer"
    own = api.ask("GET", "/key/info", "viewer").json()
    assert own["info"]["token_id"] == "viewer"
    missing = api.ask("GET", "/key/info", params={"key": "sk-nobody"})
    assert missing.status_code == 404


def test_a_key_is_updated_blocked_regenerated_and_deleted(api):
    key = post(api, "/key/generate", key_alias="ci", tpm_limit=5, rpm_limit=6).json()[
        "key"
    ]
    changed = post(api, "/key/update", key=key, tpm_limit=None, models=["x"]).json()
    assert (changed["tpm_limit"], changed["rpm_limit"]) == (None, 6)
    assert changed["models"] == ["x"]
    assert post(api, "/key/block", key="ci").json()["blocked"] is True
    assert api.office.runtime().grant(key).blocked
    assert post(api, "/key/unblock", key="ci").json()["blocked"] is False
    second = post(api, f"/key/{key}/regenerate").json()["key"]
    assert api.office.runtime().grant(key) is None
    third = post(api, "/key/regenerate", key=second, grace_period="60s").json()["key"]
    assert api.office.runtime().grant(second) is not None
    assert post(api, "/key/delete", keys=[third]).json() == {"deleted_keys": [third]}
    assert api.office.runtime().grant(third) is None


def test_keys_are_listed_in_pages(api):
    post(api, "/user/new", user_id="ann", auto_create_key=False)
    for n in range(5):
        post(api, "/key/generate", key_alias=f"k{n}", user_id="ann")
    said = api.ask(
        "GET", "/key/list", params={"user_id": "ann", "size": 2, "page": 3}
    ).json()
    assert said == {
        "keys": ["k4"], "total_count": 5, "current_page": 3, "total_pages": 3,
    }  # fmt: skip
    full = api.ask(
        "GET", "/key/list", params={"user_id": "ann", "return_full_object": True}
    ).json()
    assert full["keys"][0]["user_id"] == "ann"


def test_teams_and_users_come_with_their_keys_and_go_with_them(api):
    team = post(api, "/team/new", team_alias="crew", max_budget=5).json()
    assert (team["team_id"], team["budget_duration"]) == ("crew", None)
    user = post(api, "/user/new", user_email="ann@example.com", team_id="crew")
    assert user.json()["user_id"] == "ann@example.com"
    key = user.json()["key"]
    assert api.office.runtime().grant(key).user == "ann@example.com"
    info = api.ask("GET", "/user/info", params={"user_id": "ann@example.com"}).json()
    assert [found["user_id"] for found in info["keys"]] == ["ann@example.com"]
    teams = [team["team_id"] for team in api.ask("GET", "/team/list").json()]
    assert teams == ["core", "crew"]
    post(api, "/team/update", team_id="crew", models=["gpt-*"])
    shown = api.ask("GET", "/team/info", params={"team_id": "crew"}).json()
    assert shown["team_info"]["models"] == ["gpt-*"]
    assert api.office.runtime().grant(key).within == (("gpt-*",),)
    post(api, "/user/delete", user_ids=["ann@example.com"])
    assert api.office.runtime().grant(key) is None
    assert post(api, "/team/delete", team_ids=["crew"]).status_code == 200
    assert api.ask("GET", "/user/list").json() == {"users": []}


def test_what_restricts_nobody_is_left_out_and_said(api):
    said = post(api, "/user/new", user_id="u", user_email="u@x.io", user_role="admin")
    assert said.headers["x-extproc-dropped"] == "user_email, user_role"


DOC = Path(__file__).parents[2] / "docs" / "admin.md"


def test_the_documentation_lists_what_is_served_and_nothing_else(api):
    rows = DOC.read_text().partition("## LiteLLM's routes")[2].partition("\n## ")[0]
    told = {
        (method, path)
        for line in rows.splitlines()
        if line.startswith("| `")
        for method, path in re.findall(r"`([A-Z]+) (/[^`]+)`", line.split("|")[1])
    }
    served = {
        where
        for where, operation in api.document.operations.items()
        if "LiteLLM" in operation["tags"]
    }
    assert told == served


def test_what_the_documentation_of_litellm_has_scripts_send_is_done(api):
    with api.office.database.write() as session:
        usage.add(session, [row("a", key="k", user="ishaan1", tags=["x"])])
    litellm.play(api)
    users = api.ask("GET", "/user/list").json()["users"]
    assert [user["user_id"] for user in users] == ["user@example.com"]


def test_a_member_of_one_team_is_not_taken_by_another(api):
    for team in ("a", "b"):
        post(api, "/team/new", team_id=team)
    member = {"role": "user", "user_email": "ann@example.com"}
    joined = post(api, "/team/member_add", team_id="a", member=[member]).json()
    assert joined["members_with_roles"] == [
        {"user_id": "ann@example.com", "role": "user"}
    ]
    assert post(api, "/team/member_add", team_id="b", member=member).status_code == 409
    wrong = {"team_id": "b", "user_id": "ann@example.com"}
    assert post(api, "/team/member_delete", **wrong).status_code == 404
    assert (
        post(api, "/team/member_add", team_id="none", member=member).status_code == 404
    )
    nobody = post(api, "/team/member_add", team_id="a", member={"role": "user"})
    assert nobody.json()["error"]["param"] == "member"


def test_an_alias_may_have_blanks_and_stays(api):
    made = post(api, "/key/generate", key_alias="My App (prod)").json()
    assert made["token_id"] == "My-App-prod"
    found = api.ask("GET", "/key/info", params={"key": "My App (prod)"}).json()
    assert found["info"]["token_id"] == "My-App-prod"
    other = post(api, "/key/update", key=made["key"], key_alias="Other")
    assert other.json()["error"]["param"] == "key_alias"


def test_usage_is_broken_down_by_the_day(api):
    with api.office.database.write() as session:
        usage.add(
            session,
            [
                row("a", cost=2 * 10**9, key="k1", user="ann"),
                row("b", cost=10**9, key="k2", user="ann", model="claude"),
                row("c", cost=10**9, key="k1", user="bob", started_at=11 * DAY),
            ],
        )
    said = api.ask("GET", "/user/daily/activity", params={"user_id": "ann"}).json()
    assert said["metadata"]["total_spend"] == 3
    [day] = said["results"]
    assert (day["date"], day["metrics"]["api_requests"]) == ("1970-01-11", 2)
    assert day["breakdown"]["models"]["claude"]["metrics"]["spend"] == 1
    assert set(day["breakdown"]["api_keys"]) == {"k1", "k2"}
    everybody = api.ask("GET", "/user/daily/activity").json()
    assert [day["date"] for day in everybody["results"]] == ["1970-01-12", "1970-01-11"]
    report = api.ask("GET", "/global/spend/report", params={"internal_user_id": "ann"})
    assert {one["api_key"]: one["total_cost"] for one in report.json()} == {
        "k1": 2, "k2": 1,
    }  # fmt: skip


REFUSED = [
    ("/key/generate", {"guardrails": ["pii"]}, "guardrails"),
    ("/key/generate", {"permissions": {"get_spend_routes": True}}, "permissions"),
    ("/key/generate", {"model_max_budget": {"gpt-4o": 1}}, "model_max_budget"),
    ("/key/generate", {"duration": ["1h"]}, "duration"),
    ("/customer/new", {"user_id": "c", "blocked": True}, "blocked"),
    ("/customer/new", {"user_id": "c", "budget_id": "free"}, "budget_id"),
    ("/key/generate", {"max_budget": 1, "budget_duration": "13d"}, "budget_duration"),
    ("/key/generate", {"duration": "soon"}, "duration"),
    ("/key/generate", {"metadata": 5}, "metadata"),
    ("/key/generate", {"user_id": "nobody"}, "user"),
    ("/key/update", {}, "key"),
    ("/key/delete", {"keys": "sk-1"}, "keys"),
    ("/team/update", {"models": []}, "team_id"),
    ("/team/new", {"members_with_roles": 5}, "members_with_roles"),
]


@pytest.mark.parametrize(("path", "body", "param"), REFUSED)
def test_what_is_not_known_and_could_restrict_is_refused_by_name(
    api, path, body, param
):
    said = post(api, path, **body)
    assert said.status_code == 400
    assert said.json()["error"]["param"] == param


def test_spend_is_reported_as_scripts_read_it(api):
    post(api, "/key/generate", key_alias="ci")
    with api.office.database.write() as session:
        usage.add(
            session,
            [
                row(
                    "a",
                    cost=1_250_000_000,
                    key="ci",
                    team="core",
                    user="ann",
                    tags=["blue"],
                ),
                row("b", cost=250_000_000, key="ci", started_at=11 * DAY),
            ],
        )

    def get(path: str, **params: Any) -> Any:
        return api.ask("GET", path, params=params).json()

    assert get("/global/spend") == {"spend": 1.5, "max_budget": None}
    assert get("/key/info", key="ci")["info"]["spend"] == 1.5
    assert get("/spend/keys") == [{"api_key": "ci", "total_spend": 1.5}]
    assert get("/spend/users")[0] == {"user_id": "ann", "total_spend": 1.25}
    assert get("/global/spend/models") == [{"model": "gpt-4o", "total_spend": 1.5}]
    assert get("/global/spend/teams")[0]["team_id"] == "core"
    for path in ("/spend/tags", "/global/spend/tags"):
        assert get(path) == [
            {"individual_request_tag": "blue", "log_count": 1, "total_spend": 1.25}
        ]
    assert get("/spend/tags", start_date="1970-01-12") == []
    [first, second] = get("/global/spend/report", group_by="api_key")
    assert (first["group_by_day"], second["group_by_day"]) == (
        "1970-01-11T00:00:00+00:00",
        "1970-01-12T00:00:00+00:00",
    )
    assert first["api_keys"][0]["total_spend"] == 1.25
    [line] = get("/spend/logs", start_date="1970-01-11", end_date="1970-01-11")
    assert (line["request_id"], line["spend"], line["total_tokens"]) == ("a", 1.25, 15)
    assert line["startTime"] == "1970-01-11T00:00:00+00:00"
    assert [line["request_id"] for line in get("/spend/logs", api_key="ci")] == [
        "b",
        "a",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30d", 2_592_000), ("24h", 86_400), ("90s", 90), ("1mo", 2_592_000), (5, 5)],
)
def test_durations_are_read(text, expected):
    assert words.seconds(text, "duration") == expected


@pytest.mark.parametrize("text", ["", "d", "1y", "-1d", True, None, "1.5h"])
def test_other_durations_are_refused(text):
    with pytest.raises(Invalid):
        words.seconds(text, "duration")
