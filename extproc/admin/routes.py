"""The routes of ``/admin/v1``."""

from __future__ import annotations

from typing import Annotated, Final, get_args

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from extproc.admin import spending
from extproc.admin.access import Actor
from extproc.admin.document import name_of, ref, tell
from extproc.admin.entries import EntryKind
from extproc.admin.errors import Invalid
from extproc.admin.http import Admin, JsonObject, Limit, allowed, body, csv, json
from extproc.db.usage import Dimension, Filter


def entries(admin: Admin, kind: EntryKind) -> APIRouter:
    """Return the routes of one kind of entry."""
    section, directory = kind.section, admin.directory
    router = APIRouter(prefix=f"/admin/v1/{section}", tags=[section])
    reader = allowed(admin, "read")
    writer = allowed(admin, "change_keys" if section == "keys" else "change")
    name = name_of(kind)
    made = ref("MadeKey" if section == "keys" else name)

    @router.get(
        "",
        summary=f"List {section.replace('_', ' ')}",
        openapi_extra=tell(ref(f"{name}Page")),
    )
    def page(
        actor: Actor = reader,  # noqa: ARG001
        *,
        after: str = "",
        limit: Limit = 100,
        organization: str | None = None,
        team: str | None = None,
        user: str | None = None,
        text: str = "",
        tag: str | None = None,
        blocked: bool | None = None,
    ) -> Response:
        owner = {"organization": organization, "team": team, "user": user}
        found = directory.page(
            section,
            after=after,
            limit=limit,
            owner={field: id_ for field, id_ in owner.items() if id_ is not None},
            text=text,
            tag=tag,
            blocked=blocked,
        )
        return json(found)

    @router.post(
        "",
        status_code=201,
        summary=f"Make a {kind.noun}",
        openapi_extra=tell(made, status=201, body=ref(f"New{name}")),
    )
    def create(actor: Actor = writer, *, settings: JsonObject) -> Response:
        id_ = settings.pop("id", None)
        return json(directory.create(section, settings, actor, id_=id_), 201)

    @router.post(
        "/bulk",
        summary="Several changes, all or none",
        openapi_extra=tell(ref(f"{name}Results"), body=ref(f"{name}Operations")),
    )
    def bulk(
        actor: Actor = writer, *, operations: Annotated[object, Depends(body)]
    ) -> Response:
        if not isinstance(operations, list) or not all(
            isinstance(operation, dict) for operation in operations
        ):
            raise Invalid("The body must be a list of objects.")
        return json({"data": directory.bulk(section, operations, actor)})

    if section == "keys":

        @router.post(
            "/{id:path}/rotate",
            summary="Give a key a new secret",
            openapi_extra=tell(made, body=ref("Rotation")),
        )
        def rotate(
            id: str,  # noqa: A002  the path's name for it
            actor: Actor = writer,
            *,
            settings: JsonObject,
        ) -> Response:
            grace = settings.pop("grace", 0)
            if settings or not isinstance(grace, int | float):
                raise Invalid('The body may be {"grace": SECONDS}.', param="grace")
            return json(directory.rotate(id, grace, actor))

    @router.get(
        "/{id:path}", summary=f"Show a {kind.noun}", openapi_extra=tell(ref(name))
    )
    def get(id: str, actor: Actor = reader) -> Response:  # noqa: A002, ARG001
        return json(directory.get(section, id))

    @router.patch(
        "/{id:path}",
        summary=f"Change a {kind.noun} (merge patch, RFC 7396)",
        openapi_extra=tell(ref(name), body=ref(f"{name}Changes")),
    )
    def update(
        id: str,  # noqa: A002
        actor: Actor = writer,
        *,
        changes: JsonObject,
    ) -> Response:
        return json(directory.update(section, id, changes, actor))

    @router.delete(
        "/{id:path}",
        status_code=204,
        summary=f"Delete a {kind.noun}",
        openapi_extra=tell(None, status=204),
    )
    def delete(id: str, actor: Actor = writer) -> Response:  # noqa: A002
        directory.delete(section, id, actor)
        return Response(status_code=204)

    return router


def _filter(
    *,
    since: str | None = None,
    until: str | None = None,
    key: str | None = None,
    user: str | None = None,
    team: str | None = None,
    organization: str | None = None,
    end_user: str | None = None,
    model: str | None = None,
    provider: str | None = None,
    operation: str | None = None,
    outcome: str | None = None,
    tag: str | None = None,
) -> Filter:
    return Filter(
        since=spending.moment(since, "since"),
        until=spending.moment(until, "until"),
        key=key,
        user=user,
        team=team,
        organization=organization,
        end_user=end_user,
        model=model,
        provider=provider,
        operation=operation,
        outcome=outcome,
        tag=tag,
    )


