"""Catalog's routes: courses and paths for everybody, drafts, packages and publishing for authors."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field, StringConstraints
from starlette.datastructures import UploadFile

from catalog import handlers, store
from catalog.errors import UploadMissing
from catalog.importer import Importer
from lyceum.catalog.v1.events_pb2 import Module, PackageImported, PathItem, PathPublished
from lyceum_kit.errors import NotFound
from lyceum_kit.http import MIB, Model, Page, Pages, allow, body_limit, page
from lyceum_kit.ledger import Ledger
from lyceum_kit.lines import Line
from lyceum_kit.tokens import Caller

# The form around a file costs a little.
FORM_BYTES = MIB

Title = Annotated[Line, StringConstraints(max_length=300)]
Text = Annotated[str, StringConstraints(max_length=200_000)]
Slug = Annotated[str, StringConstraints(max_length=100, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
Key = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,100}$", description="Id or slug")]
Reader = Annotated[Caller, allow()]
Author = Annotated[Caller, allow("author", "admin")]


class ModuleBody(Model):
    """One step. A scorm12 module may leave launch_path out when its package has one item."""

    module_id: UUID | None = None
    title: Title
    kind: Literal["scorm12", "quiz", "reading"]
    package_id: UUID | None = None
    launch_path: Annotated[str, StringConstraints(max_length=2000, pattern=r"^[^\x00-\x1f]*$")] = ""
    quiz_id: UUID | None = None
    text: Text = ""


class CourseBody(Model):
    title: Title
    slug: Slug
    summary: Annotated[str, StringConstraints(max_length=2000)] = ""
    language: Annotated[
        str, StringConstraints(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$", max_length=35)
    ] = "en"
    duration_minutes: Annotated[int, Field(ge=0, le=100_000)] = 0
    certifying: bool = False
    modules: list[ModuleBody] = Field(default_factory=list[ModuleBody], max_length=100)


class DeprecateBody(Model):
    reason: Title


class PathItemBody(Model):
    course_id: UUID
    prerequisite_course_ids: list[UUID] = Field(default_factory=list[UUID], max_length=100)


class PathBody(Model):
    title: Title
    slug: Slug
    summary: Annotated[str, StringConstraints(max_length=2000)] = ""
    items: Annotated[list[PathItemBody], Field(max_length=100)]


class ModuleView(BaseModel):
    module_id: UUID
    title: str
    kind: str
    package_id: UUID | None
    launch_path: str
    quiz_id: UUID | None
    text: str
    mastery_score: float | None
    complete_on_view: bool


class CourseSummary(BaseModel):
    course_id: UUID
    course_version: int
    title: str
    slug: str
    summary: str
    language: str
    duration_minutes: int
    modules_count: int
    certifying: bool
    deprecated: bool


class CourseView(CourseSummary):
    newest_version: int
    published_at: datetime
    modules: list[ModuleView]


class DraftView(BaseModel):
    course_id: UUID
    course_version: int
    deprecated: bool
    draft: dict[str, Any]


class CourseMade(BaseModel):
    course_id: UUID
    slug: str


class CourseVersion(BaseModel):
    course_id: UUID
    course_version: int


class PathItemView(BaseModel):
    course_id: UUID
    prerequisite_course_ids: list[UUID]


class PathView(BaseModel):
    path_id: UUID
    path_version: int
    title: str
    slug: str
    summary: str
    items: list[PathItemView]


class PackageItemView(BaseModel):
    identifier: str
    title: str
    launch_path: str
    sco: bool
    mastery_score: float | None


class PackageView(BaseModel):
    package_id: UUID
    format: str
    title: str
    size_bytes: int
    files: int
    sha256: str
    items: list[PackageItemView]


def routes(ledger: Ledger, importer: Importer, *, max_upload: int) -> APIRouter:
    router = APIRouter()
    _course_routes(router, ledger)
    _path_routes(router, ledger)
    _package_routes(router, ledger, importer, max_upload)
    return router


def _course_routes(router: APIRouter, ledger: Ledger) -> None:
    @router.get("/courses")
    async def list_courses(
        who: Reader,
        paging: Pages,
        search: Annotated[str, Query(max_length=200, description="Words of title or summary")] = "",
    ) -> Page[CourseSummary]:
        after = paging.place(str, UUID)
        async with ledger.read(who.tenant) as conn:
            rows = await store.published_courses(
                conn, who.tenant, search=search, after=after, limit=paging.limit + 1
            )
        shown, following = page(rows, paging, lambda c: (c.published.title, c.published.course_id))
        return Page(items=[CourseSummary(**_summary(row)) for row in shown], next=following)

    @router.get("/courses/{course}")
    async def get_course(
        course: Key,
        who: Reader,
        version: Annotated[int, Query(ge=0, le=2**31 - 1, description="0: the newest")] = 0,
    ) -> CourseView:
        async with ledger.read(who.tenant) as conn:
            found = await store.published_course(conn, who.tenant, course, version)
        if found is None:
            raise NotFound()
        return CourseView(
            **_summary(found),
            newest_version=found.newest,
            published_at=found.published.published_at.ToDatetime(),
            modules=[_module_view(module) for module in found.published.modules],
        )

    @router.get("/courses/{course}/draft")
    async def get_draft(course: Key, who: Author) -> DraftView:
        async with ledger.read(who.tenant) as conn:
            row = await store.course(conn, who.tenant, course)
        if row is None:
            raise NotFound()
        return DraftView(
            course_id=row.course_id,
            course_version=row.version,
            deprecated=row.deprecated,
            draft=dict(row.draft),
        )

    @router.post("/courses", status_code=201)
    async def create_course(body: CourseBody, who: Author, response: Response) -> CourseMade:
        made = await ledger.run(
            who.tenant, handlers.create_course, body.model_dump(mode="json"), actor=who.subject
        )
        response.headers["location"] = f"/api/catalog/courses/{made}"
        return CourseMade(course_id=made, slug=body.slug)

    @router.put("/courses/{course}")
    async def save_draft(course: Key, body: CourseBody, who: Author) -> CourseMade:
        saved = await ledger.run(
            who.tenant, handlers.save_draft, course, body.model_dump(mode="json"), actor=who.subject
        )
        return CourseMade(course_id=saved, slug=body.slug)

    @router.post("/courses/{course}/publish")
    async def publish_course(course: Key, who: Author) -> CourseVersion:
        event = await ledger.run(who.tenant, handlers.publish_course, course, actor=who.subject)
        return CourseVersion(course_id=UUID(event.course_id), course_version=event.course_version)

    @router.post("/courses/{course}/deprecate", status_code=204)
    async def deprecate_course(course: Key, body: DeprecateBody, who: Author) -> None:
        await ledger.run(who.tenant, handlers.deprecate_course, course, body.reason, actor=who.subject)

    _ = list_courses, get_course, get_draft, create_course, save_draft, publish_course, deprecate_course


def _path_routes(router: APIRouter, ledger: Ledger) -> None:
    @router.get("/paths")
    async def list_paths(who: Reader, paging: Pages) -> Page[PathView]:
        after = paging.place(str) or ""
        async with ledger.read(who.tenant) as conn:
            rows = await store.newest_paths(conn, who.tenant, after=after, limit=paging.limit + 1)
        shown, following = page(rows, paging, lambda p: (p.slug,))
        return Page(items=[_path_view(row) for row in shown], next=following)

    @router.get("/paths/{path}")
    async def get_path(
        path: Key,
        who: Reader,
        version: Annotated[int, Query(ge=0, le=2**31 - 1, description="0: the newest")] = 0,
    ) -> PathView:
        async with ledger.read(who.tenant) as conn:
            found = await store.path(conn, who.tenant, path, version)
        if found is None:
            raise NotFound()
        return _path_view(found)

    @router.post("/paths", status_code=201)
    async def create_path(body: PathBody, who: Author, response: Response) -> PathView:
        made = await ledger.run(who.tenant, handlers.create_path, _definition(body), actor=who.subject)
        response.headers["location"] = f"/api/catalog/paths/{made.path_id}"
        return _path_view(made)

    @router.put("/paths/{path_id}")
    async def publish_path(path_id: UUID, body: PathBody, who: Author) -> PathView:
        made = await ledger.run(
            who.tenant, handlers.publish_path, path_id, _definition(body), actor=who.subject
        )
        return _path_view(made)

    _ = list_paths, get_path, create_path, publish_path


def _package_routes(router: APIRouter, ledger: Ledger, importer: Importer, max_upload: int) -> None:
    binary = {"schema": {"type": "string", "format": "binary"}}
    form = {"schema": {"type": "object", "required": ["file"], "properties": {"file": binary["schema"]}}}
    upload = {
        "requestBody": {
            "required": True,
            "content": {"application/zip": binary, "multipart/form-data": form},
        },
        "responses": {"200": {"description": "These bytes were imported before"}},
    }

    @router.post(
        "/packages", status_code=201, dependencies=[body_limit(max_upload + FORM_BYTES)], openapi_extra=upload
    )
    async def import_package(request: Request, who: Author, response: Response) -> PackageView:
        """Send the zip as it is, or as the file of a form. It is kept whole or not at all."""
        if request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            async with request.form(max_files=1, max_fields=4) as fields:
                files = [value for value in fields.values() if isinstance(value, UploadFile)]
                if not files:
                    raise UploadMissing("Send the package as a file, for example in a field called `file`")
                package, new = await importer.run(_chunks(files[0]), tenant=who.tenant, actor=who.subject)
        else:
            package, new = await importer.run(request.stream(), tenant=who.tenant, actor=who.subject)
        response.status_code = 201 if new else 200
        response.headers["location"] = f"/api/catalog/packages/{package.package_id}"
        return _package_view(package)

    @router.get("/packages")
    async def list_packages(who: Author, paging: Pages) -> Page[PackageView]:
        after = paging.place(UUID)
        async with ledger.read(who.tenant) as conn:
            rows = await store.all_packages(conn, who.tenant, after=after, limit=paging.limit + 1)
        shown, following = page(rows, paging, lambda p: (p.package_id,))
        return Page(items=[_package_view(row) for row in shown], next=following)

    @router.get("/packages/{package_id}")
    async def get_package(package_id: UUID, who: Author) -> PackageView:
        async with ledger.read(who.tenant) as conn:
            found = await store.package(conn, who.tenant, package_id)
        if found is None:
            raise NotFound()
        return _package_view(found)

    _ = import_package, list_packages, get_package


async def _chunks(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(256 * 1024):
        yield chunk


def _definition(body: PathBody) -> Any:
    items = [
        PathItem(
            course_id=str(item.course_id),
            prerequisite_course_ids=[str(course_id) for course_id in item.prerequisite_course_ids],
        )
        for item in body.items
    ]
    return handlers.path_definition(body.title, body.slug, body.summary, items)


def _summary(row: store.PublishedCourse) -> dict[str, Any]:
    course = row.published
    return {
        "course_id": UUID(course.course_id), "course_version": course.course_version, "title": course.title,
        "slug": course.slug, "summary": course.summary, "language": course.language,
        "duration_minutes": course.duration_minutes, "modules_count": len(course.modules),
        "certifying": course.certifying, "deprecated": row.deprecated,
    }  # fmt: skip


def _module_view(module: Module) -> ModuleView:
    return ModuleView(
        module_id=UUID(module.module_id),
        title=module.title,
        kind=handlers.KIND_NAMES[module.kind],
        package_id=UUID(module.package_id) if module.package_id else None,
        launch_path=module.launch_path,
        quiz_id=UUID(module.quiz_id) if module.quiz_id else None,
        text=module.text,
        mastery_score=module.mastery_score if module.HasField("mastery_score") else None,
        complete_on_view=module.complete_on_view,
    )


def _path_view(path: PathPublished) -> PathView:
    return PathView(
        path_id=UUID(path.path_id),
        path_version=path.path_version,
        title=path.title,
        slug=path.slug,
        summary=path.summary,
        items=[
            PathItemView(
                course_id=UUID(item.course_id),
                prerequisite_course_ids=[UUID(course_id) for course_id in item.prerequisite_course_ids],
            )
            for item in path.items
        ],
    )


def _package_view(package: PackageImported) -> PackageView:
    return PackageView(
        package_id=UUID(package.package_id),
        format=package.format,
        title=package.title,
        size_bytes=package.size_bytes,
        files=package.files,
        sha256=package.sha256,
        items=[
            PackageItemView(
                identifier=item.identifier,
                title=item.title,
                launch_path=item.launch_path,
                sco=item.sco,
                mastery_score=item.mastery_score if item.HasField("mastery_score") else None,
            )
            for item in package.items
        ],
    )
