"""What is written for Envoy: goldens, each accepted by Envoy, and how files change.

``EXTPROC_GOLDEN=write`` rewrites the goldens; the diff is what is reviewed. They were
written by another process, so they also show that nothing depends on a hash seed.
"""

from __future__ import annotations

import functools
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import certifi
import pytest

from extproc.config.compile import Layout, compile_envoy, write_files
from extproc.config.compile.secrets import read_credential
from extproc.config.load import autoconfig, loads
from extproc.local.envoy import EnvoyRefused, validate
from tests.pki import Authority

GOLDENS = Path(__file__).parent / "goldens"

LAYOUT = Layout.under(
    Path("/run/extproc"),
    ca_bundle=Path("/etc/ca.pem"),
    workers=2,
    access_log=Path("/dev/stdout"),
)

TEXTS = {
    "two-providers": """
        providers:
          openai: {type: openai, api_key: sk-openai}
          anthropic: {type: anthropic, api_key: sk-anthropic}
        models:
          gpt-4o: {targets: [{provider: openai}]}
          claude-*: {targets: [{provider: anthropic}]}
    """,
    "clouds": """
        providers:
          azure:
            type: azure
            base_url: https://east.openai.azure.com
            api_version: 2024-10-21
            entra: {tenant_id: contoso, client_id: app, client_secret: s3cret}
            proxy: http://10.0.0.9:3128
            client_certificate: {certificate: FOLDER/tls/cert.pem, key: FOLDER/tls/key.pem}
          vertex:
            type: vertex
            project: p-1
            location: europe-west4
            http2: auto
            proxy: {url: "https://proxy.corp", username: gw, password: s3cret-too}
          fips:
            type: bedrock
            base_url: https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com
            http2: true
            aws: {access_key_id: AKIAMOCK, secret_access_key: s3cret-key}
          role:
            type: bedrock-anthropic
            region: eu-west-3
            aws: {role_arn: "arn:aws:iam::123456789012:role/models", external_id: e}
          irsa:
            type: bedrock
            aws:
              role_arn: "arn:aws:iam::123456789012:role/models"
              web_identity_token_file: FOLDER/tls/cert.pem
          profile:
            type: bedrock
            aws: {credentials_file: FOLDER/tls/key.pem, profile: models}
        models: {m: {targets: [{provider: azure}]}}
    """,
    "everything": """
        listen:
          address: "[::1]:8443"
          tls: {certificate: FOLDER/tls/cert.pem, key: FOLDER/tls/key.pem}
          xff_num_trusted_hops: 1
        workers: 2
        providers:
          local: {type: openai, base_url: "http://127.0.0.1:8000/v1"}
          lan:
            type: openai
            api_keys: [sk-lan, sk-lan-2]
            base_url: http://models.lan:8000/v1
            allow_plaintext: true
          private:
            type: openai
            api_key: sk-private
            base_url: https://10.0.0.1:8443/llm/v1
            allow_private: true
            ca_file: FOLDER/tls/cert.pem
            headers: {x-team: search}
            timeouts: {connect: 500ms, keep_alive: 10s}
            probe: {interval: 10s, timeout: 2s}
        models: {m: {targets: [{provider: local}, {provider: private, model: n}]}}
        jwt:
          corp:
            issuer: https://idp.example/
            audiences: [extproc]
            jwks_uri: https://idp.example/keys
          lab: {issuer: lab, audiences: [a, b], jwks_file: FOLDER/jwks.json}
        limits: {connections: 100, new_connections_per_second: 10, body_bytes: 1MiB}
        timeouts: {request: 10, first_byte: 20, idle: 5}
    """,
}


# The public key of RFC 7517, appendix A.1.
JWKS = """{"keys": [{"kty": "EC", "crv": "P-256", "kid": "1", "alg": "ES256",
  "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
  "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"""


@functools.cache
def compiled(name: str, folder: Path):
    text = TEXTS[name].replace("FOLDER", str(folder))
    config = loads(text, {}, source="gateway.yaml", folder=folder)
    return compile_envoy(config, LAYOUT)


