"""``gateway.yaml`` in, a configuration out, or everything that is wrong with it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, strategies as st

from extproc.config.load import ConfigError, load, loads
from extproc.deployment import STRATEGIES

GOOD = """\
providers:
  openai: {type: openai, api_key: sk-one}
  claude: {type: anthropic, api_key: sk-two}
models:
  gpt-4o:
    targets:
      - provider: openai
      - {provider: claude, model: claude-sonnet-4-5}
keys:
  - {id: dev, key: sk-dev, models: ["gpt-*"]}
"""


def problems(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        loads(text, environ, source="g.yaml", folder=Path("/nowhere"))
    return str(refused.value).split("\n")


def test_a_good_file_is_read():
    config = loads(GOOD, {}, source="g.yaml", folder=Path("/"))
    assert config.listen.address == "127.0.0.1:8080"
    assert config.providers["openai"].endpoint.host == "api.openai.com"
    first, second = config.models["gpt-4o"].targets
    assert (first.model, second.model) == (None, "claude-sonnet-4-5")
    assert config.keys[0].models == ("gpt-*",)


CASES = {
    "unknown key": (
        "listn: {}",
        "g.yaml:11: listn: unknown key, did you mean listen?",
    ),
    "unknown key, nothing alike": ("zzz: 1", "g.yaml:11: zzz: unknown key"),
    "unknown key inside": (
        "listen: {adress: x}",
        "g.yaml:11: listen.adress: unknown key, did you mean address?",
    ),
    "wrong kind of value": (
        "listen: 5",
        "g.yaml:11: listen: must be a mapping (key: value lines)",
    ),
    "no address": (
        "listen: {address: here}",
        "g.yaml:11: listen.address: must be IP:PORT, such as 127.0.0.1:8080 or [::1]:8080",
    ),
    "not a number": (
        "workers: many",
        "g.yaml:11: workers: must be a whole number",
    ),
    "too few": ("workers: 0", "g.yaml:11: workers: must be at least 1"),
    "not a time": (
        "timeouts: {idle: soon}",
        "g.yaml:11: timeouts.idle: must be a time such as 90, 90s, 2m or 500ms",
    ),
    "no time": (
        "timeouts: {idle: 0}",
        "g.yaml:11: timeouts.idle: must be more than 0",
    ),
    "not a size": (
        "limits: {body_bytes: 32MB}",
        "g.yaml:11: limits.body_bytes: must be a size such as 1048576, 512KiB or 32MiB",
    ),
    "a certificate that is not there": (
        "listen: {tls: {certificate: c.pem, key: k.pem}}",
        (
            "g.yaml:11: listen.tls.certificate: '/nowhere/c.pem' cannot be read: "
            "No such file or directory"
        ),
    ),
    "one address for two": (
        "control: {address: 127.0.0.1:8080}",
        "g.yaml:11: control.address: the same as listen.address",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_named_with_its_line_and_key(name):
    added, message = CASES[name]
    assert problems(GOOD + added)[0] == message


CHANGES = {
    "unknown provider": (
        "provider: openai\n",
        "provider: opnai\n",
        (
            "g.yaml:7: models.gpt-4o.targets[0].provider: there is no provider 'opnai', "
            "did you mean openai?"
        ),
    ),
    "unknown type": (
        "type: openai",
        "type: opena",
        (
            "g.yaml:2: providers.openai.type: is not a type of provider: "
            "`extproc providers` lists them, did you mean openai?"
        ),
    ),
    "a type that YAML 1.1 reads as a boolean": (
        "type: openai",
        "type: on",
        (
            "g.yaml:2: providers.openai.type: is not a type of provider: "
            "`extproc providers` lists them"
        ),
    ),
    "a name that YAML reads as a boolean": (
        "  openai: {",
        "  true: {",
        "g.yaml:2: providers: the key 'true' is a boolean in YAML: put it in quotes",
    ),
    "a key that YAML reads as a number": (
        "sk-one",
        "12345",
        (
            "g.yaml:2: providers.openai.api_key: must be a text, and YAML reads this as a "
            "number: put it in quotes"
        ),
    ),
    "an unset variable": (
        "sk-one",
        '"${OPENAI_API_KEY}"',
        (
            "g.yaml:2: providers.openai.api_key: the environment variable OPENAI_API_KEY "
            "is not set"
        ),
    ),
    "an empty variable": (
        "sk-one",
        '"${EMPTY}"',
        "g.yaml:2: providers.openai.api_key: is empty",
    ),
    "no key": (
        ", api_key: sk-one",
        "",
        "g.yaml:2: providers.openai: api_key is missing (usually ${OPENAI_API_KEY})",
    ),
    "a line break in a key": (
        "sk-one",
        '"sk-one\\n"',
        (
            "g.yaml:2: providers.openai.api_key: has a blank, a line break or a character "
            "outside ASCII in it"
        ),
    ),
    "plain text to another machine": (
        "sk-one",
        "sk-one, base_url: http://10.0.0.1/v1",
        (
            "g.yaml:2: providers.openai: base_url is http:// to another machine, where "
            "anybody on the way reads prompts and the key: use https://, or say "
            "allow_plaintext: true"
        ),
    ),
    "a password in the URL": (
        "sk-one",
        "sk-one, base_url: 'https://u:hunter2@h/v1'",
        (
            "g.yaml:2: providers.openai.base_url: must hold no user name or password: use "
            "api_key"
        ),
    ),
    "a header that is ours": (
        "sk-one",
        "sk-one, headers: {authorization: hunter2}",
        (
            "g.yaml:2: providers.openai.headers: authorization is set by the gateway "
            "(credentials: api_key)"
        ),
    ),
    "a header that Envoy would expand": (
        "sk-one",
        'sk-one, headers: {x-a: "%REQ(cookie)%"}',
        (
            "g.yaml:2: providers.openai.headers: x-a has a %, which Envoy would read as a "
            "variable"
        ),
    ),
    "a switch that is not one": (
        "sk-one",
        "sk-one, include_usage: no",
        "g.yaml:2: providers.openai.include_usage: must be true or false",
    ),
    "a reserved name": (
        "  openai: {",
        "  sidecar: {",
        "g.yaml:2: providers.sidecar: this name is taken by the gateway itself",
    ),
    "a name with a capital": (
        "  openai: {",
        "  OpenAI: {",
        "g.yaml:2: providers.OpenAI: a provider's name has only a-z, 0-9, - and _ in it",
    ),
    "a model's name with a blank": (
        "  gpt-4o:",
        "  gpt 4o:",
        "g.yaml:5: models.gpt 4o: a model's name is not empty and has no blank in it",
    ),
    "no target": (
        (
            "    targets:\n      - provider: openai\n"
            "      - {provider: claude, model: claude-sonnet-4-5}\n"
        ),
        "    targets: []\n",
        "g.yaml:6: models.gpt-4o.targets: needs at least 1",
    ),
    "targets missing": (
        (
            "    targets:\n      - provider: openai\n"
            "      - {provider: claude, model: claude-sonnet-4-5}\n"
        ),
        "    owned_by: me\n",
        "g.yaml:5: models.gpt-4o.targets: is missing",
    ),
    "a target too many": (
        "      - provider: openai\n",
        "".join(f"      - {{provider: openai, model: m{n}}}\n" for n in range(64)),
        "g.yaml:6: models.gpt-4o.targets: may have at most 64",
    ),
    "two ways to say a key": (
        "type: openai, api_key: sk-one",
        "type: openai, api_key: sk-one, api_keys: [sk-two]",
        "g.yaml:2: providers.openai: needs either api_key or api_keys, and not both",
    ),
    "a provider's key twice": (
        "type: openai, api_key: sk-one",
        "type: openai, api_keys: [sk-x, sk-x]",
        "g.yaml:2: providers.openai: api_keys has the same key twice",
    ),
    "no strategy": (
        "  gpt-4o:\n",
        "  gpt-4o:\n    strategy: fastest\n",
        "g.yaml:6: models.gpt-4o.strategy: is not a strategy: " + ", ".join(STRATEGIES),
    ),
    "a body that is ours": (
        "{provider: claude, model: claude-sonnet-4-5}",
        "{provider: claude, model: x, body: {set: {stream: true}}}",
        ("g.yaml:8: models.gpt-4o.targets[1].body: stream is the gateway's to write"),
    ),
    "a rule to nowhere": (
        "  gpt-4o:\n",
        "  gpt-4o:\n    rules: [{when: {tags: [eu]}}]\n",
        "g.yaml:6: models.gpt-4o.rules[0]: needs either model or split, and not both",
    ),
    "one target twice": (
        "      - provider: openai\n",
        "      - provider: openai\n      - provider: openai\n",
        "g.yaml:8: models.gpt-4o.targets[1]: this target is already in the list",
    ),
    "a list of an exact name": (
        "  gpt-4o:\n",
        "  gpt-4o:\n    listed: [gpt-4o]\n",
        "g.yaml:6: models.gpt-4o.listed: only a glob (a name with * in it) has a list",
    ),
    "a list of strangers": (
        "  gpt-4o:\n",
        "  gpt-*:\n    listed: [gpt-5, o3]\n",
        "g.yaml:6: models.gpt-*.listed: 'gpt-*' does not serve 'o3'",
    ),
    "one id twice": (
        "keys:\n",
        "keys:\n  - {id: dev, key: sk-other}\n",
        "g.yaml:11: keys[1].id: the same as that of keys[0]",
    ),
    "one key twice": (
        "keys:\n",
        "keys:\n  - {id: other, key: sk-dev}\n",
        "g.yaml:11: keys[1].key: the same as that of keys[0]",
    ),
    "neither key nor hash": (
        "{id: dev, key: sk-dev,",
        "{id: dev,",
        "g.yaml:10: keys[0]: needs either key or key_sha256, and not both",
    ),
    "not a list": (
        "  - {id: dev, key: sk-dev",
        "  {id: dev, key: sk-dev",
        "g.yaml:9: keys: must be a list",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_place_is_named_with_its_line_and_key(name):
    old, new, message = CHANGES[name]
    assert old in GOOD
    found = problems(GOOD.replace(old, new, 1), EMPTY="")
    assert message in found


def test_no_message_repeats_a_credential():
    for old, new, _ in CHANGES.values():
        text = "\n".join(problems(GOOD.replace(old, new, 1), EMPTY=""))
        for secret in ("sk-one", "sk-two", "sk-dev", "hunter2", "12345"):
            assert secret not in text


def test_everything_is_told_at_once_by_line():
    found = problems(
        "providers:\n"
        "  a: {type: opena, api_kye: x}\n"
        '  b: {type: openai, api_key: "${NOPE}", timeouts: {conect: 3}}\n'
        "models:\n"
        "  m: {targets: [{provider: aa}]}\n"
        "models: {}\n"
        "workrs: 2\n"
    )
    places = [line.split(": ")[:2] for line in found]
    assert places == [
        ["g.yaml:2", "providers.a.type"],
        ["g.yaml:2", "providers.a.api_kye"],
        ["g.yaml:3", "providers.b.api_key"],
        ["g.yaml:3", "providers.b.timeouts.conect"],
        ["g.yaml:5", "models.m.targets[0].provider"],
        ["g.yaml:6", "models"],
        ["g.yaml:7", "workrs"],
    ]


def test_variables_may_be_numbers_and_switches():
    text = (
        GOOD + 'workers: ${N}\nlimits: {connections: "${N}", body_bytes: "${B:-2MiB}"}'
    )
    config = loads(text, {"N": "3"}, source="g.yaml", folder=Path("/"))
    assert (config.workers, config.limits.connections) == (3, 3)
    assert config.limits.body_bytes == 2 << 20


@pytest.mark.parametrize("text", ["", "- 1", "just words", "# nothing"])
def test_what_is_no_mapping_is_refused(text):
    assert problems(text) == [
        "g.yaml:1: must be a mapping with providers and models in it"
    ]


def test_a_file_and_what_it_names_are_found_from_its_folder(tmp_path):
    (tmp_path / "ca.pem").touch()
    file = tmp_path / "gateway.yaml"
    file.write_text(GOOD.replace("sk-one", "sk-one, ca_file: ca.pem"))
    assert load(file, {}).providers["openai"].ca_file == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff\xfe\xff", "cannot be read: it is not UTF-8"),
        (b" " * (4 * 1024 * 1024 + 1), "larger than 4194304 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path, content, message):
    file = tmp_path / "gateway.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        load(file, {})
    assert str(refused.value) == f"{file}: {message}"


leaves = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["providers", "models", "keys", "targets", "type", "a"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(trees)
def test_any_structure_is_accepted_or_refused_with_reasons(tree):
    text = msgspec.json.encode(tree).decode()
    with contextlib.suppress(ConfigError):
        assert loads(text, {}, source="g.yaml", folder=Path("/")).models


def test_what_a_variable_says_is_in_no_problem():
    """Somebody has put a key where a name belongs, and asks a colleague why it fails."""
    text = GOOD.replace("provider: openai\n", "provider: ${KEY_OF_OURS}\n", 1)
    found = "\n".join(problems(text, KEY_OF_OURS="sk-secret-0123456789"))
    assert "there is no provider '${KEY_OF_OURS}'" in found
    assert "sk-secret" not in found
