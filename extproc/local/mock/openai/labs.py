"""What OpenAI keeps for work with tools: containers, skills, and evals.

https://platform.openai.com/docs/api-reference: containers, skills, evals. It is kept as long
as the mock runs; nothing is executed, and an eval's run has ended with nothing in it when it
is looked at.
"""

from __future__ import annotations

import re
from typing import Any, Final

from extproc.local.mock.multipart import NotAForm, Part, read_form
from extproc.local.mock.openai import labs_rules as rules
from extproc.local.mock.openai.api import PREFIX
from extproc.local.mock.openai.library import Library, Serve
from extproc.local.mock.openai.stored import listed, read
from extproc.local.mock.reply import Refusal, Reply, Request

Json = dict[str, Any]
OWNED: Final = re.compile(r"/v1/(?:containers|skills|evals)(?:/.*)?")
MANIFEST: Final = "SKILL.md"
_SAID: Final = re.compile(r"^(name|description): *(.+)$", re.MULTILINE)


class Labs(Library):
    """The part of OpenAI whose things are worked with; `files` are those of its API."""

    def owns(self, request: Request) -> bool:
        """Claim what is kept here."""
        return OWNED.fullmatch(request.route.removeprefix(PREFIX)) is not None

    def _table(self) -> list[tuple[str, str, Serve]]:
        box, skill, test = "containers/{id}", "skills/{id}", "evals/{id}"
        version, run = f"{skill}/versions/{{version}}", f"{test}/runs/{{run}}"
        return [
            ("POST", "containers", self._new_container),
            ("GET", "containers", lambda _: self._list("container")),
            ("GET", box, lambda _, id_: self._get("container", id_)),
            ("DELETE", box, lambda _, id_: self._drop("container", id_, "container")),
            ("POST", f"{box}/files", self._put_file),
            ("GET", f"{box}/files", self._files_in),
            ("GET", f"{box}/files/{{file}}", self._file_in),
            ("DELETE", f"{box}/files/{{file}}", self._take_file),
            ("GET", f"{box}/files/{{file}}/content", self._content_in),
            ("POST", "skills", self._new_skill),
            ("GET", "skills", lambda _: self._list("skill")),
            ("GET", skill, lambda _, id_: self._get("skill", id_)),
            ("POST", skill, self._change_skill),
            ("DELETE", skill, lambda _, id_: self._drop("skill", id_, "skill")),
            ("GET", f"{skill}/content", self._content_of),
            ("POST", f"{skill}/versions", self._new_version),
            ("GET", f"{skill}/versions", self._versions_of),
            ("GET", version, self._version_of),
            ("DELETE", version, self._drop_version),
            ("POST", "evals", self._new_eval),
            ("GET", "evals", lambda _: self._list("eval")),
            ("GET", test, lambda _, id_: self._get("eval", id_)),
            ("POST", test, self._change_eval),
            ("DELETE", test, self._drop_eval),
            ("POST", f"{test}/runs", self._new_run),
            ("GET", f"{test}/runs", self._runs_of),
            ("GET", run, lambda _, id_, run: self._get(f"runs of {id_}", run)),
            ("POST", run, self._cancel_run),
            ("DELETE", run, self._drop_run),
            (
                "GET",
                f"{run}/output_items",
                lambda _, id_, run: self._no_items(id_, run),
            ),
        ]

    # Containers

    def _new_container(self, request: Request) -> Json:
        body = read(request, rules.CONTAINER)
        policy = body.get("network_policy", {"type": "disabled"})
        box = self._keep(
            "container",
            "cntr_",
            {
                "object": "container", "name": body["name"], "status": "running",
                "expires_after": body.get(
                    "expires_after", {"anchor": "last_active_at", "minutes": 20}
                ),
                "last_active_at": int(self._memory.clock()),
                "memory_limit": body.get("memory_limit", "1g"),
                "network_policy": {
                    key: policy[key] for key in ("type", "allowed_domains") if key in policy
                },
            },
        )  # fmt: skip
        for id_ in body.get("file_ids", ()):
            self._copy(box["id"], id_)
        return box

    def _copy(self, box: str, id_: str) -> Json:
        file, content = self._files.file(id_)
        return self._add(box, file["filename"], content, "user")

    def _add(self, box: str, name: str, content: bytes, source: str) -> Json:
        file = self._keep(
            f"files of {box}",
            "cfile_",
            {
                "object": "container.file", "container_id": box, "bytes": len(content),
                "path": f"/mnt/data/{name}", "source": source,
            },
        )  # fmt: skip
        self._parts[file["id"]] = content
        return file

    def _put_file(self, request: Request, id_: str) -> Json:
        self._get("container", id_)
        if (request.header("content-type") or "").startswith("application/json"):
            return self._copy(id_, read(request, rules.CONTAINER_FILE)["file_id"])
        form = _form(request, {"file", "file_id"})
        if "file_id" in form:
            return self._copy(id_, form["file_id"][0].content.decode())
        part = form["file"][0] if "file" in form else None
        if part is None or part.filename is None:
            raise Refusal(400, "Give one of file and file_id.", param="file")
        return self._add(id_, part.filename, part.content, "user")

    def _files_in(self, _: Request, id_: str) -> Json:
        self._get("container", id_)
        return listed(list(self._kept.get(f"files of {id_}", {}).values()))

    def _file_in(self, _: Request, id_: str, file: str) -> Json:
        return self._get(f"files of {id_}", file)

    def _take_file(self, _: Request, id_: str, file: str) -> Json:
        return self._drop(f"files of {id_}", file, "container.file")

    def _content_in(self, _: Request, id_: str, file: str) -> Reply:
        return _binary(self._parts[self._get(f"files of {id_}", file)["id"]])

    # Skills

    def _new_skill(self, request: Request) -> Json:
        said, content = _skill(request, {"files"})
        skill = self._keep(
            "skill", "skill_",
            {"object": "skill", "default_version": "1", "latest_version": "1", **said},
        )  # fmt: skip
        self._version(skill["id"], "1", said, content)
        return skill

    def _version(self, skill: str, number: str, said: Json, content: bytes) -> Json:
        version = self._keep(
            "version",
            "skillver_",
            {"object": "skill.version", "skill_id": skill, "version": number, **said},
        )
        self._kept.setdefault(f"versions of {skill}", {})[number] = version
        self._parts[version["id"]] = content
        return version

    def _new_version(self, request: Request, id_: str) -> Json:
        skill = self._get("skill", id_)
        said, content = _skill(request, {"files", "default"})
        number = str(int(skill["latest_version"]) + 1)
        skill["latest_version"] = number
        return self._version(id_, number, said, content)

    def _change_skill(self, request: Request, id_: str) -> Json:
        skill, body = self._get("skill", id_), read(request, rules.SKILL_UPDATE)
        self._get(f"versions of {id_}", body["default_version"])
        skill["default_version"] = body["default_version"]
        return skill

    def _versions_of(self, _: Request, id_: str) -> Json:
        self._get("skill", id_)
        return listed(list(self._kept[f"versions of {id_}"].values()))

    def _version_of(self, _: Request, id_: str, version: str) -> Json:
        return self._get(f"versions of {id_}", version)

    def _drop_version(self, _: Request, id_: str, version: str) -> Json:
        said = self._drop(f"versions of {id_}", version, "skill.version")
        return {**said, "version": version}

    def _content_of(self, _: Request, id_: str) -> Reply:
        number = self._get("skill", id_)["default_version"]
        return _binary(self._parts[self._get(f"versions of {id_}", number)["id"]])

    # Evals

    def _new_eval(self, request: Request) -> Json:
        body = read(request, rules.EVAL)
        source = dict(body["data_source_config"])
        source["schema"] = {"item": source.pop("item_schema", {"type": "object"})}
        source.pop("include_sample_schema", None)
        return self._keep(
            "eval",
            "eval_",
            {
                "object": "eval", "name": body.get("name", "Eval"),
                "metadata": body.get("metadata") or {}, "data_source_config": source,
                "testing_criteria": [
                    {"id": f"{one['name']}-1", **one} for one in body["testing_criteria"]
                ],
            },
        )  # fmt: skip

    def _change_eval(self, request: Request, id_: str) -> Json:
        test = self._get("eval", id_)
        test.update(read(request, rules.EVAL_UPDATE))
        return test

    def _drop_eval(self, _: Request, id_: str) -> Json:
        self._drop("eval", id_, "eval")
        return {"object": "eval.deleted", "deleted": True, "eval_id": id_}

    def _new_run(self, request: Request, id_: str) -> Json:
        test, body = self._get("eval", id_), read(request, rules.RUN)
        source = body["data_source"]["source"]
        if source["type"] == "file_id":
            self._files.file(source["id"])
        return self._keep(
            f"runs of {id_}",
            "evalrun_",
            {
                "object": "eval.run", "eval_id": id_, "name": body.get("name", "Run"),
                "metadata": body.get("metadata") or {}, "status": "completed",
                "data_source": body["data_source"],
                "model": body["data_source"].get("model", ""),
                "error": {"code": "", "message": ""},
                "report_url": f"https://platform.openai.com/evaluations/{id_}",
                "per_model_usage": [],
                "per_testing_criteria_results": [
                    {"failed": 0, "passed": 0, "testing_criteria": one["id"]}
                    for one in test["testing_criteria"]
                ],
                "result_counts": {"errored": 0, "failed": 0, "passed": 0, "total": 0},
            },
        )  # fmt: skip

    def _runs_of(self, _: Request, id_: str) -> Json:
        self._get("eval", id_)
        return listed(list(self._kept.get(f"runs of {id_}", {}).values()))

    def _cancel_run(self, _: Request, id_: str, run: str) -> Json:
        found = self._get(f"runs of {id_}", run)
        found["status"] = "canceled"
        return found

    def _drop_run(self, _: Request, id_: str, run: str) -> Json:
        self._drop(f"runs of {id_}", run, "eval.run")
        return {"object": "eval.run.deleted", "deleted": True, "run_id": run}

    def _no_items(self, id_: str, run: str) -> Json:
        self._get(f"runs of {id_}", run)
        return listed([])


def _binary(content: bytes) -> Reply:
    return Reply(200, content, content_type="application/octet-stream")


def _form(request: Request, known: set[str]) -> dict[str, list[Part]]:
    try:
        form = read_form(request.header("content-type") or "", request.body)
    except NotAForm as exc:
        raise Refusal(400, f"Could not parse multipart form: {exc}") from exc
    bare = {name.removesuffix("[]"): parts for name, parts in form.items()}
    for name in bare:
        if name not in known:
            raise Refusal(400, f"Unknown parameter: '{name}'.", param=name)
    return bare


def _skill(request: Request, known: set[str]) -> tuple[Json, bytes]:
    """Return what a skill says of itself, and its files one behind the other."""
    parts = _form(request, known).get("files", [])
    for part in parts:
        if (part.filename or "").rpartition("/")[2] == MANIFEST:
            said = dict(_SAID.findall(part.content.decode()))
            if said.keys() == {"name", "description"}:
                return said, b"".join(one.content for one in parts)
    raise Refusal(400, f"A skill needs a {MANIFEST} that names it.", param="files")
