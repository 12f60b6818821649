"""What OpenAI keeps by an id: files and batches.

https://platform.openai.com/docs/api-reference/files, …/batch. They are kept as long as the
mock runs. Names are proved against `openai.types`.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from extproc.local.mock import gate, strictjson
from extproc.local.mock.multipart import NotAForm, read_form
from extproc.local.mock.openai import errors
from extproc.local.mock.openai.api import PREFIX, OpenAI
from extproc.local.mock.openai.library_rules import PURPOSES
from extproc.local.mock.reply import Headers, Refusal, Reply, Request, Stream
from extproc.local.mock.rules import (
    FreeObj,
    Obj,
    Rule,
    Str,
    check,
    enum,
    nullable,
)
from extproc.local.mock.state import Memory

ROUTE: Final = re.compile(
    r"/v1/(?P<kind>files|batches)(?:/(?P<id>[^/]+)(?:/(?P<verb>content|cancel))?)?"
)
FIELDS: Final = frozenset(
    {"file", "purpose", "expires_after[anchor]", "expires_after[seconds]"}
)
BATCH: Final = Obj(
    {
        "input_file_id!": Str(min=1),
        "endpoint!": enum(
            "/v1/responses", "/v1/chat/completions", "/v1/embeddings",
            "/v1/completions", "/v1/moderations", "/v1/images/generations",
            "/v1/images/edits", "/v1/videos",
        ),
        "completion_window!": enum("24h"),
        "metadata": nullable(FreeObj(Str(max=512), max=16, key_max=64)),
        "output_expires_after": FreeObj(),
    }
)  # fmt: skip

Json = dict[str, Any]


class Stored(OpenAI):
    """The part of OpenAI that keeps things."""

    def __init__(self, memory: Memory, keys: Any) -> None:  # noqa: ANN401
        super().__init__(memory, keys)
        self._files: dict[str, tuple[Json, bytes]] = {}
        self._batches: dict[str, Json] = {}

    def owns(self, request: Request) -> bool:
        """Claim files and batches, unless Anthropic's are meant."""
        found = ROUTE.fullmatch(request.route.removeprefix(PREFIX))
        return found is not None and request.header("anthropic-version") is None

    def _route(self, request: Request, headers: Headers) -> Reply | Stream:
        gate.check_headers(request, credentials=frozenset({"authorization"}))
        self._check_key(request)
        route = ROUTE.fullmatch(request.route.removeprefix(PREFIX))
        assert route is not None  # noqa: S101 - owns() has seen it
        serve = self._serve_files if route["kind"] == "files" else self._serve_batches
        made = serve(request, route["id"], route["verb"])
        if isinstance(made, Reply):
            return Reply(made.status, made.body, headers, made.content_type)
        return Reply(200, msgspec.json.encode(made), headers=headers)

    def _serve_files(
        self, request: Request, id_: str | None, verb: str | None
    ) -> Json | Reply:
        match request.method, id_, verb:
            case "POST", None, None:
                return self._upload(request)
            case "GET", None, None:
                return listed([file for file, _ in self._files.values()])
            case "GET", str(), None:
                return self.file(id_)[0]
            case "GET", str(), "content":
                content = self.file(id_)[1]
                return Reply(200, content, content_type="application/octet-stream")
            case "DELETE", str(), None:
                self.file(id_)
                del self._files[id_]
                return {"id": id_, "object": "file", "deleted": True}
            case _:
                raise Refusal(405, "Method not allowed.")

    def _upload(self, request: Request) -> Json:
        try:
            fields = read_form(request.header("content-type") or "", request.body)
        except NotAForm as exc:
            raise Refusal(400, f"Could not parse multipart form: {exc}") from exc
        for name in fields:
            if name not in FIELDS:
                raise Refusal(400, f"Unknown parameter: '{name}'.", param=name)
        purpose = fields["purpose"][0].content.decode() if "purpose" in fields else ""
        if purpose not in PURPOSES:
            raise Refusal(400, f"'{purpose}' is not one of {PURPOSES}", param="purpose")
        part = fields["file"][0] if "file" in fields else None
        if part is None or part.filename is None:
            raise Refusal(400, "Missing required parameter: 'file'.", param="file")
        return self.add(part.filename, purpose, part.content)

    def add(self, filename: str, purpose: str, content: bytes) -> Json:
        """Keep a file; return what is said of it."""
        id_ = f"file-{self._memory.next_id()}"
        file: Json = {
            "id": id_, "object": "file", "bytes": len(content),
            "created_at": int(self._memory.clock()), "filename": filename,
            "purpose": purpose, "status": "processed",
        }  # fmt: skip
        self._files[id_] = (file, content)
        return file

    def file(self, id_: str) -> tuple[Json, bytes]:
        """Return a file that is kept, and its content.

        Raises:
            Refusal: there is none.
        """
        if id_ not in self._files:
            raise Refusal(404, f"No such File object: {id_}", param="id")
        return self._files[id_]

    def _serve_batches(
        self, request: Request, id_: str | None, verb: str | None
    ) -> Json:
        match request.method, id_, verb:
            case "POST", None, None:
                return self._batch(request)
            case "GET", None, None:
                return listed(list(self._batches.values()))
            case "GET", str(), None:
                return self._known(id_)
            case "POST", str(), "cancel":
                self._batches[id_] = {**self._known(id_), "status": "cancelling"}
                return self._batches[id_]
            case _:
                raise Refusal(405, "Method not allowed.")

    def _batch(self, request: Request) -> Json:
        body = read(request, BATCH)
        self.file(body["input_file_id"])
        id_ = f"batch_{len(self._batches) + 1}"
        self._batches[id_] = {
            "id": id_, "object": "batch", "status": "validating",
            "created_at": int(self._memory.clock()),
            **{key: value for key, value in body.items() if key != "metadata"},
            "metadata": body.get("metadata"),
        }  # fmt: skip
        return self._batches[id_]

    def _known(self, id_: str) -> Json:
        if id_ not in self._batches:
            raise Refusal(404, f"No batch found with id '{id_}'.", param="id")
        return self._batches[id_]


def listed(data: list[Json]) -> Json:
    """Write a page that is the last one."""
    return {
        "object": "list", "data": data, "has_more": False,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }  # fmt: skip


def read(request: Request, rule: Rule) -> Json:
    """Return the JSON object of a request that keeps to `rule`.

    Raises:
        Refusal: it does not.
    """
    gate.check_body_headers(request)
    with errors.refusing():
        body = strictjson.read_object(request.body)
        check(rule, body)
    return body
