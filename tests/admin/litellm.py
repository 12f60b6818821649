"""What LiteLLM's documentation has scripts send, route by route, with what they read.

https://docs.litellm.ai/docs/proxy/virtual_keys, /users, /customers, /cost_tracking,
/access_control: the bodies have the fields that the examples there have.
"""

from __future__ import annotations

from typing import Any

Step = tuple[str, str, dict[str, Any] | None, list[str]]
"""Method, path, body, and the members of the answer that scripts read; ``KEY`` stands for
the key that was made last."""

STEPS: list[Step] = [
    ("POST", "/organization/new",
     {"organization_alias": "marketing_department", "models": ["gpt-4"], "max_budget": 20},
     ["organization_id", "organization_alias", "models"]),
    ("PATCH", "/organization/update",
     {"organization_id": "marketing_department", "models": ["gpt-4", "gpt-4o"]},
     ["data"]),
    ("GET", "/organization/info?organization_id=marketing_department", None,
     ["organization_id"]),
    ("GET", "/organization/list", None, []),
    ("POST", "/team/new",
     {"team_alias": "my-new-team_4", "rpm_limit": 99, "budget_duration": "30s",
      "members_with_roles": [{"role": "admin", "user_id": "5c4a0aa3-a1e1-43dc"}]},
     ["team_id", "team_alias", "members_with_roles", "rpm_limit", "spend"]),
    ("POST", "/team/new",
     {"team_alias": "Engineering Team", "team_id": "core-infra", "max_budget": 1000.0,
      "tpm_limit": 1000000, "rpm_limit": 10000, "budget_duration": "30d",
      "models": ["gpt-4", "gpt-3.5-turbo"], "metadata": {"department": "Engineering"},
      "organization_id": "marketing_department"},
     ["team_id", "max_budget", "budget_duration"]),
    ("POST", "/team/update", {"team_id": "core-infra", "max_budget": 10}, ["data"]),
    ("POST", "/team/update", {"team_id": "core-infra", "tpm_limit": 100}, ["data"]),
    ("POST", "/team/block", {"team_id": "core-infra"}, ["blocked"]),
    ("POST", "/team/unblock", {"team_id": "core-infra"}, ["blocked"]),
    ("POST", "/user/new",
     {"user_id": "ishaan1", "user_email": "ishaan@litellm.ai", "user_role": "admin",
      "team_id": "core-infra", "max_budget": 20, "budget_duration": "1h"},
     ["key", "user_id", "max_budget"]),
    ("POST", "/user/new", {"user_email": "user@example.com"}, ["key", "user_id"]),
    ("POST", "/user/new",
     {"models": ["azure-models"], "max_budget": 0, "user_id": "krrish3@berri.ai"},
     ["key", "user_id", "max_budget"]),
    ("POST", "/user/update", {"user_id": "krrish3@berri.ai", "tpm_limit": 5}, ["data"]),
    ("POST", "/team/member_add",
     {"team_id": "core-infra", "max_budget_in_team": 0.5,
      "member": {"role": "user", "user_id": "krrish3@berri.ai"}},
     ["team_id", "members_with_roles"]),
    ("POST", "/team/member_delete",
     {"team_id": "core-infra", "user_id": "krrish3@berri.ai"}, ["team_id"]),
    ("GET", "/team/info?team_id=core-infra", None, ["team_id", "team_info", "keys"]),
    ("GET", "/team/list", None, []),
    ("GET", "/user/info?user_id=ishaan1", None, ["user_id", "user_info", "keys"]),
    ("GET", "/user/list", None, ["users"]),
    ("POST", "/key/generate",
     {"models": ["my-free-tier"], "duration": "30min", "aliases": {}, "max_budget": None},
     ["key", "expires", "key_name", "token_id"]),
    ("POST", "/key/service-account/generate",
     {"key_alias": "ci bot", "team_id": "core-infra", "duration": "permanent"}, ["key"]),
    ("POST", "/key/generate",
     {"models": ["gpt-3.5-turbo", "gpt-4", "claude-2"], "duration": "20m",
      "metadata": {"user": "ishaan@berri.ai"}, "team_id": "core-infra",
      "max_budget": 10, "key_alias": "My App (prod)"},
     ["key", "expires", "key_name", "team_id", "max_budget"]),
    ("GET", "/key/info?key=KEY", None, ["key", "info"]),
    ("POST", "/v2/key/info", {"keys": ["KEY"]}, ["key", "info"]),
    ("POST", "/key/update",
     {"key": "KEY", "models": ["gpt-4"], "metadata": {"user": "ishaan@berri.ai"},
      "team_id": "core-infra"},
     ["models", "metadata"]),
    ("POST", "/key/block", {"key": "KEY"}, ["blocked"]),
    ("POST", "/key/unblock", {"key": "KEY"}, ["blocked"]),
    ("GET", "/key/list?team_id=core-infra&return_full_object=true", None,
     ["keys", "total_count", "current_page", "total_pages"]),
    ("GET", "/key/list?key_alias=My App (prod)", None, ["keys"]),
    ("POST", "/key/KEY/regenerate",
     {"max_budget": 100, "models": ["gpt-4"], "duration": "30d"}, ["key", "expires"]),
    ("POST", "/key/regenerate", {"key": "KEY", "grace_period": "24h"}, ["key"]),
    ("POST", "/customer/new", {"user_id": "my-customer-id", "max_budget": "0"},
     ["user_id", "blocked", "spend"]),
    ("POST", "/customer/update", {"user_id": "my-customer-id", "max_budget": 5}, ["data"]),
    ("GET", "/customer/info?end_user_id=my-customer-id", None,
     ["user_id", "blocked", "spend"]),
    ("GET", "/customer/list", None, []),
    ("GET", "/global/spend", None, ["spend"]),
    ("GET", "/global/spend/report?start_date=1970-01-01&end_date=1970-02-01&group_by=team",
     None, []),
    ("GET", "/global/spend/report?start_date=1970-01-01&group_by=customer", None, []),
    ("GET", "/global/spend/report?start_date=1970-01-01&api_key=KEY", None, []),
    ("GET", "/global/spend/report?internal_user_id=ishaan1", None, []),
    *(("GET", f"/global/spend/{what}", None, [])
      for what in ("models", "teams", "keys", "tags", "provider", "end_users")),
    *(("GET", f"/spend/{what}", None, []) for what in ("keys", "users", "tags", "logs")),
    ("GET", "/spend/logs?request_id=a&start_date=1970-01-01", None, []),
    *(("GET", f"/{who}/daily/activity?start_date=1970-01-01&end_date=2099-12-31", None,
       ["results", "metadata"]) for who in ("user", "team")),
    ("POST", "/key/delete", {"keys": ["KEY"], "key_aliases": ["ci bot"]},
     ["deleted_keys"]),
    ("POST", "/customer/delete", {"user_ids": ["my-customer-id"]}, []),
    ("POST", "/user/delete",
     {"user_ids": ["ishaan1", "krrish3@berri.ai", "5c4a0aa3-a1e1-43dc"]}, []),
    ("POST", "/team/delete", {"team_ids": ["core-infra"]}, []),
    ("DELETE", "/organization/delete", {"organization_ids": ["marketing_department"]}, []),
]  # fmt: skip


def play(api: Any) -> None:
    """Take every step, as scripts do; each must be answered with what they read."""
    key = ""
    for method, path, body, members in STEPS:
        filled = None if body is None else _filled(body, key)
        said = api.ask(method, path.replace("KEY", key), json=filled)
        assert said.status_code == 200, (path, said.text)
        content = said.json()
        for member in members:
            assert member in content, (path, member)
        if isinstance(content, dict) and str(content.get("key", "")).startswith("sk-"):
            key = content["key"]


def _filled(value: Any, key: str) -> Any:
    match value:
        case dict():
            return {name: _filled(inner, key) for name, inner in value.items()}
        case list():
            return [_filled(inner, key) for inner in value]
        case _:
            return key if value == "KEY" else value
