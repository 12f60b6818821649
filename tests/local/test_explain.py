"""``extproc explain``: what would be sent, without sending it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from extproc.config.load import loads
from extproc.local.explain import Explanation, NoSuchKey, explain, lines
from extproc.local.prompt_count import PromptCount
from tests.cli.test_cli import extproc

TEXT = """
providers:
  openai: {type: openai, api_keys: [sk-first-secret, sk-second-secret], headers: {x-org: us}}
  claude: {type: anthropic, api_key: sk-ant-secret}
  aws: {type: bedrock, region: eu-west-1}
models:
  gpt:
    targets:
      - {provider: openai, model: gpt-4o-mini}
      - {provider: claude, model: claude-haiku-4-5}
      - {provider: openai, model: gpt-3.5-turbo}
    fallbacks: [nova]
    context_fallbacks: [long]
  nova: {targets: [{provider: aws, model: "amazon.nova-pro-v1:0"}]}
  long: {targets: [{provider: claude, model: claude-opus-4-6}]}
  openai/*: {targets: [{provider: openai, model: "*"}]}
keys:
  - id: ci
    key: sk-caller-secret-0123456789
    models: [gpt]
    rate_limits: {requests_per_minute: 5}
    budgets: [{usd: 10}]
"""
PICTURE = {
    "model": "gpt",
    "max_tokens": 100,
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}
            ],
        }
    ],
}
PLAIN = {"model": "gpt", "messages": [{"role": "user", "content": "Hi"}]}


def played(body: object, **options: str) -> Explanation:
    config = loads(TEXT, {}, source="g.yaml", folder=Path("/"))
    return explain(config, json.dumps(body).encode(), **options)  # type: ignore[arg-type]


def test_the_chain_is_shown_with_what_each_is_sent():
    found = played(PICTURE)
    assert [one.deployment for one in found.attempts] == [
        "openai/gpt-4o-mini",
        "openai.2/gpt-4o-mini",
        "claude/claude-haiku-4-5",  # for aws, which cannot be given an address
        "claude/claude-opus-4-6",
    ]
    assert found.skipped
    first = found.attempts[0]
    assert first.url == "https://api.openai.com/v1/chat/completions"
    assert first.headers["authorization"] == "Bearer ***"
    assert first.headers["x-org"] == "us"
    assert first.headers["content-length"] == str(len(bytes(first.body)))
    assert msgspec.json.decode(first.body) == {**PICTURE, "model": "gpt-4o-mini"}
    assert first.likely_cost is not None
    last = found.attempts[-1]
    assert last.only_if == "the prompt is too long"
    assert last.headers["x-api-key"] == "***"


def test_what_envoy_signs_is_shown_as_signed():
    (one,) = played(PLAIN, model="nova").attempts
    assert one.headers["authorization"] == "AWS4-HMAC-SHA256 ***"
    assert one.url.startswith("https://bedrock-runtime.eu-west-1.amazonaws.com/model/")


def test_who_is_not_asked_is_shown_with_the_reason():
    found = played(PICTURE)
    told = [(one.model, one.why, one.detail) for one in found.not_tried]
    assert told == [("gpt-3.5-turbo", "unable", "vision")] * 2


def test_a_keys_limits_are_reserved_and_its_models_kept():
    found = played({**PLAIN, "max_tokens": 10}, key="ci")
    assert found.reserves[0] == "1 of 5 requests (key 'ci')"
    assert found.reserves[1].startswith("$0.")
    refused = played({**PLAIN, "model": "nova"}, key="ci")
    assert refused.status == 404
    assert not refused.attempts


def test_another_model_and_another_api():
    found = played({**PLAIN, "max_tokens": 9}, api="messages", model="openai/gpt-4o")
    assert found.model == "openai/gpt-4o"
    assert msgspec.json.decode(found.attempts[0].body)["model"] == "gpt-4o"
    assert found.attempts[0].url.endswith("/v1/chat/completions")


def test_each_attempt_says_how_many_tokens_its_prompt_has():
    exact, again, claude = (one.prompt for one in played(PLAIN).attempts[:3])
    assert exact == again == PromptCount(8, "o200k_base")
    assert claude.encoding is None
    shown = list(lines(played(PLAIN)))
    assert "   8 tokens in, exactly (o200k_base)" in shown
    assert (
        f"   about {claude.tokens} tokens in, an estimate: only OpenAI's tokenizers are"
        " public"
    ) in shown
    picture = played(PICTURE).attempts[0].prompt
    assert (picture.tokens > 1000, picture.encoding) == (True, None)


def test_no_secret_is_shown():
    text = "\n".join([*lines(played(PICTURE, key="ci")), str(played(PICTURE))])
    assert "secret" not in text


def test_an_unknown_key():
    with pytest.raises(NoSuchKey):
        played(PLAIN, key="nobody")


def test_the_command_prints_it_for_people_and_for_programs(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text(TEXT)
    (tmp_path / "r.json").write_text(json.dumps(PICTURE))
    done = extproc("explain", "r.json", "--config", "g.yaml", cwd=tmp_path)
    assert done.returncode == 0
    assert "1. openai/gpt-4o-mini (gpt: priority" in done.stdout
    assert "not tried: openai/gpt-3.5-turbo key 1: unable (vision)" in done.stdout
    done = extproc("explain", "r.json", "--config", "g.yaml", "--json", cwd=tmp_path)
    shown = json.loads(done.stdout)
    assert shown["attempts"][0]["body"]["model"] == "gpt-4o-mini"
    assert shown["attempts"][0]["prompt"]["why"] == "a message that is not one text"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing.json",), "Cannot read nothing.json: No such file or directory."),
        (("r.json", "--api", "chta"), "There is no API 'chta'"),
        (("r.json", "--key", "nobody"), "There is no key 'nobody'"),
    ],
)
def test_what_the_user_can_mend_is_said(tmp_path: Path, arguments, said) -> None:
    (tmp_path / "g.yaml").write_text(TEXT)
    (tmp_path / "r.json").write_text(json.dumps(PLAIN))
    done = extproc("explain", *arguments, "--config", "g.yaml", cwd=tmp_path)
    assert (done.returncode, said in done.stderr) == (2, True)


def test_a_request_that_is_refused_is_shown_and_ends_in_1(tmp_path: Path) -> None:
    (tmp_path / "g.yaml").write_text(TEXT)
    (tmp_path / "r.json").write_text('{"model": "nobody", "messages": []}')
    done = extproc("explain", "r.json", "--config", "g.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert "answers 404 itself" in done.stdout
