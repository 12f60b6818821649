"""One gateway for all clients, and each framework in a process of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.clients.process import Caller, running_client
from tests.harness import KEY, running
from tests.node.driver import running_sdk

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".venv" / "clients"
"""`make install` fills them from `requirements/`."""

FRAMEWORKS = {
    "langchain": "openai3",
    "pydantic_ai": "openai3",
    "openai_agents": "openai3",
    "instructor": "openai2",
    "llama_index": "openai2",
    "litellm": "openai2",
}
"""Each with the environment that it is in."""

PATIENT = {
    "routing": {
        "cooldown": {
            "failures": 1_000_000,
            "least_outcomes": 1_000_000,
            "seconds": 0.001,
            "longest": 0.001,
            "longest_retry_after": 0.001,
        }
    }
}
"""One test's failing provider is the next one's healthy provider."""

QUIET = {
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "ANONYMIZED_TELEMETRY": "false",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}
"""What keeps them at home; `serve.py` tells when it does not."""


@pytest.fixture(scope="session")
def world():
    with running(PATIENT) as (gateway, mock):
        yield gateway, mock


@pytest.fixture
def gateway(world):
    world[1].forget()
    return world[0]


@pytest.fixture
def mock(world):
    world[1].forget()
    return world[1]


@pytest.fixture(scope="session")
def http(world) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=world[0].url, headers={"authorization": f"Bearer {KEY}"}, timeout=20
    ) as client:
        yield client


@contextlib.contextmanager
def framework(name: str, url: str, folder: Path) -> Iterator[Caller]:
    """Run the calls of one framework against the gateway at `url`."""
    python = ENVIRONMENTS / FRAMEWORKS[name] / "bin" / "python"
    if not python.exists():
        pytest.fail(f"{python} is not there: run make install", pytrace=False)
    env = {"BASE_URL": url, "KEY": KEY, **QUIET, "XDG_CACHE_HOME": str(folder)}
    command: list[str | Path] = [python, HERE / "serve.py", f"{name}_calls"]
    with running_client(command, folder / "stderr", env) as caller:
        yield caller


@pytest.fixture(scope="session")
def callers(request, world, tmp_path_factory):
    """All frameworks that tests of this session call: they take seconds to import."""
    wanted = {name for item in request.session.items for name in item.fixturenames}
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(
                framework(name, world[0].url, tmp_path_factory.mktemp(name))
            )
            for name in FRAMEWORKS
            if name in wanted
        }


@pytest.fixture(scope="session")
def langchain(callers):
    return callers["langchain"]


@pytest.fixture(scope="session")
def pydantic_ai(callers):
    return callers["pydantic_ai"]


@pytest.fixture(scope="session")
def openai_agents(callers):
    return callers["openai_agents"]


@pytest.fixture(scope="session")
def instructor(callers):
    return callers["instructor"]


@pytest.fixture(scope="session")
def llama_index(callers):
    return callers["llama_index"]


@pytest.fixture(scope="session")
def litellm(callers):
    return callers["litellm"]


@pytest.fixture(scope="session")
def openai_node(world, tmp_path_factory):
    log = tmp_path_factory.mktemp("node") / "stderr"
    with running_sdk("openai", log, f"{world[0].url}/v1", KEY) as caller:
        yield caller


@pytest.fixture(scope="session")
def anthropic_node(world, tmp_path_factory):
    log = tmp_path_factory.mktemp("node") / "stderr"
    with running_sdk("anthropic", log, world[0].url, KEY) as caller:
        yield caller


@pytest.fixture(scope="session")
def ai_sdk(world, tmp_path_factory):
    log = tmp_path_factory.mktemp("node") / "stderr"
    with running_sdk("ai_sdk", log, world[0].url, KEY) as caller:
        yield caller
