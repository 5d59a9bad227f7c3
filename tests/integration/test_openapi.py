"""Each service does what its OpenAPI document says, for generated requests: no 5xx, no status, type or body untold."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false, reportMissingTypeArgument=false, reportUnknownParameterType=false
# (schemathesis is annotated in part only)
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from lyceum_local.paths import SERVICES
from lyceum_local.testing import Platform

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
# Undertakings of the operator, each with tests of its own.
NOT_TRIED = {"POST /api/analytics/system/rebuild", "POST /api/identity/keys/rotate"}
# What the server's parser says of headers that are not HTTP/1.1, before anything of ours is asked.
NO_HTTP = "Invalid HTTP request received."


@pytest.fixture(scope="module")
def headers(platform: Platform) -> dict[str, str]:
    """Of an API client who may do everything in an organisation of its own."""
    tenant = platform.tenant()
    form = {
        "grant_type": "client_credentials",
        "client_id": tenant.client_id,
        "client_secret": tenant.client_secret,
    }
    answer = httpx.post(f"{platform.config.app_origin}/api/identity/token", data=form, trust_env=False)
    return {"authorization": f"Bearer {answer.raise_for_status().json()['access_token']}"}


def conforms(platform: Platform, service: str, headers: dict[str, str], *, examples: int) -> int:
    """How many operations were tried, each with so many requests that keep to the document, and that don't."""
    schema = schemathesis.openapi.from_url(f"{platform.config.app_origin}/api/{service}/openapi.json")
    tried = 0
    for result in schema.get_all_operations():
        operation: Any = result.ok()
        if operation.label in NOT_TRIED:
            continue
        tried += 1
        for mode in GenerationMode:

            @given(case=operation.as_strategy(mode))
            @settings(
                max_examples=examples if mode is GenerationMode.POSITIVE else max(1, examples // 2),
                derandomize=examples < 10,
                database=None,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=[*HealthCheck.__members__.values()],
            )
            def check(case: Case) -> None:
                answer = case.call(headers=headers)
                if answer.text != NO_HTTP:
                    case.validate_response(answer, checks=CHECKS)

            try:
                check()
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE  # a request of nothing but a path cannot be wrong
    return tried


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_keeps_to_its_document(platform: Platform, service: str, headers: dict[str, str]) -> None:
    assert conforms(platform, service, headers, examples=2) > 5


@pytest.mark.faults
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_keeps_to_its_document_for_long(
    platform: Platform, service: str, headers: dict[str, str]
) -> None:
    assert conforms(platform, service, headers, examples=100) > 5
