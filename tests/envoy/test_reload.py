"""Saving ``gateway.yaml`` under load: what it says is served, and nobody notices.

``EXTPROC_RELOAD_SECONDS=60`` makes it the long run that CONTRIBUTING asks for before a
release.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import threading
import time

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from tests.harness import KEY, temporary_folder, wait_for
from tests.running import SAY, Running, load

pytestmark = pytest.mark.envoy

SECONDS = float(os.environ.get("EXTPROC_RELOAD_SECONDS", "8"))
RATE = 200


@pytest.fixture(scope="module")
def run():
    with temporary_folder() as folder:
        running = Running(folder)
        try:
            yield running
        finally:
            running.stop()


def changed(base, number):
    """Return a configuration with a model, and a provider, that no other one has."""
    provider = {**base["providers"]["openai"], "headers": {"x-number": str(number)}}
    target = {"provider": f"extra-{number}", "model": "gpt-4o"}
    return {
        **base,
        "providers": {**base["providers"], f"extra-{number}": provider},
        "models": {**base["models"], f"model-{number}": {"targets": [target]}},
    }


def test_a_saved_file_is_served_and_no_request_fails(run):
    over = threading.Event()
    saves = 0

    def save():
        nonlocal saves
        while not over.wait(1):
            saves += 1
            run.save(changed(run.base, saves))

    saver = threading.Thread(target=save)
    saver.start()
    try:
        seen = load(run.url, rate=RATE, seconds=SECONDS)
    finally:
        over.set()
        saver.join()
    assert seen["failures"] == 0
    assert seen["requests"] >= 0.9 * RATE * SECONDS
    assert saves >= SECONDS - 2
    run.served(f"model-{saves}")
    assert run.ask("model-1").status_code == 404, "what is gone is not served"


def test_a_broken_file_changes_nothing_and_is_explained(run):
    run.save(changed(run.base, "good"))
    run.served("model-good")
    before = len(run.process.output())
    broken = copy.deepcopy(changed(run.base, "bad"))
    broken["models"]["gpt-4o"]["tragets"] = []
    run.save(broken)
    said = wait_for(
        lambda: text if "tragets" in (text := run.process.output()[before:]) else None,
        run.process.output,
    )
    assert "gateway.yaml:" in said
    assert "targets" in said, "the key that was probably meant"
    assert run.ask("model-good").status_code == 200
    assert run.ask("model-bad").status_code == 404
    run.save("models: [")
    time.sleep(0.5)
    assert run.ask("model-good").status_code == 200
    run.save(changed(run.base, "mended"))
    run.served("model-mended")


def test_issuers_of_tokens_come_change_and_go_while_envoy_runs(run):
    one, two = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    file = run.file.with_name("issuer.json")

    def announce(key):
        public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        new = file.with_suffix(".new")
        new.write_text(json.dumps({"keys": [{**public, "kid": "k", "alg": "ES256"}]}))
        new.rename(file)

    def becomes(key, status, numbers=itertools.count()):  # noqa: B008  one for all
        """Each time with a token never seen: verified ones are remembered."""

        def asked():
            claims = {
                "iss": "https://idp.example/", "aud": "extproc", "exp": 4e9,
                "sub": f"user-{next(numbers)}",
            }  # fmt: skip
            token = jwt.encode(claims, key, "ES256", headers={"kid": "k"})
            said = httpx.post(
                f"{run.url}/v1/chat/completions",
                json=SAY,
                headers={"authorization": f"Bearer {token}"},
                timeout=20,
            )
            return True if said.status_code == status else None

        wait_for(asked, run.process.output, 10)

    announce(one)
    issuer = {"issuer": "https://idp.example/", "audiences": ["extproc"]}
    run.save(run.base)
    becomes(one, 401)
    run.save({**run.base, "jwt": {"corp": {**issuer, "jwks_file": str(file)}}})
    becomes(one, 200)
    becomes(two, 401)
    announce(two)
    becomes(two, 200)
    becomes(one, 401)
    run.save(run.base)
    becomes(two, 401)
    assert "started again" not in run.process.output()


def test_a_stream_outlives_the_configuration_that_it_began_with(run):
    run.save(changed(run.base, "old"))
    run.served("model-old")
    say = "[[mock: stall-mid-stream after=3 seconds=2]] hello"
    body = {
        "model": "model-old",
        "stream": True,
        "messages": [{"role": "user", "content": say}],
    }
    with httpx.stream(
        "POST",
        f"{run.url}/v1/chat/completions",
        json=body,
        headers={"authorization": f"Bearer {KEY}"},
        timeout=20,
    ) as answer:
        pieces = answer.iter_text()
        text = next(pieces)
        run.save(changed(run.base, "new"))
        run.served("model-new")
        text += "".join(pieces)
    assert text.endswith("data: [DONE]\n\n")
