"""LiteLLM's words for keys, teams and users, to and from ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from extproc.admin.entries import Section
from extproc.admin.errors import Invalid

_UNITS: Final = {
    "s": 1,
    "m": 60,
    "min": 60,
    "h": 3_600,
    "d": 86_400,
    "w": 604_800,
    "mo": 2_592_000,
}
_PERIODS: Final = {
    "1h": "hour", "60m": "hour", "24h": "day", "1d": "day", "7d": "week", "1w": "week",
    "30d": "month", "1mo": "month", "90d": "quarter", "3mo": "quarter", "365d": "year",
    "12mo": "year", "1y": "year",
}  # fmt: skip
"""LiteLLM's budgets begin when they are made, ours with the calendar."""
_ALL_MODELS: Final[tuple[object, ...]] = (
    {},
    [],
    ["all-proxy-models"],
    ["all-team-models"],
)

_FOREVER: Final[tuple[object, ...]] = (None, "", "-1", "permanent")

_HARMLESS: Final = frozenset(
    {
        "alias", "auto_create_key", "budget_reset_at", "created_by", "grace_period",
        "key_type", "organization_alias", "send_invite_email", "spend", "sso_user_id",
        "team_alias", "updated_by", "user_alias", "user_email", "user_role",
    }
)  # fmt: skip
"""What restricts nobody: left out, and said so."""

_NOTES: Final = frozenset({"metadata", "tags", "members", "admins"})
"""What only keys keep."""

_IDS: Final[dict[Section, tuple[str, ...]]] = {
    "keys": ("key_alias",),
    "teams": ("team_id", "team_alias"),
    "users": ("user_id", "user_email"),
    "organizations": ("organization_id", "organization_alias"),
    "end_users": ("user_id",),
}
"""Where the id is, by preference; an e-mail address is one too."""
_OWNERS: Final[dict[Section, dict[str, str]]] = {
    "keys": {"user_id": "user", "team_id": "team", "organization_id": "organization"},
    "teams": {"organization_id": "organization"},
    "users": {"organization_id": "organization", "team_id": "team"},
    "organizations": {},
    "end_users": {},
}
_RATES: Final = {
    "tpm_limit": "tokens_per_minute",
    "rpm_limit": "requests_per_minute",
}


class Said(msgspec.Struct, frozen=True):
    """What a request of LiteLLM's says, in our words."""

    id: str | None
    settings: dict[str, Any]
    """A merge patch: None takes away."""
    dropped: tuple[str, ...]


def id_of_alias(alias: str) -> str:
    """Return the id of what LiteLLM's scripts call `alias`: a name may have blanks there."""
    return re.sub(r"[^A-Za-z0-9_.@+-]+", "-", alias).strip("-._@+")[:128] or alias


def read(
    section: Section, asked: Mapping[str, Any], *, now: float, new: bool = True
) -> Said:
    """Read the body of ``/key/generate``, ``/team/new``, ``/user/new`` or an update.

    Args:
        section: what it makes or changes.
        asked: the body.
        now: Unix seconds, to which durations are added.
        new: whether it makes what it names.

    Raises:
        Invalid: it says something that is not known here and could restrict somebody, or
            that cannot be kept.
    """
    left = {field: value for field, value in asked.items() if field != "key"}
    dropped: list[str] = []
    id_ = None
    for field in _IDS[section]:
        found = left.get(field)
        if id_ is None and isinstance(found, str) and found:
            left.pop(field)
            id_ = id_of_alias(found) if field.endswith("_alias") else found
    settings: dict[str, Any] = {}
    for theirs, ours in _OWNERS[section].items():
        if theirs in left:
            settings[ours] = left.pop(theirs)
    settings |= _limits(left)
    settings |= _budget(left, dropped, new=new)
    settings |= _plain(section, left, now)
    for field, value in left.items():
        harmless = field in _HARMLESS or (section != "keys" and field in _NOTES)
        if harmless or value in (None, "", [], {}):
            if value not in (None, "", [], {}):
                dropped.append(field)
        else:
            raise Invalid(f"{field} is not known to this gateway.", param=field)
    return Said(id_, settings, tuple(dropped))


