"""The platform over gRPC as another team meets it: `buf curl` with reflection, no stubs, no code of ours."""

import asyncio
import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo

from lyceum_local.surface import rpcs
from lyceum_local.testing import Platform

BUF = Path(sys.executable).parent / "buf"
ENROLLMENT = "lyceum.enrollment.v1.EnrollmentService"
NOBODY = "01990000-0000-7000-8000-00000000dead"

M = TypeVar("M", bound=Message)


class Refused(Exception):
    """What buf says of a call that failed."""

    def __init__(self, said: Any) -> None:
        super().__init__(str(said))
        self.code: str = said["code"]
        self.details: list[dict[str, Any]] = said.get("details", [])

    def detail(self, kind: type[M]) -> M:
        """A google.rpc detail of this kind."""
        raw = next(d["value"] for d in self.details if d["type"] == kind.DESCRIPTOR.full_name)
        return kind.FromString(base64.b64decode(raw + "=" * (-len(raw) % 4)))


async def buf(address: str, method: str, request: Any = None, *, token: str = "") -> list[dict[str, Any]]:
    """The answers' JSON. buf asks the server for the schema, as it knows nothing of ours."""
    arguments = ["curl", "--protocol", "grpc", "--http2-prior-knowledge", "--data", json.dumps(request or {})]
    if token:
        arguments += ["--header", f"authorization: Bearer {token}"]
    process = await asyncio.create_subprocess_exec(
        BUF,
        *arguments,
        f"http://{address}/{method}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    if process.returncode:
        text = err.decode()
        raise Refused(json.loads(text[text.index("{") :]))
    decoder, text, found = json.JSONDecoder(), out.decode().strip(), list[dict[str, Any]]()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].lstrip()
    return found


@pytest.fixture
async def token(organisation: Any) -> str:
    """Of the organisation's API client."""
    async with organisation.platform.api(organisation.tenant) as api:
        return api.headers["authorization"].removeprefix("Bearer ")


@pytest.fixture
def address(platform: Platform) -> Callable[[str], str]:
    return lambda service: f"127.0.0.1:{platform.config.grpc_port(service)}"


async def test_enrolments_are_listed_with_their_grounds(
    organisation: Any, token: str, address: Callable[[str], str]
) -> None:
    asked = {"person_id": organisation.ids["person"], "course_id": organisation.ids["course"]}
    [page] = await buf(address("enrollment"), f"{ENROLLMENT}/ListEnrollments", asked, token=token)
    [enrolment] = page["enrollments"]
    assert enrolment["enrollmentId"] == organisation.ids["enrollment"]
    [ground] = enrolment["grounds"]
    assert (ground["kind"], ground["groundId"]) == ("GROUND_KIND_RULE", organisation.ids["rule"])
    assert organisation.ids["department"] in ground["reason"]
    wanted = {"enrollment_id": organisation.ids["enrollment"]}
    [why] = await buf(address("enrollment"), f"{ENROLLMENT}/ExplainEnrollment", wanted, token=token)
    assert organisation.ids["department"] in why["sentences"][0]


async def test_progress_counts_modules(organisation: Any, token: str, address: Callable[[str], str]) -> None:
    asked = {"enrollment_id": organisation.ids["enrollment"]}
    [progress] = await buf(address("enrollment"), f"{ENROLLMENT}/GetCourseProgress", asked, token=token)
    assert (progress["modulesDone"], progress["modulesTotal"]) == (1, 2)
    assert [(m["title"], m.get("done", False)) for m in progress["modules"]] == [
        ("Play", False),
        ("Answer", True),
    ]


async def test_anybody_verifies_a_certificate(organisation: Any, address: Callable[[str], str]) -> None:
    method = "lyceum.assessment.v1.AssessmentService/VerifyCertificate"
    [valid] = await buf(address("assessment"), method, {"certificate_id": organisation.ids["certificate"]})
    assert valid["status"] == "CERTIFICATE_STATUS_VALID"
    assert valid["recipientName"] == organisation.ids["name"]
    [unknown] = await buf(address("assessment"), method, {"certificate_id": NOBODY})
    assert unknown["status"] == "CERTIFICATE_STATUS_UNKNOWN"


async def test_a_number_of_the_dashboard_is_read(
    organisation: Any, token: str, address: Callable[[str], str]
) -> None:
    asked = {"metric": "enrolled", "dimension": "department"}
    method = "lyceum.analytics.v1.AnalyticsService/QueryMetric"
    async with asyncio.timeout(30):  # the tables follow the feeds
        while True:
            [table] = await buf(address("analytics"), method, asked, token=token)
            counted = {row["key"]: row["value"] for row in table.get("rows", ())}
            if counted.get(organisation.ids["department"]) == 16:  # eight people, two courses each
                break
            await asyncio.sleep(0.2)
    [overview] = await buf(
        address("analytics"), "lyceum.analytics.v1.AnalyticsService/GetOverview", token=token
    )
    assert (overview["enrolled"], overview["certificates"]) == ("16", "1")  # 64 bits are texts in JSON


async def test_a_refusal_says_what_it_is(
    organisation: Any, token: str, address: Callable[[str], str]
) -> None:
    list_enrollments = f"{ENROLLMENT}/ListEnrollments"
    for wrong in ("", "not.a.token", token[:-4] + "AAAA"):
        with pytest.raises(Refused) as stranger:
            await buf(address("enrollment"), list_enrollments, token=wrong)
        assert stranger.value.code == "unauthenticated"
        info = stranger.value.detail(ErrorInfo)
        assert (info.reason, info.domain) == ("unauthenticated", "lyceum")
    with pytest.raises(Refused) as unknown:
        await buf(
            address("enrollment"), f"{ENROLLMENT}/GetEnrollment", {"enrollment_id": NOBODY}, token=token
        )
    assert unknown.value.code == "not_found"
    with pytest.raises(Refused) as malformed:
        await buf(
            address("catalog"), "lyceum.catalog.v1.CatalogService/ListCourses", {"search": "\0"}, token=token
        )
    assert malformed.value.code == "invalid_argument"
    [violation] = malformed.value.detail(BadRequest).field_violations
    assert (violation.field, violation.description) == ("search", "has a NUL character")


async def test_health_is_asked_without_a_token(address: Callable[[str], str]) -> None:
    for service in ("", "lyceum.analytics.v1.AnalyticsService"):
        [health] = await buf(address("analytics"), "grpc.health.v1.Health/Check", {"service": service})
        assert health == {"status": "SERVING"}


async def test_whoever_comes_sees_what_there_is_to_call(
    platform: Platform, address: Callable[[str], str]
) -> None:
    """That none of it answers without a token is in test_denied."""
    listed: set[str] = set()
    for service in ("identity", "analytics"):
        arguments = (
            "curl",
            "--protocol",
            "grpc",
            "--http2-prior-knowledge",
            "--list-methods",
            f"http://{address(service)}",
        )
        process = await asyncio.create_subprocess_exec(BUF, *arguments, stdout=asyncio.subprocess.PIPE)
        listed |= {f"/{name}" for name in (await process.communicate())[0].decode().split()}
    assert {r.name for r in await rpcs(platform.config)} == {m for m in listed if not m.startswith("/grpc.")}
