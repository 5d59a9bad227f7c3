"""CatalogService: published courses and paths of the caller's tenant, for other services and reports."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import grpc.aio

from catalog import store
from lyceum.catalog.v1 import catalog_service_pb2 as pb
from lyceum.catalog.v1.catalog_service_pb2_grpc import (
    CatalogServiceServicer,
    add_CatalogServiceServicer_to_server,
)
from lyceum_kit.errors import NotFound
from lyceum_kit.ledger import Ledger
from lyceum_kit.rpc import RpcService, caller

PAGE = 200


class Servicer(CatalogServiceServicer):
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def GetCourse(self, request: pb.GetCourseRequest, context: Any) -> pb.Course:
        """A version of a course (0: the newest)."""
        tenant, version = caller().tenant, _version(request.course_version)
        async with self._ledger.read(tenant) as conn:
            found = await store.published_course(conn, tenant, request.course_id, version)
        if found is None:
            raise NotFound()
        return pb.Course(published=found.published, deprecated=found.deprecated)

    async def ListCourses(
        self,
        request: pb.ListCoursesRequest,
        context: Any,
    ) -> AsyncIterator[pb.ListCoursesResponse]:
        """The newest versions by title, a transaction a page: a slow reader holds nothing."""
        tenant, search = caller().tenant, request.search
        after: tuple[str, UUID] | None = None
        while True:
            async with self._ledger.read(tenant) as conn:
                rows = await store.published_courses(conn, tenant, search=search, after=after, limit=PAGE)
            if rows:
                courses = [pb.Course(published=row.published, deprecated=row.deprecated) for row in rows]
                yield pb.ListCoursesResponse(courses=courses)
            if len(rows) < PAGE:
                return
            after = (rows[-1].published.title, UUID(rows[-1].published.course_id))

    async def GetPath(self, request: pb.GetPathRequest, context: Any) -> pb.Path:
        """A version of a learning path (0: the newest)."""
        tenant, version = caller().tenant, _version(request.path_version)
        async with self._ledger.read(tenant) as conn:
            found = await store.path(conn, tenant, request.path_id, version)
        if found is None:
            raise NotFound()
        return pb.Path(published=found)


def _version(version: int) -> int:
    if version < 0:
        raise NotFound()
    return version


def service(ledger: Ledger) -> RpcService:
    def add(server: grpc.aio.Server) -> None:
        add_CatalogServiceServicer_to_server(Servicer(ledger), server)

    anyone: frozenset[str] = frozenset()
    return RpcService(
        "lyceum.catalog.v1.CatalogService",
        add,
        {"GetCourse": anyone, "ListCourses": anyone, "GetPath": anyone},
    )
