"""EnrollmentService over a real gRPC server."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import grpc.aio
import pytest

from enrollment import rpc
from enrollment.settings import Settings
from lyceum.enrollment.v1 import enrollment_service_pb2 as pb
from lyceum.enrollment.v1.enrollment_service_pb2_grpc import EnrollmentServiceStub
from lyceum_kit.rpc import make_server

ADA = "01990000-0000-7000-8000-0000000000ad"
GRACE = "01990000-0000-7000-8000-0000000000ac"
HANS = "01990000-0000-7000-8000-0000000000ab"
NOBODY = "01990000-0000-7000-8000-00000000dead"
SECURITY = "01990000-0000-7000-8000-0000000000c1"
ONBOARDING = "01990000-0000-7000-8000-0000000000c2"
ENGINEERING_PATH = "01990000-0000-7000-8000-0000000000f1"
OTHER_TENANT = UUID("01990000-0000-7000-8000-000000000002")


class Client:
    def __init__(self, school: Any, stub: Any) -> None:
        self.school, self.stub = school, stub

    def as_(
        self, *roles: str, subject: str = NOBODY, tenant: UUID | None = None, kind: Any = "person"
    ) -> Any:
        token = self.school.keys.token(
            tenant=tenant or self.school.tenant, subject=subject, roles=roles, kind=kind
        )
        return (("authorization", f"Bearer {token}"),)

    async def listed(self, metadata: Any, **filters: Any) -> list[pb.Enrollment]:
        pages = self.stub.ListEnrollments(pb.ListEnrollmentsRequest(**filters), metadata=metadata, timeout=10)
        return [e async for page in pages for e in page.enrollments]


@pytest.fixture
async def rpcs(school: Any) -> AsyncIterator[Client]:
    await school.rule(course_ids=[SECURITY], path_ids=[ENGINEERING_PATH], due_in_days=30)
    await school.hire(ADA, manager_id=GRACE)
    await school.hire(HANS)
    settings = Settings(grpc_host="127.0.0.1", grpc_port=0)
    server = make_server(settings, school.service.rpc, school.keys.verifier)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Client(school, EnrollmentServiceStub(channel))
    await server.stop(0)


async def test_an_enrolment_has_its_grounds_and_lock(rpcs: Client) -> None:
    hers = await rpcs.school.has(ADA)
    service = rpcs.as_("service", subject="assessment", kind="service")
    asked = pb.GetEnrollmentRequest(enrollment_id=hers[ONBOARDING]["enrollment_id"])
    found = await rpcs.stub.GetEnrollment(asked, metadata=service, timeout=10)
    assert (found.person_id, found.course_id, found.course_version) == (ADA, ONBOARDING, 1)
    assert (found.state, found.locked, found.modules_total) == (pb.ENROLLMENT_STATE_ACTIVE, True, 1)
    assert [g.ground_id for g in found.grounds] == [ENGINEERING_PATH]
    assert found.due_at.ToJsonString() == "2026-12-24T23:00:00Z"
    assert not found.HasField("completed_at")


async def test_an_enrolment_explains_itself(rpcs: Client) -> None:
    asked = pb.GetEnrollmentRequest(enrollment_id=(await rpcs.school.has(ADA))[SECURITY]["enrollment_id"])
    said = await rpcs.stub.ExplainEnrollment(asked, metadata=rpcs.as_("learner", subject=ADA), timeout=10)
    assert said.sentences[0] == "Because department is Engineering (rule Engineering basics, version 1)"
    assert len(said.sentences) == 2


async def test_progress_counts_the_modules_of_the_pinned_version(rpcs: Client) -> None:
    hers = (await rpcs.school.has(ADA))[SECURITY]
    await rpcs.school.finish(hers, "m1", score=80.0)
    asked = pb.GetCourseProgressRequest(enrollment_id=hers["enrollment_id"])
    found = await rpcs.stub.GetCourseProgress(asked, metadata=rpcs.as_("learner", subject=ADA), timeout=10)
    assert (found.modules_done, found.modules_total, found.next_module_id) == (1, 2, "m2")
    assert [(m.module_id, m.done, m.score) for m in found.modules] == [("m1", True, 80.0), ("m2", False, 0.0)]
    assert not found.modules[1].HasField("score")


async def test_everyone_lists_what_they_may_see(rpcs: Client) -> None:
    assert len(await rpcs.listed(rpcs.as_("reader", subject="client", kind="client"))) == 4
    assert {e.person_id for e in await rpcs.listed(rpcs.as_("learner", subject=ADA))} == {ADA}
    assert {e.person_id for e in await rpcs.listed(rpcs.as_("learner", "manager", subject=GRACE))} == {ADA}
    assert await rpcs.listed(rpcs.as_("learner", subject=ADA), person_id=HANS) == []
    assert await rpcs.listed(rpcs.as_("admin", tenant=OTHER_TENANT)) == []


async def test_lists_are_filtered_and_come_in_pages(rpcs: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "PAGE", 1)
    admin = rpcs.as_("admin")
    everything = await rpcs.listed(admin)
    ids = [e.enrollment_id for e in everything]
    assert (len(ids), ids) == (4, sorted(ids))
    assert len(await rpcs.listed(admin, course_id=SECURITY)) == 2
    assert len(await rpcs.listed(admin, course_id=SECURITY, person_id=ADA)) == 1
    assert await rpcs.listed(admin, state=pb.ENROLLMENT_STATE_COMPLETED) == []


@pytest.mark.parametrize("method", ["GetEnrollment", "ExplainEnrollment", "GetCourseProgress"])
async def test_what_a_caller_may_not_see_is_not_found(rpcs: Client, method: str) -> None:
    hers = (await rpcs.school.has(ADA))[SECURITY]["enrollment_id"]
    request = pb.GetCourseProgressRequest if method == "GetCourseProgress" else pb.GetEnrollmentRequest
    call = getattr(rpcs.stub, method)
    for asked, metadata in [
        (hers, rpcs.as_("learner", subject=HANS)),
        (hers, rpcs.as_("admin", tenant=OTHER_TENANT)),
        (NOBODY, rpcs.as_("admin")),
        ("nonsense", rpcs.as_("admin")),
        ("", rpcs.as_("admin")),
    ]:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(request(enrollment_id=asked), metadata=metadata, timeout=10)
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(request(enrollment_id=hers), timeout=10)
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_a_filter_that_is_no_id_is_refused(rpcs: Client) -> None:
    for filters in ({"person_id": "x"}, {"course_id": "1 OR 1"}, {"state": 99}):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await rpcs.listed(rpcs.as_("admin"), **filters)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
