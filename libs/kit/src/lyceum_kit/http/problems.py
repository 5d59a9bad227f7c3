"""Errors as answers: problem+json (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json
from starlette.exceptions import HTTPException

from lyceum_kit.errors import Invalid, LyceumError, Malformed, NotFound

log = structlog.get_logger()

PROBLEM = "application/problem+json"


class Problem(BaseModel):
    """Why a request was not fulfilled. `type` is stable; further members depend on it."""

    model_config = ConfigDict(extra="allow")
    type: str
    title: str
    status: int
    detail: str


def problem(
    status: int, code: str, title: str, detail: str, extra: Mapping[str, object] | None = None
) -> Response:
    body = {
        **(extra or {}),
        "type": f"urn:lyceum:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
    }
    headers: dict[str, str] = {}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if extra and "retry_after" in extra:
        headers["retry-after"] = str(extra["retry_after"])
    return Response(to_json(body), status, headers, PROBLEM)


def problem_of(error: LyceumError) -> Response:
    return problem(error.status, error.code, error.title, error.detail, error.extra)


class BodyRefused(HTTPException):
    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


def answer_errors(app: FastAPI) -> None:
    """What a route raises becomes its problem."""
    app.add_exception_handler(LyceumError, _on_lyceum_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)


async def _on_lyceum_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, LyceumError)
    if error.status >= 500:
        log.warning("request failed", error=f"{type(error).__name__}: {error.detail}")
    return problem_of(error)


async def _on_http_exception(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, BodyRefused):
        return error.response
    phrase = HTTPStatus(error.status_code).phrase
    if error.status_code == 400:
        return problem_of(Malformed(error.detail))
    answer = problem(error.status_code, phrase.lower().replace(" ", "-"), phrase, error.detail)
    answer.headers.update(error.headers or {})
    return answer


async def _on_validation_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found: list[dict[str, Any]] = list(error.errors())
    if any(e["type"] == "json_invalid" for e in found):
        return problem_of(Malformed("The body is not valid JSON"))
    if any(e["loc"][0] == "path" for e in found):
        return problem_of(NotFound())  # a malformed id is an unknown id
    # Never `input`: it may be a password, and would be sent back.
    fields = [{"field": ".".join(str(p) for p in e["loc"][1:]), "message": str(e["msg"])} for e in found]
    return problem_of(Invalid(errors=fields))