def write(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an entry says in LiteLLM's words."""
    rates = entry.get("rate_limits", {})
    budget = (entry.get("budgets") or [{}])[0]
    periods = {period: text for text, period in reversed(_PERIODS.items())}
    return {
        "models": [] if entry.get("models") in (None, ["*"]) else entry["models"],
        "max_budget": budget.get("usd"),
        "budget_duration": periods.get(budget.get("period", "month"))
        if budget
        else None,
        **{theirs: rates.get(ours) for theirs, ours in _RATES.items()},
        "max_parallel_requests": entry.get("concurrency"),
        "metadata": entry.get("metadata", {}),
        "tags": entry.get("tags", []),
        "blocked": bool(entry.get("blocked")),
    }


def log_line(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return an exchange as ``/spend/logs`` has it."""
    return {
        "request_id": row["id"],
        "call_type": row["operation"],
        "status": "success" if row["outcome"] == "ok" else "failure",
        "api_key": row["key"],
        "user": row["user"],
        "team_id": row["team"],
        "end_user": row["end_user"],
        "model": row["request_model"],
        "model_group": row["model"],
        "custom_llm_provider": row["provider"],
        "spend": row["cost_usd"] or 0,
        "prompt_tokens": row["input_tokens"],
        "completion_tokens": row["output_tokens"],
        "total_tokens": row["input_tokens"] + row["output_tokens"],
        "startTime": datetime.fromtimestamp(row["started_at"], UTC).isoformat(),
        "endTime": datetime.fromtimestamp(
            row["started_at"] + row["duration"], UTC
        ).isoformat(),
        "request_tags": row["tags"],
    }


def seconds(value: object, field: str) -> float:
    """Read a duration such as ``30d``, ``24h``, ``90s`` or a number of seconds.

    Raises:
        Invalid: it is none.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = (
        re.fullmatch(r"(\d{1,6})(s|m|min|h|d|w|mo)", value)
        if isinstance(value, str)
        else None
    )
    if match is None:
        raise Invalid(f"{field} must be a duration such as 30d or 24h.", param=field)
    return float(int(match[1]) * _UNITS[match[2]])


def _limits(left: dict[str, Any]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    rates = {
        ours: left.pop(theirs) for theirs, ours in _RATES.items() if theirs in left
    }
    if rates:
        settings["rate_limits"] = rates
    if "max_parallel_requests" in left:
        settings["concurrency"] = left.pop("max_parallel_requests")
    # On creation null says nothing; there is nothing yet to take away.
    return settings


def _budget(left: dict[str, Any], dropped: list[str], *, new: bool) -> dict[str, Any]:
    if "max_budget" not in left:
        for field in ("budget_duration", "soft_budget"):
            if left.pop(field, None) is None:
                continue
            if not new:  # of a budget that is there already
                raise Invalid(f"{field} needs max_budget.", param=field)
            dropped.append(field)
        return {}
    usd, duration = left.pop("max_budget"), left.pop("budget_duration", None)
    soft = left.pop("soft_budget", None)
    if usd is None:
        return {"budgets": None}
    period = "total" if duration is None else _PERIODS.get(str(duration))
    if period is None:
        known = ", ".join(_PERIODS)
        raise Invalid(
            f"budget_duration must be one of {known}: budgets follow the calendar.",
            param="budget_duration",
        )
    budget: dict[str, Any] = {"usd": usd, "period": period}
    if isinstance(soft, int | float) and isinstance(usd, int | float) and usd > 0:
        budget["alerts"] = [round(max(1, min(1000, 100 * soft / usd)))]
    return {"budgets": [budget]}


def _plain(section: Section, left: dict[str, Any], now: float) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if "models" in left:
        models = left.pop("models")
        settings["models"] = None if models in _ALL_MODELS else models
    if "blocked" in left:
        settings["blocked"] = left.pop("blocked")
    if section != "keys":
        return settings
    if "duration" in left:
        duration = left.pop("duration")
        settings["expires"] = (
            None if duration in _FOREVER else now + seconds(duration, "duration")
        )
    if "tags" in left:
        settings["tags"] = left.pop("tags")
    if "metadata" in left:
        metadata = left.pop("metadata") or {}
        if not isinstance(metadata, Mapping):
            raise Invalid("metadata must be an object.", param="metadata")
        settings["metadata"] = {
            key: value
            if isinstance(value, str)
            else msgspec.json.encode(value).decode()
            for key, value in metadata.items()
        }
    return settings
