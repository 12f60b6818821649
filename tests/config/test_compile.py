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

import certifi
import pytest

from extproc.config.compile import Layout, compile_envoy, write_files
from extproc.config.load import autoconfig, loads
from extproc.local.envoy import EnvoyRefused, validate

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
            api_key: sk-lan
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
    for name in ("cert.pem", "key.pem"):
        (folder / "tls" / name).write_text("not read here")
    return folder


def pieces(files) -> dict[str, object]:
    """Cut the files into resources, as a reader looks for them."""
    bootstrap = json.loads(files.bootstrap)
    [listener] = bootstrap["static_resources"].pop("listeners")
    found = {"bootstrap": bootstrap, "listener": listener}
    found["routes"] = json.loads(files.rds)
    for cluster in json.loads(files.cds)["resources"]:
        found[f"cluster-{cluster['name']}"] = cluster
    for name, content in files.secrets.items():
        found[name.removesuffix(".json")] = json.loads(content)
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


@pytest.mark.envoy
@pytest.mark.parametrize("name", TEXTS)
def test_envoy_accepts_every_resource(name, folder, tmp_path):
    files = compiled(name, folder)
    write_files(files, tmp_path)
    # The authorities of the golden are on no machine; these are.
    for path in (tmp_path / "bootstrap.json", tmp_path / "cds.json"):
        text = path.read_text()
        for missing in ("/etc/ca.pem", f"{folder}/tls/cert.pem"):
            text = text.replace(missing, certifi.where())
        path.write_text(text)
    validate(tmp_path)


@pytest.mark.envoy
@pytest.mark.parametrize("broken", ["bootstrap.json", "cds.json", "rds.json"])
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


def test_only_what_changed_is_written_referred_before_referring(folder, tmp_path):
    directory = tmp_path / "xds"
    first = write_files(compiled("two-providers", folder), directory)
    assert first == [
        "bootstrap.json",
        "sds-openai.json",
        "sds-anthropic.json",
        "cds.json",
        "rds.json",
    ]
    assert write_files(compiled("two-providers", folder), directory) == []
    inode = (directory / "rds.json").stat().st_ino
    text = TEXTS["two-providers"].replace("sk-openai", "sk-rotated")
    config = loads(text, {}, source="gateway.yaml", folder=folder)
    changed = write_files(compile_envoy(config, LAYOUT), directory)
    assert changed == ["sds-openai.json"]
    assert (directory / "rds.json").stat().st_ino == inode


def test_the_secret_of_a_provider_that_is_gone_is_deleted_last(folder, tmp_path):
    write_files(compiled("two-providers", folder), tmp_path)
    changed = write_files(compiled("everything", folder), tmp_path)
    assert changed[-2:] == ["sds-anthropic.json", "sds-openai.json"]
    assert not (tmp_path / "sds-openai.json").exists()
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