@functools.cache
def mock():
    layout = Layout.under(Path("/run/x"), ca_bundle=Path("/ca"))
    return compile_envoy(autoconfig({}, mock_url="http://127.0.0.1:9"), layout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("config")
    (folder / "tls").mkdir()
    (folder / "jwks.json").write_text(JWKS)
    pair = Authority(folder).self_signed("gateway")
    Path(pair.chain).rename(folder / "tls" / "cert.pem")
    Path(pair.key).rename(folder / "tls" / "key.pem")
    return folder


def pieces(files) -> dict[str, Any]:
    """Cut the files into resources, as a reader looks for them."""
    bootstrap = json.loads(files.bootstrap)
    listener, tunnel = bootstrap["static_resources"].pop("listeners")
    found = {"bootstrap": bootstrap, "listener": listener, "tunnel": tunnel}
    found["routes"] = json.loads(files.rds)
    found["filters"] = json.loads(files.ecds)
    for cluster in json.loads(files.cds)["resources"]:
        found[f"cluster-{cluster['name']}"] = cluster
    for name, content in files.secrets.items():
        if name.endswith(".json"):
            found[name.removesuffix(".json")] = json.loads(content)
        else:
            found[name] = content.decode().splitlines()
    return found


@pytest.mark.parametrize("name", TEXTS)
def test_the_resources_are_the_reviewed_ones(name, folder):
    found = {
        f"{piece}.json": json.dumps(value, indent=1).replace(str(folder), "FOLDER")
        + "\n"
        for piece, value in pieces(compiled(name, folder)).items()
    }
    directory = GOLDENS / name
    if os.environ.get("EXTPROC_GOLDEN") == "write":
        directory.mkdir(parents=True, exist_ok=True)
        for old in directory.glob("*.json"):
            old.unlink()
        for piece, text in found.items():
            (directory / piece).write_text(text)
    assert found == {path.name: path.read_text() for path in directory.iterdir()}


def test_each_key_has_breakers_and_outlier_detection_of_its_own(folder):
    """Open wide, for what Envoy refuses is not tried elsewhere; nobody who answers is out."""
    found = pieces(compiled("everything", folder))
    clusters = [found[f"cluster-{name}"] for name in ("lan", "lan.2", "private")]
    for cluster in clusters:
        [breakers] = cluster["circuit_breakers"]["thresholds"]
        assert "retry_budget" not in breakers
        assert set(breakers.values()) == {100_000}
        assert len(breakers) == 4
        outliers = cluster["outlier_detection"]
        assert outliers["split_external_local_origin_errors"] is True
        assert outliers["consecutive_local_origin_failure"] == 5
        assert outliers["max_ejection_percent"] == 50
        assert outliers["enforcing_consecutive_5xx"] == 0


@pytest.mark.envoy
@pytest.mark.parametrize("name", TEXTS)
def test_envoy_accepts_every_resource(name, folder, tmp_path):
    files = compiled(name, folder)
    write_files(files, tmp_path)
    # The authorities of the golden are on no machine; these are.
    for path in (tmp_path / "bootstrap.json", tmp_path / "cds.json"):
        text = path.read_text()
        path.write_text(text.replace("/etc/ca.pem", certifi.where()))
    validate(tmp_path)


@pytest.mark.envoy
@pytest.mark.parametrize(
    "broken", ["bootstrap.json", "cds.json", "ecds.json", "rds.json"]
)
def test_envoys_validation_sees_each_file(broken, tmp_path):
    write_files(mock(), tmp_path)
    if broken == "bootstrap.json":
        validate(tmp_path)
    content = json.loads((tmp_path / broken).read_bytes())
    content.get("resources", [content])[0]["nonsense"] = 1
    (tmp_path / broken).write_text(json.dumps(content))
    with pytest.raises(EnvoyRefused, match="nonsense"):
        validate(tmp_path)


def test_credentials_are_in_the_secrets_only(folder):
    files = compiled("everything", folder)
    elsewhere = files.bootstrap + files.rds + files.cds + repr(files).encode()
    for secret in (b"sk-lan", b"sk-private"):
        assert secret not in elsewhere
        assert any(secret in content for content in files.secrets.values())
    files = compiled("clouds", folder)
    assert b"s3cret" not in files.bootstrap + files.rds + files.cds
    (aws,) = [name for name in files.secrets if name.startswith("aws-")]
    assert b"s3cret-key" in files.secrets[aws]


OPENAI, ANTHROPIC = "sds-openai-2f46b1a3.json", "sds-anthropic-41081952.json"


def secrets_of(**fields):
    said = {"type": "openai", "api_key": "sk-a", **fields}
    plain = {
        "providers": {"p": said},
        "models": {"m": {"targets": [{"provider": "p"}]}},
    }
    config = loads(json.dumps(plain), {}, source="x", folder=Path("/"))
    return set(compile_envoy(config, LAYOUT).secrets)


@pytest.mark.parametrize(
    ("fields", "moved"),
    [
        ({"api_key": "sk-b"}, False),
        ({"headers": {"x-a": "1"}}, False),
        ({"base_url": "https://api.example.com/v1"}, True),
        ({"base_url": "https://api.openai.com/v2"}, True),
        ({"proxy": "http://10.0.0.9:3128"}, True),
        ({"type": "anthropic"}, True),
    ],
)
def test_a_key_for_another_place_is_another_secret(fields, moved):
    """Else the new key would reach the old address until Envoy has the new one."""
    assert (secrets_of(**fields) != secrets_of()) == moved


def test_an_identity_has_its_token_where_a_key_would_be(folder):
    text = TEXTS["clouds"].replace("FOLDER", str(folder))
    config = loads(text, {}, source="gateway.yaml", folder=folder)
    files = compile_envoy(config, LAYOUT, {"azure": "token-a"})
    found = {name: read_credential(content) for name, content in files.secrets.items()}
    (azure,) = [name for name in found if name.startswith("sds-azure-")]
    (vertex,) = [name for name in found if name.startswith("sds-vertex-")]
    assert (found[azure], found[vertex]) == ("token-a", None)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"resources":[]}', b"\xff"])
def test_a_file_that_holds_no_credential_has_none(content):
    assert read_credential(content) is None


def test_only_what_changed_is_written_referred_before_referring(folder, tmp_path):
    directory = tmp_path / "xds"
    first = write_files(compiled("two-providers", folder), directory)
    assert first == [
        "bootstrap.json",
        OPENAI,
        ANTHROPIC,
        "cds.json",
        "ecds.json",
        "rds.json",
    ]
    assert write_files(compiled("two-providers", folder), directory) == []
    inode = (directory / "rds.json").stat().st_ino
    text = TEXTS["two-providers"].replace("sk-openai", "sk-rotated")
    config = loads(text, {}, source="gateway.yaml", folder=folder)
    changed = write_files(compile_envoy(config, LAYOUT), directory)
    assert changed == [OPENAI]
    assert (directory / "rds.json").stat().st_ino == inode


def test_the_secret_of_a_provider_that_is_gone_is_deleted_last(folder, tmp_path):
    write_files(compiled("two-providers", folder), tmp_path)
    changed = write_files(compiled("everything", folder), tmp_path)
    assert changed[-2:] == [ANTHROPIC, OPENAI]
    assert not (tmp_path / OPENAI).exists()
    assert (tmp_path / "sds.listener.json").exists()


def test_files_are_the_owners_and_nothing_else_is_left(folder, tmp_path):
    files = compiled("two-providers", folder)
    write_files(files, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(files.in_order())
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o600}


def test_an_interrupted_write_leaves_the_old_file(folder, tmp_path, monkeypatch):
    write_files(compiled("two-providers", folder), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_files(compiled("everything", folder), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_socket_path_that_is_too_long_is_named():
    with pytest.raises(ValueError, match=r"admin\.sock.* may have 107"):
        Layout.under(Path("/" + "x" * 100), ca_bundle=Path("/ca"))


def test_a_layout_without_workers_is_refused():
    with pytest.raises(ValueError, match="at least one worker"):
        Layout.under(Path("/x"), ca_bundle=Path("/ca"), workers=0)


def test_workers_never_import_the_compiler():
    script = (
        "import sys, extproc.runtime, extproc.config.load;"
        "assert 'envoy_data_plane' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
