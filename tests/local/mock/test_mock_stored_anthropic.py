"""The mock of what Anthropic keeps, held against the SDK's types."""

from __future__ import annotations

import typing

from anthropic.types.messages import batch_create_params

from extproc.local.mock.anthropic.stored import BATCH
from extproc.local.mock.rules import ListOf, Obj

IN_HEADERS = {"user_profile_id", "workspace_id"}


def names(rule: object) -> set[str]:
    assert isinstance(rule, Obj)
    return {name.removesuffix("!") for name in rule.fields}


def test_a_batch_has_the_members_that_the_sdk_sends():
    sent = typing.get_type_hints(batch_create_params.BatchCreateParams)
    assert names(BATCH) == set(sent) - IN_HEADERS
    requests = BATCH.fields["requests!"]
    assert isinstance(requests, ListOf)
    assert names(requests.item) == set(batch_create_params.Request.__annotations__)
