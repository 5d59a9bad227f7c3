"""CatalogService over a real channel."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import grpc.aio
import pytest

from lyceum.catalog.v1 import catalog_service_pb2 as pb
from lyceum.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub
from lyceum_kit.rpc import make_server

TENANT = UUID("01990000-0000-7000-8000-000000000001")
OTHER = UUID("01990000-0000-7000-8000-000000000002")


@pytest.fixture
async def stub(catalog: Any) -> AsyncIterator[Any]:
    settings = catalog.service.settings.model_copy(update={"grpc_host": "127.0.0.1", "grpc_port": 0})
    server = make_server(settings, catalog.service.rpc, catalog.service.verifier)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield CatalogServiceStub(channel)
    await server.stop()


async def test_other_services_read_courses_and_paths_of_a_tenant(catalog: Any, stub: Any) -> None:
    body = {"title": "One", "slug": "one", "modules": [{"title": "R", "kind": "reading", "text": "x"}]}
    async with catalog.author() as http:
        course_id = (await http.post("/api/catalog/courses", json=body)).json()["course_id"]
        await http.post("/api/catalog/courses/one/publish")
        path = {"title": "P", "slug": "p", "items": [{"course_id": course_id}]}
        path_id = (await http.post("/api/catalog/paths", json=path)).json()["path_id"]

    def as_(tenant: UUID) -> Any:
        token = catalog.keys.token(tenant=tenant, roles=["service"], kind="service")
        return {"metadata": (("authorization", f"Bearer {token}"),), "timeout": 10}

    course = await stub.GetCourse(pb.GetCourseRequest(course_id=course_id), **as_(TENANT))
    assert (course.published.title, course.published.course_version, course.deprecated) == ("One", 1, False)
    listed = [
        c.published.slug
        async for r in stub.ListCourses(pb.ListCoursesRequest(), **as_(TENANT))
        for c in r.courses
    ]
    assert listed == ["one"]
    found = await stub.GetPath(pb.GetPathRequest(path_id=path_id, path_version=1), **as_(TENANT))
    assert [item.course_id for item in found.published.items] == [course_id]
    for tenant, call, request in (
        (OTHER, stub.GetCourse, pb.GetCourseRequest(course_id=course_id)),
        (OTHER, stub.GetPath, pb.GetPathRequest(path_id=path_id)),
        (TENANT, stub.GetCourse, pb.GetCourseRequest(course_id=course_id, course_version=2)),
        (TENANT, stub.GetCourse, pb.GetCourseRequest(course_id=course_id, course_version=-1)),
        (TENANT, stub.GetCourse, pb.GetCourseRequest()),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call(request, **as_(tenant))
        assert error.value.code() == grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.GetCourse(pb.GetCourseRequest(course_id="\x00"), **as_(TENANT))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.GetCourse(pb.GetCourseRequest(course_id=course_id), timeout=10)
    assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED
