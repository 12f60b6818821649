"""What the OpenAPI document says of LiteLLM's bodies and answers."""

from __future__ import annotations

from extproc.admin.document import (
    ANY,
    FLAG,
    NUMBER,
    STRING,
    WHOLE,
    Schema,
    listed,
    maybe,
    ref,
    shape,
)

_LIMITS: Schema = {
    "max_budget": maybe(NUMBER),
    "budget_duration": maybe(STRING),
    "tpm_limit": maybe(WHOLE),
    "rpm_limit": maybe(WHOLE),
    "max_parallel_requests": maybe(WHOLE),
}
_SHOWN: Schema = {
    **_LIMITS,
    "models": listed(STRING),
    "metadata": ANY,
    "tags": listed(STRING),
    "blocked": FLAG,
    "organization_id": maybe(STRING),
    "spend": NUMBER,
}
_KEY: Schema = {
    **_SHOWN,
    "key": STRING,
    "token_id": STRING,
    "key_alias": STRING,
    "key_name": STRING,
    "expires": maybe(STRING),
    "user_id": maybe(STRING),
    "team_id": maybe(STRING),
}
_NAMES = ("team", "user", "organization")
_OWNER: Schema = {
    **_SHOWN,
    **{f"{name}_{what}": maybe(STRING) for name in _NAMES for what in ("id", "alias")},
    "key": STRING,
    "token_id": STRING,
    "members_with_roles": listed(ref("LiteLLMMember")),
}
_METRICS: Schema = {
    "spend": NUMBER, "prompt_tokens": WHOLE, "completion_tokens": WHOLE,
    "total_tokens": WHOLE, "api_requests": WHOLE,
}  # fmt: skip


def _asked(**fields: Schema) -> Schema:
    """Return the schema of a body: what is not in it is dropped or refused by name."""
    return {"type": "object", "properties": fields}


def components() -> dict[str, Schema]:
    """Return all schemas, by name."""
    asked: Schema = {
        **{name: maybe(schema) for name, schema in _SHOWN.items() if name != "spend"},
        "max_budget": maybe({"type": ["number", "string"]}),
        "soft_budget": maybe(NUMBER),
    }
    owner_ids = {f"{name}_id": maybe(STRING) for name in _NAMES}
    aliases = {f"{name}_alias": maybe(STRING) for name in _NAMES}
    member = {"user_id": maybe(STRING), "user_email": maybe(STRING), "role": STRING}
    broken_down = {
        "type": "object",
        "additionalProperties": shape({"metrics": shape(_METRICS)}),
    }
    return {
        "LiteLLMKeySettings": _asked(
            key=STRING,
            key_alias=maybe(STRING),
            duration=maybe(STRING),
            **asked,
            **{name: one for name, one in owner_ids.items() if name not in asked},
        ),
        "LiteLLMOwnerSettings": _asked(
            **asked,
            **{name: one for name, one in owner_ids.items() if name not in asked},
            **aliases,
            user_email=maybe(STRING),
            auto_create_key=FLAG,
            members_with_roles=listed(_asked(**member)),
        ),
        "LiteLLMKey": shape(_KEY, optional=["key"]),
        "LiteLLMKeyName": _asked(key=STRING),
        "LiteLLMKeyNames": _asked(keys=listed(STRING), key_aliases=listed(STRING)),
        "LiteLLMDeletedKeys": shape({"deleted_keys": listed(STRING)}),
        "LiteLLMRegeneration": _asked(
            key=STRING, grace_period={"type": ["string", "number"]}
        ),
        "LiteLLMKeyInfo": shape({"key": maybe(STRING), "info": ref("LiteLLMKey")}),
        "LiteLLMKeyInfos": shape(
            {"key": listed(STRING), "info": listed(ref("LiteLLMKey"))}
        ),
        "LiteLLMKeyPage": shape(
            {
                "keys": listed({"anyOf": [STRING, ref("LiteLLMKey")]}),
                "total_count": WHOLE,
                "current_page": WHOLE,
                "total_pages": WHOLE,
            }
        ),
        "LiteLLMOwner": shape(_OWNER, optional=_OWNER.keys() - _SHOWN.keys()),
        "LiteLLMOwnerUpdated": shape(
            {**owner_ids, "data": ref("LiteLLMOwner")}, optional=owner_ids
        ),
        "LiteLLMOwnerNames": _asked(
            **{f"{name}_ids": listed(STRING) for name in _NAMES}
        ),
        "LiteLLMDeletedOwners": _one_of(
            "deleted_{}s", (*_NAMES, "customer"), listed(STRING)
        ),
        "LiteLLMOwnerInfo": {
            "anyOf": [
                *(
                    shape(
                        {
                            f"{name}_id": STRING,
                            f"{name}_info": ref("LiteLLMOwner"),
                            "keys": listed(ref("LiteLLMKey")),
                        }
                    )
                    for name in _NAMES
                ),
                ref("LiteLLMOwner"),
            ]
        },
        "LiteLLMUsers": shape({"users": listed(ref("LiteLLMOwner"))}),
        "LiteLLMMember": shape({"user_id": STRING, "role": STRING}),
        "LiteLLMMembers": shape(
            {"team_id": STRING, "members_with_roles": listed(ref("LiteLLMMember"))}
        ),
        "LiteLLMMembership": _asked(
            team_id=STRING,
            member={"anyOf": [_asked(**member), listed(_asked(**member))]},
            max_budget_in_team=maybe(NUMBER),
            user_id=STRING,
            user_email=STRING,
        ),
        "LiteLLMTotal": shape({"spend": NUMBER, "max_budget": {"type": "null"}}),
        "LiteLLMSpent": {
            "type": "object",
            "properties": {"total_spend": NUMBER},
            "required": ["total_spend"],
        },
        "LiteLLMTagged": shape(
            {
                "individual_request_tag": STRING,
                "log_count": WHOLE,
                "total_spend": NUMBER,
            }
        ),
        "LiteLLMActivity": shape(
            {
                "results": listed(
                    shape(
                        {
                            "date": STRING,
                            "metrics": shape(_METRICS),
                            "breakdown": shape(
                                dict.fromkeys(
                                    ("models", "providers", "api_keys"), broken_down
                                )
                            ),
                        }
                    )
                ),
                "metadata": shape({f"total_{n}": one for n, one in _METRICS.items()}),
            }
        ),
        "LiteLLMLogLine": {
            "type": "object",
            "properties": {"request_id": STRING, "spend": NUMBER, "startTime": STRING},
            "required": ["request_id", "spend", "startTime"],
        },
    }


def _one_of(pattern: str, names: tuple[str, ...], schema: Schema) -> Schema:
    return {"oneOf": [shape({pattern.format(name): schema}) for name in names]}