Where = Annotated[Filter, Depends(_filter)]


def books(admin: Admin) -> APIRouter:
    """Return the routes of what was spent."""
    router = APIRouter(prefix="/admin/v1", tags=["spend"])
    reader = allowed(admin, "read")

    @router.get(
        "/spend",
        summary="What was spent, in groups",
        openapi_extra=tell(ref("Spend"), csv="A group a line."),
    )
    def spend(
        where: Where,
        *,
        actor: Actor = reader,  # noqa: ARG001
        by: str = "",
        format: str = "json",  # noqa: A002
    ) -> Response:
        dimensions = read_dimensions(by)
        groups = spending.spend(admin.database, dimensions, where)
        if _is_csv(format):
            fields = (
                *dimensions, "requests", "input_tokens", "output_tokens", "cost_usd",
                "unpriced_requests",
            )  # fmt: skip
            return csv("spend.csv", spending.csv_lines(fields, iter(groups)))
        return json({"by": dimensions, "data": groups})

    @router.get(
        "/usage",
        summary="Exchanges, the newest first",
        openapi_extra=tell(ref("ExchangePage"), csv="An exchange a line."),
    )
    def usage(
        where: Where,
        *,
        actor: Actor = reader,  # noqa: ARG001
        after: str | None = None,
        limit: Limit = 100,
        format: str = "json",  # noqa: A002
    ) -> Response:
        if _is_csv(format):
            fields = [*spending.FIELDS]
            fields[fields.index("cost")] = "cost_usd"
            rows = spending.everything(admin.database, where)
            return csv("usage.csv", spending.csv_lines(fields, rows))
        rows_, next_ = spending.log(admin.database, where, after=after, limit=limit)
        return json({"data": rows_, "next": next_})

    return router


def gateway(admin: Admin) -> APIRouter:
    """Return the routes of what concerns everything."""
    router = APIRouter(prefix="/admin/v1", tags=["gateway"])
    directory, auditor = admin.directory, allowed(admin, "read_audit")
    exporter, importer = allowed(admin, "export"), allowed(admin, "import")

    @router.get("/me", summary="Who this key is", openapi_extra=tell(ref("Me")))
    def me(request: Request) -> Response:
        actor = admin.actor(request)
        return json({"id": actor.id, "role": actor.role})

    @router.get(
        "/audit",
        summary="Changes, the newest first",
        openapi_extra=tell(ref("ChangePage")),
    )
    def audit(
        *,
        actor: Actor = auditor,  # noqa: ARG001
        before: Annotated[int | None, Query(ge=0, lt=1 << 63)] = None,
        limit: Limit = 100,
        subject: str | None = None,
        actor_id: Annotated[str | None, Query(alias="actor")] = None,
        kind: str | None = None,
        action: str | None = None,
    ) -> Response:
        found = directory.audit(
            before=before,
            limit=limit,
            subject=subject,
            actor=actor_id,
            kind=kind,
            action=action,
        )
        return json({"data": found, "next": found[-1]["id"] if found else None})

    @router.get(
        "/export",
        summary="All that the database has, keys as hashes",
        openapi_extra=tell(ref("Export")),
    )
    def export(actor: Actor = exporter) -> Response:  # noqa: ARG001
        return json(directory.export())

    @router.post(
        "/import",
        summary="Add what an export has",
        openapi_extra=tell(ref("Added"), body=ref("Export")),
    )
    def import_(actor: Actor = importer, *, content: JsonObject) -> Response:
        return json({"added": directory.import_(content, actor)})

    return router


_DIMENSIONS: Final[dict[str, Dimension]] = {name: name for name in get_args(Dimension)}


def read_dimensions(by: str) -> list[Dimension]:
    """Read a list such as ``team,day``.

    Raises:
        Invalid: spend cannot be split so.
    """
    names = list(filter(None, by.split(",")))
    if len(set(names)) < len(names) or not _DIMENSIONS.keys() >= set(names):
        raise Invalid(f"by: a list of {', '.join(_DIMENSIONS)}.", param="by")
    return [_DIMENSIONS[name] for name in names]


def _is_csv(format_: str) -> bool:
    if format_ not in {"json", "csv"}:
        raise Invalid("format must be json or csv.", param="format")
    return format_ == "csv"
