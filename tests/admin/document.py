"""The served OpenAPI document, held against requests that pass and all answers."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from openapi_schema_validator import OAS31Validator


class Document:
    """What the application says of itself."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.operations = {
            (method.upper(), path): operation
            for path, methods in content["paths"].items()
            for method, operation in methods.items()
        }
        self.seen: set[tuple[str, str]] = set()
        """Operations that were answered well."""
        # Of two that fit, the one with more words of its own.
        self._paths = sorted(
            ((re.compile(_pattern(path)), path) for path in content["paths"]),
            key=lambda pair: pair[1].count("{"),
        )

    def find(self, method: str, path: str) -> tuple[str, str] | None:
        """Return the operation that a request asks for; None: there is none."""
        for pattern, template in self._paths:
            if pattern.fullmatch(path) and (method, template) in self.operations:
                return method, template
        return None

    def check(self, answer: Any) -> None:
        """Fail if the document does not say that this may be answered."""
        asked = answer.request
        where = self.find(asked.method, asked.url.path)
        if where is None:
            return
        operation, status = self.operations[where], str(answer.status_code)
        said = operation["responses"]
        told = said.get(status) or said.get(f"{status[0]}XX")
        assert told, (where, status)
        media = answer.headers.get("content-type", "").partition(";")[0]
        if not media:
            assert "content" not in told, where
        elif media == "application/json":
            self.validate(told["content"][media]["schema"], answer.json(), where)
        else:
            assert media in told["content"], (where, media)
        if answer.is_success:
            self.seen.add(where)
            body = asked.read()
            if "requestBody" in operation and body:
                media = operation["requestBody"]["content"]["application/json"]
                self.validate(media["schema"], msgspec.json.decode(body), where)

    def validate(self, schema: dict[str, Any], value: object, where: object) -> None:
        """Fail if `value` is not as `schema` says."""
        rooted = {**schema, "components": self.content["components"]}
        errors = [
            f"{error.json_path}: {error.message}"
            for error in OAS31Validator(rooted).iter_errors(value)
        ]
        assert not errors, (where, errors[:3])


def _pattern(path: str) -> str:
    return re.sub(r"\\\{\w+\\\}", ".+", re.escape(path))
