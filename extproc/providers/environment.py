"""What an environment, passed in, says of providers: keys, and where servers are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from extproc.providers import NATIVE, PROVIDERS
from extproc.providers.base import Provider


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """What it takes to reach one provider."""

    api_key: str | None
    base_url: str | None
    """None: the provider's own."""
    more: Mapping[str, object] = dataclasses.field(default_factory=dict)
    """Whatever else its section of ``gateway.yaml`` says then."""


def find(environ: Mapping[str, str], provider: Provider) -> Found | None:
    """Return what `environ` has for `provider`, if that is enough.

    Azure and Vertex need a place beside the key; AWS and Google have credentials of many
    kinds, of which only those count that somebody set for this very process: that a
    machine has a role says nothing about what it is for.

    A server of one's own is there where its address is, with a key or without; any
    other where its key is, and all that its address depends on.
    """
    for known, read in _READERS.items():
        if PROVIDERS[known] is provider:
            return read(environ)
    key = environ.get(provider.key_variable) or None
    if provider.url_variable:
        url = environ.get(provider.url_variable) or None
        return Found(key, url) if url and (key or provider.keyless) else None
    if key is None:
        return None
    if not provider.variables:
        return Found(key, None)
    said = {part: environ.get(v, "") for part, v in provider.variables.items()}
    if not all(said.values()):
        return None
    hosts = {part: _bare(value) for part, value in said.items()}
    return Found(key, provider.base_url.format_map(hosts))


def find_all(environ: Mapping[str, str]) -> dict[str, Found]:
    """Return all that are configured, in the order of `PROVIDERS`.

    A key that opens two APIs of one service stands for the first; the other one is
    there for configurations that name it.
    """
    out: dict[str, Found] = {}
    taken: set[str] = set()
    for name, provider in PROVIDERS.items():
        found = find(environ, provider)
        if found is None or (provider.key_variable in taken and not found.base_url):
            continue
        taken.add(provider.key_variable)
        out[name] = found
    return out


def variables() -> frozenset[str]:
    """Return the variables that hold a provider's key, or a server's address."""
    return frozenset(
        variable
        for provider in PROVIDERS.values()
        for variable in (provider.key_variable, provider.url_variable)
        if variable
    )


def best_known_variables() -> tuple[str, ...]:
    """Return the key variables to name where none is set."""
    return tuple(provider.key_variable for provider in NATIVE.values())


def _bare(value: str) -> str:
    """Take the scheme off, which some people's variables have and others' do not."""
    return value.removeprefix("https://").rstrip("/")


def _azure(environ: Mapping[str, str]) -> Found | None:
    """Read what ``openai.AzureOpenAI`` and ``azure-identity`` read."""
    endpoint = environ.get("AZURE_OPENAI_ENDPOINT", "").rstrip("/")
    if not endpoint:
        return None
    version = environ.get("OPENAI_API_VERSION") or environ.get(
        "AZURE_OPENAI_API_VERSION"
    )
    more: dict[str, object] = {"api_version": version} if version else {}
    if key := environ.get("AZURE_OPENAI_API_KEY"):
        return Found(key, endpoint, more)
    entra = _given(
        environ,
        tenant_id="AZURE_TENANT_ID",
        client_id="AZURE_CLIENT_ID",
        client_secret="AZURE_CLIENT_SECRET",  # noqa: S106  a name
        federated_token_file="AZURE_FEDERATED_TOKEN_FILE",  # noqa: S106  a name
        authority="AZURE_AUTHORITY_HOST",
    )
    if "client_secret" in entra:
        entra.pop("federated_token_file", None)
    if not {"tenant_id", "client_id"} <= entra.keys():
        return None
    if not {"client_secret", "federated_token_file"} & entra.keys():
        return None
    return Found(None, endpoint, {**more, "entra": entra})


def _vertex(environ: Mapping[str, str]) -> Found | None:
    """Read what ``google-genai`` reads; a credential file is control's to find."""
    place = _given(
        environ, project="GOOGLE_CLOUD_PROJECT", location="GOOGLE_CLOUD_LOCATION"
    )
    wanted = environ.get("GOOGLE_GENAI_USE_VERTEXAI", "").lower() in {"true", "1"}
    if "project" in place:
        known = wanted or environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        return Found(None, None, place) if known else None
    key = environ.get("GOOGLE_API_KEY")
    return Found(key, None) if wanted and key else None


def _vertex_anthropic(environ: Mapping[str, str]) -> Found | None:
    """Read what ``anthropic.AnthropicVertex`` reads."""
    place = _given(
        environ, project="ANTHROPIC_VERTEX_PROJECT_ID", location="CLOUD_ML_REGION"
    )
    return Found(None, None, place) if len(place) == 2 else None


def _bedrock(environ: Mapping[str, str]) -> Found | None:
    """Read what botocore reads; a credential itself is Envoy's to find."""
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    more = {"region": region} if region else {}
    if key := environ.get("AWS_BEARER_TOKEN_BEDROCK"):
        return Found(key, None, more)
    set_here = (
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    )
    if region and any(environ.get(name) for name in set_here):
        return Found(None, None, more)
    return None


_READERS: Mapping[str, Callable[[Mapping[str, str]], Found | None]] = {
    "azure": _azure,
    "vertex": _vertex,
    "bedrock": _bedrock,
    "vertex-anthropic": _vertex_anthropic,
}


def _given(environ: Mapping[str, str], **names: str) -> dict[str, str]:
    return {key: environ[name] for key, name in names.items() if environ.get(name)}
