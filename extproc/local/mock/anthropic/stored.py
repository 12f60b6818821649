"""What Anthropic keeps by an id: batches of messages, and files.

https://docs.anthropic.com/en/api/creating-message-batches, …/files-create. A batch has ended
when it is looked at; one that is canceled first has answered nothing. Names are proved against
`anthropic.types`.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any, Final

import msgspec

from extproc.local.mock import gate, strictjson
from extproc.local.mock.anthropic import errors
from extproc.local.mock.anthropic.api import MESSAGES_PATH, PREFIX, Anthropic
from extproc.local.mock.multipart import NotAForm, read_form
from extproc.local.mock.reply import Headers, Refusal, Reply, Request, Stream
from extproc.local.mock.rules import FreeObj, ListOf, Obj, Str, check
from extproc.local.mock.state import Memory

Json = dict[str, Any]
ROUTE: Final = re.compile(
    r"/v1/(?P<kind>messages/batches|files)(?:/(?P<id>[^/]+)"
    r"(?:/(?P<verb>cancel|results|content))?)?"
)
BATCH: Final = Obj(
    {
        "requests!": ListOf(
            Obj(
                {
                    "custom_id!": Str(min=1, max=64, pattern=r"^[a-zA-Z0-9_-]+$"),
                    "params!": FreeObj(),
                }
            ),
            1,
            100_000,
        )
    }
)
RESULTS_HOST: Final = "https://api.anthropic.com"
"""Where the real one says that results are, whoever asks."""
DAY: Final = 86_400


class StoredAtAnthropic(Anthropic):
    """The part of Anthropic that keeps things."""

    def __init__(self, memory: Memory, keys: Any) -> None:  # noqa: ANN401
        super().__init__(memory, keys)
        self._batches: dict[str, tuple[Json, list[Json]]] = {}
        """Each with its requests."""
        self._files: dict[str, tuple[Json, bytes]] = {}

    def owns(self, request: Request) -> bool:
        """Claim batches, and files where a version of Anthropic's is named."""
        found = ROUTE.fullmatch(request.route.removeprefix(PREFIX))
        return found is not None and (
            found["kind"] != "files" or request.header("anthropic-version") is not None
        )

    def _route(self, request: Request, headers: Headers) -> Reply | Stream:
        named = request.header("x-api-key") is not None
        place = "x-api-key" if named else "authorization"
        gate.check_headers(request, credentials=frozenset({place}))
        self._check_key(request)
        route = ROUTE.fullmatch(request.route.removeprefix(PREFIX))
        assert route is not None  # noqa: S101 - owns() has seen it
        serve = self._serve_files if route["kind"] == "files" else self._serve_batches
        made = serve(request, route["id"], route["verb"])
        if isinstance(made, Reply):
            return Reply(made.status, made.body, headers, made.content_type)
        return Reply(200, msgspec.json.encode(made), headers=headers)

    def _serve_batches(
        self, request: Request, id_: str | None, verb: str | None
    ) -> Json | Reply:
        match request.method, id_, verb:
            case "POST", None, None:
                return self._begin(request)
            case "GET", None, None:
                return _listed([batch for batch, _ in self._batches.values()])
            case "GET", str(), None:
                return self._ended(id_)
            case "POST", str(), "cancel":
                batch, asked = self._batch(id_)
                self._batches[id_] = (
                    {**batch, "processing_status": "canceling"},
                    asked,
                )
                return self._batches[id_][0]
            case "GET", str(), "results":
                return self._results(id_)
            case "DELETE", str(), None:
                self._batch(id_)
                del self._batches[id_]
                return {"id": id_, "type": "message_batch_deleted"}
            case _:
                raise Refusal(405, "Method Not Allowed")

    def _begin(self, request: Request) -> Json:
        gate.check_body_headers(request)
        with errors.refusing():
            body = strictjson.read_object(request.body)
            check(BATCH, body)
        asked = body["requests"]
        if len({one["custom_id"] for one in asked}) < len(asked):
            raise Refusal(400, "requests: custom_id must be unique")
        id_ = f"msgbatch_{self._memory.next_id()}"
        batch = {
            "id": id_, "type": "message_batch", "processing_status": "in_progress",
            "created_at": self._time(), "expires_at": self._time(DAY),
            "archived_at": None, "cancel_initiated_at": None, "ended_at": None,
            "results_url": None, "request_counts": _counts(processing=len(asked)),
        }  # fmt: skip
        self._batches[id_] = (batch, asked)
        return batch

    def _ended(self, id_: str) -> Json:
        batch, asked = self._batch(id_)
        done = "canceled" if batch["processing_status"] == "canceling" else "succeeded"
        if batch["processing_status"] != "ended":
            batch = {
                **batch, "processing_status": "ended", "ended_at": self._time(),
                "results_url": f"{RESULTS_HOST}/v1/messages/batches/{id_}/results",
                "request_counts": _counts(**{done: len(asked)}),
            }  # fmt: skip
            self._batches[id_] = (batch, asked)
        return batch

    def _results(self, id_: str) -> Reply:
        batch, asked = self._batch(id_)
        if batch["processing_status"] != "ended":
            raise Refusal(404, "The batch has no results yet", type="not_found_error")
        canceled = batch["request_counts"]["canceled"] > 0
        lines = [
            msgspec.json.encode(
                {
                    "custom_id": one["custom_id"],
                    "result": {"type": "canceled"}
                    if canceled
                    else self._answer(one["params"]),
                }
            )
            for one in asked
        ]
        return Reply(200, b"\n".join(lines) + b"\n", content_type="application/x-jsonl")

    def _answer(self, params: Json) -> Json:
        """Return what a message of the batch became: the same as by itself."""
        alone = (
            ("x-api-key", "inside"), ("anthropic-version", "2023-06-01"),
            ("content-type", "application/json"),
        )  # fmt: skip
        body = msgspec.json.encode(params)
        reply = Anthropic(self._memory, ("inside",)).respond(
            Request("POST", MESSAGES_PATH, alone, body)
        )
        if isinstance(reply, Stream):
            return {
                "type": "errored",
                "error": {
                    "type": "error",
                    "error": {
                        "type": "invalid_request_error",
                        "message": "stream: a batch cannot be streamed",
                    },
                },
            }
        said = msgspec.json.decode(reply.body)
        if reply.status != 200:
            return {"type": "errored", "error": said}
        return {"type": "succeeded", "message": said}

    def _batch(self, id_: str) -> tuple[Json, list[Json]]:
        if id_ not in self._batches:
            raise Refusal(404, f"Batch {id_} not found", type="not_found_error")
        return self._batches[id_]

    def _serve_files(
        self, request: Request, id_: str | None, verb: str | None
    ) -> Json | Reply:
        match request.method, id_, verb:
            case "POST", None, None:
                return self._upload(request)
            case "GET", None, None:
                return _listed([file for file, _ in self._files.values()])
            case "GET", str(), None:
                return self._file(id_)[0]
            case "GET", str(), "content":
                content = self._file(id_)[1]
                return Reply(200, content, content_type="application/octet-stream")
            case "DELETE", str(), None:
                self._file(id_)
                del self._files[id_]
                return {"id": id_, "type": "file_deleted"}
            case _:
                raise Refusal(405, "Method Not Allowed")

    def _upload(self, request: Request) -> Json:
        try:
            fields = read_form(request.header("content-type") or "", request.body)
        except NotAForm as exc:
            raise Refusal(400, f"Could not parse the form: {exc}") from exc
        part = fields["file"][0] if "file" in fields else None
        if part is None or part.filename is None:
            raise Refusal(400, "file: Field required")
        id_ = f"file_{self._memory.next_id()}"
        file = {
            "id": id_, "type": "file", "filename": part.filename,
            "mime_type": "application/octet-stream", "size_bytes": len(part.content),
            "created_at": self._time(), "downloadable": True,
        }  # fmt: skip
        self._files[id_] = (file, part.content)
        return file

    def _file(self, id_: str) -> tuple[Json, bytes]:
        if id_ not in self._files:
            raise Refusal(404, f"File not found: {id_}", type="not_found_error")
        return self._files[id_]

    def _time(self, later: float = 0) -> str:
        return dt.datetime.fromtimestamp(
            self._memory.clock() + later, dt.UTC
        ).isoformat()


def _counts(**said: int) -> Json:
    kinds = ("processing", "succeeded", "errored", "canceled", "expired")
    return {kind: said.get(kind, 0) for kind in kinds}


def _listed(data: list[Json]) -> Json:
    return {
        "data": data, "has_more": False,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }  # fmt: skip
