"""The document that describes an app to its callers."""

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts

from lyceum_kit.http.problems import PROBLEM, Problem
from lyceum_kit.http.routes import declared


def described(app: FastAPI) -> dict[str, Any]:
    """FastAPI's, with what is true of every operation: errors are problems, and who may call.

    A route that has more errors than all have names them: `responses={429: {}}`.
    """
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    problems = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    guarded = {
        (route.path, method)
        for route in iter_route_contexts(app.routes)
        if declared(route.dependant).guarded
        for method in route.methods or ()
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            responses = operation["responses"]
            wanted = {"400", "404", "413", "422", "503"}
            if method != "get":
                wanted |= {"408", "409"}
            if (path, method.upper()) in guarded:
                operation["security"] = [{"bearer": []}]
                wanted |= {"401", "403"}
            for status in sorted(wanted | {s for s in responses if s >= "400"}):
                responses[status] = {"description": HTTPStatus(int(status)).phrase, "content": problems}
    return document
