"""What OpenAI keeps by an id beyond files: jobs, vector stores, uploads, conversations.

https://platform.openai.com/docs/api-reference: fine-tuning, vector-stores, uploads,
conversations. It is kept as long as the mock runs; nothing is trained or embedded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from extproc.local.mock import gate
from extproc.local.mock.multipart import NotAForm, read_form
from extproc.local.mock.openai import library_rules as rules
from extproc.local.mock.openai.api import PREFIX, OpenAI
from extproc.local.mock.openai.models import MODELS
from extproc.local.mock.openai.stored import Stored, listed, read
from extproc.local.mock.reply import Headers, Refusal, Reply, Request, Stream
from extproc.local.mock.state import Memory

Json = dict[str, Any]
Serve = Callable[..., Json | Reply]
"""(request, what the path names …) -> what is said, or a whole reply."""
OWNED: Final = re.compile(
    r"/v1/(?:fine_tuning/jobs|vector_stores|uploads|conversations)(?:/.*)?"
)
PART_BYTES: Final = 64 << 20
UPLOAD_SECONDS: Final = 3600
FOUND: Final = 20
"""Most words of a file that a search shows."""


class Library(OpenAI):
    """The part of OpenAI that keeps more than files; these `files` are used in it."""

    def __init__(self, memory: Memory, keys: Any, files: Stored) -> None:  # noqa: ANN401
        super().__init__(memory, keys)
        self._files = files
        self._kept: dict[str, dict[str, Json]] = {}
        """Things by their ids, by their kind."""
        self._parts: dict[str, bytes] = {}
        self._routes: list[tuple[str, re.Pattern[str], Serve]] = [
            (method, re.compile("/v1/" + re.sub(r"\{\w+\}", "([^/]+)", path)), serve)
            for method, path, serve in self._table()
        ]

    def _table(self) -> list[tuple[str, str, Serve]]:
        job, store = "fine_tuning/jobs/{id}", "vector_stores/{id}"
        talk, upload = "conversations/{id}", "uploads/{id}"
        return [
            ("POST", "fine_tuning/jobs", self._train),
            ("GET", "fine_tuning/jobs", lambda _: self._list("job")),
            ("GET", job, lambda _, id_: self._get("job", id_)),
            ("GET", f"{job}/events", self._events),
            ("POST", f"{job}/cancel", lambda _, id_: self._turn(id_, "cancelled")),
            ("POST", f"{job}/pause", lambda _, id_: self._turn(id_, "paused")),
            ("POST", f"{job}/resume", lambda _, id_: self._turn(id_, "queued")),
            ("POST", "vector_stores", self._new_store),
            ("GET", "vector_stores", lambda _: self._list("store")),
            ("GET", store, lambda _, id_: self._get("store", id_)),
            ("POST", store, self._change_store),
            ("DELETE", store, lambda _, id_: self._drop("store", id_, "vector_store")),
            ("POST", f"{store}/search", self._search),
            ("POST", f"{store}/files", self._add_file),
            ("GET", f"{store}/files", lambda _, id_: listed(self._in_store(id_))),
            ("GET", f"{store}/files/{{file}}", self._file_of),
            ("DELETE", f"{store}/files/{{file}}", self._remove_file),
            ("POST", f"{store}/file_batches", self._add_files),
            ("GET", f"{store}/file_batches/{{batch}}", self._batch_of),
            ("POST", "uploads", self._begin),
            ("POST", f"{upload}/parts", self._add_part),
            ("POST", f"{upload}/complete", self._finish),
            ("POST", f"{upload}/cancel", self._cancel),
            ("POST", "conversations", self._talk),
            ("GET", talk, lambda _, id_: self._shown(id_)),
            ("POST", talk, self._change_talk),
            ("DELETE", talk, lambda _, id_: self._drop("talk", id_, "conversation")),
            ("POST", f"{talk}/items", self._say),
            ("GET", f"{talk}/items", lambda _, id_: listed(self._items(id_))),
            ("GET", f"{talk}/items/{{item}}", self._item),
            ("DELETE", f"{talk}/items/{{item}}", self._unsay),
        ]

    def owns(self, request: Request) -> bool:
        """Claim what is kept here."""
        return OWNED.fullmatch(request.route.removeprefix(PREFIX)) is not None

    def _route(self, request: Request, headers: Headers) -> Reply | Stream:
        gate.check_headers(request, credentials=frozenset({"authorization"}))
        self._check_key(request)
        route = request.route.removeprefix(PREFIX)
        here = [
            (m, found, s) for m, p, s in self._routes if (found := p.fullmatch(route))
        ]
        if not here:
            raise Refusal(404, f"Invalid URL ({request.method} {route})", code=None)
        for method, found, serve in here:
            if method == request.method:
                made = serve(request, *found.groups())
                if isinstance(made, Reply):
                    return Reply(made.status, made.body, headers, made.content_type)
                return Reply(200, msgspec.json.encode(made), headers=headers)
        raise Refusal(405, f"Not allowed to {request.method} on {route}.")

    def _keep(self, kind: str, prefix: str, thing: Json) -> Json:
        id_ = f"{prefix}{self._memory.next_id()}"
        thing = {"id": id_, "created_at": int(self._memory.clock()), **thing}
        self._kept.setdefault(kind, {})[id_] = thing
        return thing

    def _get(self, kind: str, id_: str) -> Json:
        found = self._kept.get(kind, {}).get(id_)
        if found is None:
            raise Refusal(404, f"No {kind} found with id '{id_}'.", param="id")
        return found

    def _list(self, kind: str) -> Json:
        return listed(list(self._kept.get(kind, {}).values()))

    def _drop(self, kind: str, id_: str, name: str) -> Json:
        self._get(kind, id_)
        del self._kept[kind][id_]
        return {"id": id_, "object": f"{name}.deleted", "deleted": True}

    # Fine-tuning

    def _train(self, request: Request) -> Json:
        body = read(request, rules.JOB)
        if body["model"] not in MODELS:
            message = f"The model `{body['model']}` does not exist."
            raise Refusal(400, message, param="model", code="model_not_found")
        file, _ = self._files.file(body["training_file"])
        if file["purpose"] != "fine-tune":
            raise Refusal(
                400, "The file's purpose is not fine-tune.", param="training_file"
            )
        asked = body.get("hyperparameters") or {}
        return self._keep(
            "job",
            "ftjob-",
            {
                "object": "fine_tuning.job", "model": body["model"],
                "organization_id": "org-mock", "result_files": [], "status": "queued",
                "seed": body.get("seed") or 7, "training_file": file["id"],
                "validation_file": body.get("validation_file"), "error": None,
                "fine_tuned_model": None, "finished_at": None, "trained_tokens": None,
                "metadata": body.get("metadata"), "method": body.get("method"),
                "hyperparameters": {
                    name: asked.get(name, "auto")
                    for name in ("batch_size", "learning_rate_multiplier", "n_epochs")
                },
            },
        )  # fmt: skip

    def _turn(self, id_: str, status: str) -> Json:
        job = self._get("job", id_)
        if job["status"] == "cancelled":
            raise Refusal(400, f"Job {id_} is already cancelled.")
        job["status"] = status
        return job

    def _events(self, _: Request, id_: str) -> Json:
        job = self._get("job", id_)
        event = {
            "id": f"ftevent-{id_}", "object": "fine_tuning.job.event", "type": "message",
            "created_at": job["created_at"], "level": "info", "data": {},
            "message": f"Created fine-tuning job: {id_}",
        }  # fmt: skip
        return listed([event])

    # Vector stores

    def _new_store(self, request: Request) -> Json:
        body = read(request, rules.STORE)
        store = self._keep(
            "store",
            "vs_",
            {
                "object": "vector_store", "name": body.get("name") or "",
                "metadata": body.get("metadata"), "status": "completed",
                "expires_after": body.get("expires_after"), "usage_bytes": 0,
                "last_active_at": int(self._memory.clock()), "file_counts": _counts(0),
            },
        )  # fmt: skip
        for file in body.get("file_ids") or ():
            self._put(store, {"file_id": file})
        return store

    def _change_store(self, request: Request, id_: str) -> Json:
        store = self._get("store", id_)
        store.update(read(request, rules.STORE_UPDATE))
        return store

    def _put(self, store: Json, asked: Json) -> Json:
        file, content = self._files.file(asked["file_id"])
        entry = {
            "id": file["id"], "object": "vector_store.file", "status": "completed",
            "created_at": int(self._memory.clock()), "vector_store_id": store["id"],
            "usage_bytes": len(content), "last_error": None,
            "attributes": asked.get("attributes") or {},
        }  # fmt: skip
        self._kept.setdefault(f"files of {store['id']}", {})[file["id"]] = entry
        files = self._in_store(store["id"])
        store["usage_bytes"] = sum(one["usage_bytes"] for one in files)
        store["file_counts"] = _counts(len(files))
        return entry

    def _in_store(self, id_: str) -> list[Json]:
        self._get("store", id_)
        return list(self._kept.get(f"files of {id_}", {}).values())

    def _add_file(self, request: Request, id_: str) -> Json:
        return self._put(self._get("store", id_), read(request, rules.STORE_FILE))

    def _file_of(self, _: Request, id_: str, file: str) -> Json:
        return self._get(f"files of {id_}", file)

    def _remove_file(self, _: Request, id_: str, file: str) -> Json:
        return self._drop(f"files of {id_}", file, "vector_store.file")

    def _add_files(self, request: Request, id_: str) -> Json:
        body, store = read(request, rules.STORE_FILES), self._get("store", id_)
        if ("file_ids" in body) is ("files" in body):
            raise Refusal(400, "Give one of file_ids and files.", param="file_ids")
        asked = body.get("files") or [{"file_id": one} for one in body["file_ids"]]
        for one in asked:
            self._put(store, one)
        batch = {
            "object": "vector_store.files_batch", "status": "completed",
            "vector_store_id": id_, "file_counts": _counts(len(asked)),
        }  # fmt: skip
        return self._keep(f"batches of {id_}", "vsfb_", batch)

    def _batch_of(self, _: Request, id_: str, batch: str) -> Json:
        return self._get(f"batches of {id_}", batch)

    def _search(self, request: Request, id_: str) -> Json:
        body = read(request, rules.SEARCH)
        query = body["query"]
        asked = " ".join(query if isinstance(query, list) else [query])
        words = re.findall(r"\w+", asked.lower())
        found = []
        for entry in self._in_store(id_):
            file, content = self._files.file(entry["id"])
            text = content.decode(errors="replace")
            score = sum(word in text.lower() for word in words) / (len(words) or 1)
            shown = " ".join(text.split()[:FOUND])
            found.append(
                {
                    "file_id": file["id"], "filename": file["filename"], "score": score,
                    "attributes": entry["attributes"],
                    "content": [{"type": "text", "text": shown}],
                }
            )  # fmt: skip
        found.sort(key=lambda one: -one["score"])
        return {
            "object": "vector_store.search_results.page", "search_query": words,
            "data": found[: body.get("max_num_results", 10)],
            "has_more": False, "next_page": None,
        }  # fmt: skip

    # Uploads

    def _begin(self, request: Request) -> Json:
        body = read(request, rules.UPLOAD)
        return self._keep(
            "upload",
            "upload_",
            {
                "object": "upload", "bytes": body["bytes"], "status": "pending",
                "filename": body["filename"], "purpose": body["purpose"],
                "expires_at": int(self._memory.clock()) + UPLOAD_SECONDS,
            },
        )  # fmt: skip

    def _pending(self, id_: str) -> Json:
        upload = self._get("upload", id_)
        if upload["status"] != "pending":
            raise Refusal(400, f"Upload {id_} is {upload['status']}.")
        return upload

    def _add_part(self, request: Request, id_: str) -> Json:
        self._pending(id_)
        try:
            form = read_form(request.header("content-type") or "", request.body)
        except NotAForm as exc:
            raise Refusal(400, f"Could not parse multipart form: {exc}") from exc
        if set(form) != {"data"}:
            raise Refusal(
                400, "Give the part as 'data', and nothing else.", param="data"
            )
        content = form["data"][0].content
        if len(content) > PART_BYTES:
            raise Refusal(400, f"A part has at most {PART_BYTES} bytes.", param="data")
        part = self._keep("part", "part_", {"object": "upload.part", "upload_id": id_})
        self._parts[part["id"]] = content
        return part

    def _finish(self, request: Request, id_: str) -> Json:
        body, upload = read(request, rules.COMPLETE), self._pending(id_)
        parts = [self._get("part", one) for one in body["part_ids"]]
        if any(part["upload_id"] != id_ for part in parts):
            raise Refusal(400, "A part is of another upload.", param="part_ids")
        content = b"".join(self._parts[part["id"]] for part in parts)
        if len(content) != upload["bytes"]:
            told = f"{upload['bytes']} bytes were announced, {len(content)} came."
            raise Refusal(400, told, param="bytes")
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if body.get("md5", digest) != digest:
            raise Refusal(400, "The checksum is another.", param="md5")
        file = self._files.add(upload["filename"], upload["purpose"], content)
        upload.update(status="completed", file=file)
        return upload

    def _cancel(self, _: Request, id_: str) -> Json:
        self._pending(id_)["status"] = "cancelled"
        return self._get("upload", id_)

    # Conversations

    def _talk(self, request: Request) -> Json:
        body = read(request, rules.CONVERSATION)
        talk = self._keep(
            "talk",
            "conv_",
            {"object": "conversation", "metadata": body.get("metadata") or {}},
        )
        self._hear(talk["id"], body.get("items") or [])
        return talk

    def _shown(self, id_: str) -> Json:
        return self._get("talk", id_)

    def _change_talk(self, request: Request, id_: str) -> Json:
        talk = self._get("talk", id_)
        talk["metadata"] = read(request, rules.CONVERSATION_UPDATE)["metadata"] or {}
        return talk

    def _items(self, id_: str) -> list[Json]:
        self._get("talk", id_)
        return list(self._kept.get(f"items of {id_}", {}).values())

    def _hear(self, id_: str, items: list[Json]) -> list[Json]:
        heard = []
        for i, item in enumerate(items):
            if item.get("type", "message") != "message" or "role" not in item:
                raise Refusal(400, "The mock keeps messages only.", param=f"items[{i}]")
            content = item["content"]
            if isinstance(content, str):
                kind = "output_text" if item["role"] == "assistant" else "input_text"
                plain = {"type": kind, "text": content}
                content = [plain | ({"annotations": []} if "out" in kind else {})]
            message = {
                "type": "message", "role": item["role"], "status": "completed",
                "content": content, "id": f"msg_{self._memory.next_id()}",
            }  # fmt: skip
            self._kept.setdefault(f"items of {id_}", {})[message["id"]] = message
            heard.append(message)
        return heard

    def _say(self, request: Request, id_: str) -> Json:
        self._get("talk", id_)
        return listed(self._hear(id_, read(request, rules.ITEMS)["items"]))

    def _item(self, _: Request, id_: str, item: str) -> Json:
        return self._get(f"items of {id_}", item)

    def _unsay(self, _: Request, id_: str, item: str) -> Json:
        self._get(f"items of {id_}", item)
        del self._kept[f"items of {id_}"][item]
        return self._get("talk", id_)


def _counts(completed: int) -> Json:
    nothing = {"cancelled": 0, "failed": 0, "in_progress": 0}
    return {**nothing, "completed": completed, "total": completed}
