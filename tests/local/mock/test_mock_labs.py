"""The mock of OpenAI's containers, skills and evals, judged by the official SDK's types."""

from __future__ import annotations

import typing
from typing import Any

import openai
import pytest
from openai.types import (
    container_create_params,
    eval_create_params,
    eval_update_params,
    skill_update_params,
)
from openai.types.containers import file_create_params
from openai.types.evals import (
    create_eval_completions_run_data_source_param as completions,
    create_eval_jsonl_run_data_source_param as jsonl,
    run_create_params,
)
from openai.types.graders import (
    python_grader_param,
    score_model_grader_param,
    string_check_grader_param,
    text_similarity_grader_param,
)

from extproc.local.mock.openai import labs_rules as rules
from extproc.local.mock.rules import Obj

SKILL = (
    "haiku/SKILL.md",
    b"---\nname: haiku\ndescription: writes haiku\n---\nBe brief.",
)
CHECK: Any = {
    "type": "string_check", "name": "same", "input": "{{ item.a }}", "reference": "b",
    "operation": "eq",
}  # fmt: skip
CUSTOM: Any = {"type": "custom", "item_schema": {"type": "object"}}
SOURCE: Any = {
    "type": "jsonl",
    "source": {"type": "file_content", "content": [{"item": {"a": "b"}}]},
}


def named(rule: Any) -> dict[str, bool]:
    """Return the fields, and whether they have to be there."""
    assert isinstance(rule, Obj)
    return {name.removesuffix("!"): name.endswith("!") for name in rule.fields}


def typed(params: Any) -> dict[str, bool]:
    hints = typing.get_type_hints(params, include_extras=True)
    required = typing.Required
    return {name: typing.get_origin(one) is required for name, one in hints.items()}


@pytest.mark.parametrize(
    ("rule", "params"),
    [
        (rules.CONTAINER, container_create_params.ContainerCreateParams),
        (rules.SKILL_UPDATE, skill_update_params.SkillUpdateParams),
        (rules.EVAL, eval_create_params.EvalCreateParams),
        (rules.EVAL_UPDATE, eval_update_params.EvalUpdateParams),
        (rules.RUN, run_create_params.RunCreateParams),
        (
            rules.CRITERIA["label_model"],
            eval_create_params.TestingCriterionLabelModel,
        ),
        (
            rules.CRITERIA["string_check"],
            string_check_grader_param.StringCheckGraderParam,
        ),
        (
            rules.CRITERIA["text_similarity"],
            eval_create_params.TestingCriterionTextSimilarity,
        ),
        (rules.CRITERIA["python"], eval_create_params.TestingCriterionPython),
        (rules.CRITERIA["score_model"], eval_create_params.TestingCriterionScoreModel),
        (rules.SOURCES["jsonl"], jsonl.CreateEvalJSONLRunDataSourceParam),
        (
            rules.SOURCES["completions"],
            completions.CreateEvalCompletionsRunDataSourceParam,
        ),
        (
            rules.SOURCES["responses"],
            run_create_params.DataSourceCreateEvalResponsesRunDataSource,
        ),
    ],
)
def test_the_tables_have_the_sdks_names(rule, params):
    assert named(rule) == typed(params)


def test_the_graders_are_the_sdks():
    assert typing.get_type_hints(python_grader_param.PythonGraderParam)
    assert typing.get_type_hints(score_model_grader_param.ScoreModelGraderParam)
    assert typing.get_type_hints(
        text_similarity_grader_param.TextSimilarityGraderParam
    ).keys() < {
        one.removesuffix("!") for one in rules.CRITERIA["text_similarity"].fields
    }
    assert typing.get_type_hints(file_create_params.FileCreateParams).keys() == {
        "file", "file_id",
    }  # fmt: skip


def test_a_container_has_files(openai_client):
    box = openai_client.containers.create(name="c", memory_limit="4g")
    assert (box.status, box.memory_limit) == ("running", "4g")
    made = openai_client.containers.files.create(box.id, file=("a.txt", b"abc"))
    assert (made.path, made.bytes) == ("/mnt/data/a.txt", 3)
    file = openai_client.files.create(file=("b.txt", b"b"), purpose="user_data")
    openai_client.containers.files.create(box.id, file_id=file.id)
    assert len(list(openai_client.containers.files.list(box.id))) == 2
    found = openai_client.containers.files.content.retrieve(
        made.id, container_id=box.id
    )
    assert found.read() == b"abc"
    openai_client.containers.files.delete(made.id, container_id=box.id)
    openai_client.containers.delete(box.id)
    with pytest.raises(openai.NotFoundError):
        openai_client.containers.retrieve(box.id)


def test_a_skill_has_versions(openai_client):
    skill = openai_client.skills.create(files=[SKILL])
    assert (skill.name, skill.default_version) == ("haiku", "1")
    again = openai_client.skills.versions.create(skill.id, files=[SKILL])
    assert again.version == "2"
    changed = openai_client.skills.update(skill.id, default_version="2")
    assert (changed.default_version, changed.latest_version) == ("2", "2")
    content = openai_client.skills.content.retrieve(skill.id)
    assert content.read() == SKILL[1]
    assert len(list(openai_client.skills.versions.list(skill.id))) == 2
    assert openai_client.skills.delete(skill.id).deleted


def test_an_eval_is_run(openai_client):
    test = openai_client.evals.create(
        data_source_config=CUSTOM, testing_criteria=[CHECK], name="e"
    )
    assert test.testing_criteria[0].name == "same"
    run = openai_client.evals.runs.create(test.id, data_source=SOURCE)
    assert (
        openai_client.evals.runs.retrieve(run.id, eval_id=test.id).status == "completed"
    )
    assert (
        list(openai_client.evals.runs.output_items.list(run.id, eval_id=test.id)) == []
    )
    assert openai_client.evals.update(test.id, name="f").name == "f"
    assert openai_client.evals.delete(test.id).deleted


@pytest.mark.parametrize(
    "ask",
    [
        lambda c: c.containers.create(name=""),
        lambda c: c.containers.create(name="a", memory_limit="2g"),
        lambda c: c.containers.create(name="a", extra_body={"nonsense": 1}),
        lambda c: c.containers.create(name="a", file_ids=["file-0"]),
        lambda c: c.skills.create(files=[("a.txt", b"no manifest")]),
        lambda c: c.evals.create(data_source_config=CUSTOM, testing_criteria=[]),
        lambda c: c.evals.create(
            data_source_config=CUSTOM, testing_criteria=[{**CHECK, "operation": "gt"}]
        ),
        lambda c: c.evals.create(
            data_source_config={"type": "csv"}, testing_criteria=[CHECK]
        ),
        lambda c: c.evals.runs.create("eval_0", data_source=SOURCE),
    ],
)
def test_what_the_real_one_refuses_is_refused(openai_client, ask):
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)) as caught:
        ask(openai_client)
    body: Any = caught.value.body
    assert body["message"]
