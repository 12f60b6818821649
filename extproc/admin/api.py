"""The admin API, ``/admin/v1``: entries, spend, the usage log, the audit log.

OpenAPI 3.1 at ``/admin/v1/openapi.json``, shown at ``/admin/docs``. Each operation's
``x-extproc-action`` is what the caller's role must allow (`extproc.admin.access`). The
caller is who the key or token in ``authorization: Bearer`` or ``x-api-key`` says; there
are no cookies, so no page elsewhere can ask in somebody's name.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRoute
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException

from extproc import __version__
from extproc.admin import document, litellm, routes
from extproc.admin.entries import KINDS
from extproc.admin.errors import AdminError, Invalid, TooMany, Unknown
from extproc.admin.http import Admin, Check, json


def make_app(admin: Admin, extra: Iterable[APIRouter] = ()) -> FastAPI:
    """Return the application, to be mounted at ``/``: its paths are whole."""
    app = FastAPI(
        title="extproc admin",
        version=__version__,
        openapi_url="/admin/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    routers = [
        *(routes.entries(admin, kind) for kind in KINDS.values()),
        routes.books(admin),
        routes.gateway(admin),
        litellm.routes(admin, admin.clock),
        _docs(app),
        *extra,
    ]
    for router in routers:
        app.include_router(router)
    app.add_exception_handler(AdminError, _answer_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_unserved)
    app.add_exception_handler(OperationalError, _answer_away)
    app.openapi = lambda: _openapi(app, routers)  # type: ignore[method-assign]
    return app


def _docs(app: FastAPI) -> APIRouter:
    router = APIRouter(prefix="/admin/docs", include_in_schema=False)
    # The page and all that it loads come from here: operators may have no internet.
    assets = resources.files("fastapi_swagger") / "resources"
    types = {
        "swagger-ui-bundle.js": "text/javascript",
        "swagger-ui.css": "text/css",
        "favicon-32x32.png": "image/png",
    }

    @router.get("")
    def page() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url=app.openapi_url or "",
            title=app.title,
            swagger_js_url="/admin/docs/swagger-ui-bundle.js",
            swagger_css_url="/admin/docs/swagger-ui.css",
            swagger_favicon_url="/admin/docs/favicon-32x32.png",
        )

    @router.get("/{name}")
    def asset(name: str) -> Response:
        if name not in types:
            return Response(status_code=404)
        return Response((assets / name).read_bytes(), media_type=types[name])

    return router


def _said(status: int, type_: str, message: str, param: str | None = None) -> Response:
    content = {"message": message, "type": type_, "param": param, "code": None}
    return json({"error": content}, status)


def _answer_error(request: Request, error: Exception) -> Response:  # noqa: ARG001
    assert isinstance(error, AdminError)  # noqa: S101  what it is registered for
    response = _said(error.status, error.type, error.message, error.param)
    if isinstance(error, TooMany):
        response.headers["retry-after"] = str(error.retry_after)
    if isinstance(error, Unknown):
        response.headers["www-authenticate"] = "Bearer"
    return response


def _answer_invalid(request: Request, error: Exception) -> Response:
    """Answer for a parameter that FastAPI cannot read."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  as above
    first = error.errors()[0]
    param = str(first["loc"][-1])
    return _answer_error(request, Invalid(f"{param}: {first['msg']}.", param=param))


def _answer_unserved(request: Request, error: Exception) -> Response:
    """Answer for a path or a method that nothing serves."""
    assert isinstance(error, HTTPException)  # noqa: S101  as above
    what = f"{request.method} {request.url.path[:200]}"
    return _said(error.status_code, "not_found_error", f"Nothing serves {what}.")


def _answer_away(request: Request, error: Exception) -> Response:  # noqa: ARG001
    # Its text may have the database's address and user in it.
    message = "The database cannot be reached; the gateway serves on without it."
    return _said(503, "api_error", message)


def _openapi(app: FastAPI, routers: Iterable[APIRouter]) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            routes=app.routes,
            description="What operators change while the gateway runs.",
        )
        components = schema.setdefault("components", {})
        components["schemas"] = document.components() | litellm.components()
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        schema["security"] = [{"key": []}]
        for router in routers:
            for route in router.routes:
                if isinstance(route, APIRoute) and route.include_in_schema:
                    _say_more(schema["paths"][route.path_format], route)
        app.openapi_schema = schema
    return app.openapi_schema


_ERROR: Final = {
    "description": "The error says why.",
    "content": {"application/json": {"schema": document.ref("Error")}},
}


def _say_more(operations: dict[str, Any], route: APIRoute) -> None:
    """Say what of the matrix of roles each operation needs, and how errors look."""
    for method in route.methods or ():
        operation = operations[method.lower()]
        # FastAPI's own, which nobody gets: see `_answer_invalid`.
        operation["responses"].pop("422", None)
        operation["responses"] |= {"4XX": _ERROR, "503": _ERROR}
        for dependency in route.dependant.dependencies:
            if isinstance(dependency.call, Check):
                operation["x-extproc-action"] = dependency.call.action
