"""A file or an environment in, a `Config` out, or all that is wrong with it at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from pydantic import ValidationError

from extproc.config.document import Plain, read_document
from extproc.config.problems import (
    ConfigError,
    Found,
    Problem,
    dotted,
    explain,
    suggestion,
)
from extproc.config.references import check_references
from extproc.config.schema import Config, ModelConfig, unlisted
from extproc.config.subjects import is_limited
from extproc.providers import NATIVE, PROVIDERS
from extproc.providers.base import Provider
from extproc.providers.environment import best_known_variables, find_all
from extproc.runtime import glob_pattern

__all__ = ["ConfigError", "Problem", "autoconfig", "load", "loads"]

MAX_FILE_BYTES = 4 * 1024 * 1024
"""A configuration that is larger was not written by anybody."""

MOCK_KEY = "sk-mock"
"""What the mock providers are called with."""


PROVIDER_FILES: tuple[tuple[str, ...], ...] = (
    ("ca_file",),
    ("client_certificate", "certificate"),
    ("client_certificate", "key"),
    ("proxy", "ca_file"),
    ("entra", "federated_token_file"),
    ("google", "credentials_file"),
    ("aws", "credentials_file"),
    ("aws", "web_identity_token_file"),
)
"""Where the section of a provider names files."""


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read the configuration in `path`; files that it names are relative to its folder.

    Raises:
        ConfigError: it cannot be read, or is wrong.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise _error(path, f"larger than {MAX_FILE_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise _error(path, f"cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise _error(path, "cannot be read: it is not UTF-8") from exc
    return loads(text, environ, source=str(path), folder=path.absolute().parent)


def loads(
    text: str, environ: Mapping[str, str], *, source: str, folder: Path
) -> Config:
    """Read the configuration `text`, which came from `source`.

    Raises:
        ConfigError: it is wrong.
    """
    read = read_document(text, environ)
    found = list(read.problems)
    told = {path for _, path, _ in found}
    config, problems = _validate(read.plain, folder)
    found += [
        (read.line(path), path, message)
        for path, message in problems
        if path not in told and not (read.plain is None and told)
    ]
    if found:
        raise ConfigError(
            Problem(source, line, dotted(path), read.masked(message))
            for line, path, message in found
        )
    assert config is not None  # noqa: S101  _validate: no problem, a configuration
    return config


def autoconfig(environ: Mapping[str, str], *, mock_url: str | None) -> Config:
    """Configure every provider whose key is in `environ`; with none, the mock providers.

    Args:
        environ: where the SDKs' own key variables are looked up.
        mock_url: ``http://127.0.0.1:port`` of the mock providers, if they run.

    Raises:
        ConfigError: there is neither a key nor a mock, or a key cannot be one.
    """
    live: dict[str, dict[str, object]] = {}
    for name, found in find_all(environ).items():
        live[name] = {"type": name, **found.more}
        if found.api_key is not None:
            live[name]["api_key"] = found.api_key
        if found.base_url is not None:
            live[name]["base_url"] = found.base_url
    if not live and mock_url is not None:
        live = {
            name: {
                "type": name,
                "api_key": MOCK_KEY,
                # The mocks share one port: each is under its name, then as in life.
                "base_url": mock_url + f"/{name}" + urlsplit(provider.base_url).path,
            }
            for name, provider in NATIVE.items()
        }
    if not live:
        wanted = ", ".join(best_known_variables())
        raise ConfigError(
            [
                Problem(
                    "environment",
                    None,
                    "",
                    f"no provider's key is set: {wanted}, "
                    "or another of `extproc providers`",
                )
            ]
        )
    plain = {"providers": live, "models": _models(live)}
    config, problems = _validate(plain, Path.cwd())
    if config is None:
        raise ConfigError(
            Problem("environment", None, dotted(path), message)
            for path, message in problems
        )
    return config


def _models(live: Iterable[str]) -> dict[str, Plain]:
    """Return the virtual models of these providers, the first of which come first.

    Every model of every provider is there as ``<provider>/<model>``. Its bare name is
    the first provider's that surely serves it, whatever the order of the environment.
    """
    out: dict[str, Plain] = {}
    for name in live:
        for pattern, listed in _listed(PROVIDERS[name]).items():
            out.setdefault(
                pattern,
                {
                    "targets": [{"provider": name}],
                    "owned_by": name,
                    "listed": [*listed],
                },
            )
    for name in live:
        out[f"{name}/*"] = {
            "targets": [{"provider": name, "model": "*"}],
            "owned_by": name,
        }
    return out


def _listed(provider: Provider) -> dict[str, list[str]]:
    """Give each well-known model to the first pattern that serves it."""
    out: dict[str, list[str]] = {pattern: [] for pattern in provider.model_patterns}
    for model in provider.models:
        for pattern, names in out.items():
            if glob_pattern(pattern).match(model):
                names.append(model)
                break
    return out


def _error(path: Path, message: str) -> ConfigError:
    return ConfigError([Problem(str(path), None, "", message)])


def _validate(plain: object, folder: Path) -> tuple[Config | None, list[Found]]:
    """Return the configuration, or all that is wrong with `plain`."""
    if not isinstance(plain, dict):
        return None, [((), "must be a mapping with providers and models in it")]
    problems = list(_references(plain))
    config = None
    try:
        # In JSON mode a strict model takes lists for tuples and strings for paths.
        config = Config.model_validate_json(msgspec.json.encode(_rooted(plain, folder)))
    except ValidationError as exc:
        told = {path for path, _ in problems}
        for error in exc.errors(include_url=False, include_input=False):
            path, message = explain(error, plain)
            if path not in told:
                problems.append((path, message))
    else:
        problems += _consistency(config)
    return (None if problems else config), problems


def _rooted(plain: dict[str, Plain], folder: Path) -> dict[str, Plain]:
    """Return `plain` with its file names made absolute."""
    out = dict(plain)
    listen, providers = plain.get("listen"), plain.get("providers")
    if isinstance(listen, dict):
        out["listen"] = _with_files(
            listen, folder, (("tls", "certificate"), ("tls", "key"))
        )
    if isinstance(providers, dict):
        out["providers"] = {
            name: _with_files(section, folder, PROVIDER_FILES)
            for name, section in providers.items()
        }
    issuers = plain.get("jwt")
    if isinstance(issuers, dict):
        out["jwt"] = {
            name: _with_files(section, folder, (("jwks_file",), ("ca_file",)))
            for name, section in issuers.items()
        }
    return out


def _with_files(
    section: Plain, folder: Path, files: tuple[tuple[str, ...], ...]
) -> Plain:
    """Return `section` with the files at these places in it made absolute."""
    for name, *rest in files:
        if not isinstance(section, dict) or name not in section:
            continue
        value = section[name]
        if rest:
            value = _with_files(value, folder, (tuple(rest),))
        elif isinstance(value, str):
            value = str(folder / Path(value).expanduser())
        section = {**section, name: value}
    return section


def _references(plain: dict[str, Plain]) -> Iterator[Found]:
    """Yield what is wrong between places of the file, as far as it can be read.

    On plain data and not on `Config`, so that a wrong name is reported together with
    a wrong type elsewhere.
    """
    providers = _mapping(plain.get("providers"))
    for name, model in _mapping(plain.get("models")).items():
        seen: set[tuple[str, str]] = set()
        for i, target in enumerate(_sequence(_mapping(model).get("targets"))):
            path = ("models", name, "targets", i)
            provider = _mapping(target).get("provider")
            if not isinstance(provider, str):
                continue
            if provider not in providers:
                message = f"there is no provider {provider!r}"
                yield (*path, "provider"), message + suggestion(provider, providers)
            same = (provider, str(_mapping(target).get("model")))
            if same in seen:
                yield path, "this target is already in the list"
            seen.add(same)
    yield from _owners(plain)
    for name in ("id", "key", "key_sha256"):
        first: dict[str, int] = {}
        for i, key in enumerate(_sequence(plain.get("keys"))):
            value = _mapping(key).get(name)
            if not isinstance(value, str):
                continue
            if value in first:
                yield ("keys", i, name), f"the same as that of keys[{first[value]}]"
            first.setdefault(value, i)


def _owners(plain: dict[str, Plain]) -> Iterator[Found]:
    """Yield the organizations, teams and users that are named and do not exist."""
    places: list[tuple[tuple[str | int, ...], Plain]] = [
        (("keys", i), key) for i, key in enumerate(_sequence(plain.get("keys")))
    ]
    for section in ("teams", "users"):
        places += [((section, n), s) for n, s in _mapping(plain.get(section)).items()]
    for path, place in places:
        for field in ("organization", "team", "user"):
            name = _mapping(place).get(field)
            known = _mapping(plain.get(f"{field}s"))
            if isinstance(name, str) and name not in known:
                message = f"there is no {field} {name!r} in {field}s"
                yield (*path, field), message + suggestion(name, known)


def needs_store(config: Config) -> bool:
    """Say whether limits would be counted by each worker for itself."""
    return config.workers > 1 and config.accounting.store is None and is_limited(config)


NEEDS_STORE = (
    "limits and budgets are kept in the memory of one worker: more workers need "
    "accounting.store (redis://…)"
)


def _consistency(config: Config) -> Iterator[Found]:
    """Yield what only shows when all values are read."""
    if needs_store(config):
        yield ("workers",), NEEDS_STORE
    for name, model in config.models.items():
        yield from _list_of(name, model)
    yield from check_references(config)
    yield from _issuers(config)
    if config.listen.port and config.listen.address == config.control.address:
        yield ("control", "address"), "the same as listen.address"
    yield from _files(config)


def _issuers(config: Config) -> Iterator[Found]:
    """Yield the issuers that are there already: whose grant would a token have?"""
    first: dict[str, str] = {}
    for name, issuer in config.jwt.items():
        other = first.setdefault(issuer.issuer, name)
        if other != name:
            yield ("jwt", name, "issuer"), f"the same as that of jwt.{other}"


def _files(config: Config) -> Iterator[Found]:
    """Yield the files that cannot be read."""
    tls = config.listen.tls
    if tls is not None:
        for key, file in (("certificate", tls.certificate), ("key", tls.key)):
            yield from _readable(("listen", "tls", key), file)
    for name, issuer in config.jwt.items():
        for field in ("jwks_file", "ca_file"):
            if (file := getattr(issuer, field)) is not None:
                yield from _readable(("jwt", name, field), file)
    yield from _keeper(config)
    for name, provider in config.providers.items():
        for place in PROVIDER_FILES:
            value: object = provider
            for step in place:
                value = getattr(value, step, None)
            if isinstance(value, Path):
                yield from _readable(("providers", name, *place), value)


def _keeper(config: Config) -> Iterator[Found]:
    name = config.stored.provider
    if name is None:
        return
    provider = config.providers.get(name)
    if provider is None:
        yield ("stored", "provider"), f"{name!r} is not one of the providers"
    elif not provider.keeps:
        yield (
            ("stored", "provider"),
            f"{name!r} keeps nothing: a provider of OpenAI's API does",
        )


def _list_of(name: str, model: ModelConfig) -> Iterator[Found]:
    path = ("models", name, "listed")
    if model.listed and "*" not in name:
        yield path, "only a glob (a name with * in it) has a list"
    elif strangers := unlisted(name, model):
        yield path, f"{name!r} does not serve {', '.join(map(repr, strangers))}"


def _readable(path: tuple[str | int, ...], file: Path) -> Iterator[Found]:
    try:
        with file.open("rb"):
            pass
    except OSError as exc:
        yield path, f"{str(file)!r} cannot be read: {exc.strerror}"


def _mapping(value: Plain) -> dict[str, Plain]:
    return value if isinstance(value, dict) else {}


def _sequence(value: Plain) -> list[Plain]:
    return value if isinstance(value, list) else []
