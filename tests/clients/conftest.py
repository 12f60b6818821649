"""One gateway for all clients, and frameworks in processes of their own."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.clients.process import Caller, running_client
from tests.harness import FORGIVING, KEY, running
from tests.node.driver import running_sdk

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".venv" / "clients"
"""`make install` fills them from `requirements/`."""

FRAMEWORKS = {
    "openai2": ["instructor", "llama_index", "litellm"],
    "openai3": ["langchain", "pydantic_ai", "openai_agents"],
}
"""By the environment that they are in."""

LIMITED_KEY = "sk-limited-0123456789abcdef0123456789abc"

SETTINGS = {
    "keys": [
        {
            "id": "limited",
            "key_sha256": hashlib.sha256(LIMITED_KEY.encode()).hexdigest(),
            "rate_limits": {
                "requests_per_minute": 1000,
                "tokens_per_minute": 1_000_000,
            },
        }
    ],
    **FORGIVING,
}

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
    with running(SETTINGS) as (gateway, mock):
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
def environment(
    name: str, frameworks: list[str], url: str, folder: Path
) -> Iterator[Caller]:
    """Run the calls of one environment's frameworks against the gateway at `url`."""
    python = ENVIRONMENTS / name / "bin" / "python"
    if not python.exists():
        pytest.fail(f"{python} is not there: run make install", pytrace=False)
    env = {
        "BASE_URL": url,
        "KEY": KEY,
        **QUIET,
        "XDG_CACHE_HOME": str(folder),
        # Compiling takes longer than all the calls do.
        "PYTHONDONTWRITEBYTECODE": "",
    }
    command: list[str | Path] = [python, HERE / "serve.py", *frameworks]
    with running_client(command, folder / "stderr", env) as caller:
        yield caller


@pytest.fixture(scope="session")
def callers(request, world, tmp_path_factory):
    """All frameworks that tests of this session call: they take seconds to import."""
    wanted = {name for item in request.session.items for name in item.fixturenames}
    found: dict[str, Caller] = {}
    with contextlib.ExitStack() as stack:
        for name, frameworks in FRAMEWORKS.items():
            chosen = [framework for framework in frameworks if framework in wanted]
            if chosen:
                folder = tmp_path_factory.mktemp(name)
                caller = stack.enter_context(
                    environment(name, chosen, world[0].url, folder)
                )
                found |= {framework: caller.part(framework) for framework in chosen}
        yield found


def needs_framework(item: pytest.Item) -> bool:
    """Say whether a test calls a framework that is in a process of its own."""
    names = {name for frameworks in FRAMEWORKS.values() for name in frameworks}
    return bool(names.intersection(getattr(item, "fixturenames", ())))


@pytest.fixture(scope="session", autouse=True)
def _imported(request):
    """Have frameworks imported, on another core, while the first tests do without them."""
    if any(needs_framework(item) for item in request.session.items):
        request.getfixturevalue("callers")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests of frameworks wait until those of this folder that need none are through."""
    mine = [place for place, item in enumerate(items) if HERE in item.path.parents]
    order = sorted((items[place] for place in mine), key=needs_framework)
    for place, item in zip(mine, order, strict=True):
        items[place] = item


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
