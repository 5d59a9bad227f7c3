"""Every SQL statement of catalog."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import and_, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from catalog.tables import course_versions, courses, packages, path_versions, paths
from lyceum.catalog.v1.events_pb2 import CoursePublished, PackageImported, PathPublished


@dataclass(frozen=True)
class CourseRow:
    course_id: UUID
    slug: str
    title: str
    version: int
    deprecated: bool
    draft: Mapping[str, Any]


@dataclass(frozen=True)
class PublishedCourse:
    """A version, and whether the course as a whole is deprecated; `newest` is the newest version's number."""

    published: CoursePublished
    deprecated: bool
    newest: int


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


# ---- courses


async def course(conn: AsyncConnection, tenant: UUID, id_or_slug: str) -> CourseRow | None:
    """A course with its draft, published or not."""
    found = _as_uuid(id_or_slug)
    named = courses.c.course_id == found if found else courses.c.slug == id_or_slug
    columns = (
        courses.c.course_id,
        courses.c.slug,
        courses.c.title,
        courses.c.version,
        courses.c.deprecated,
        courses.c.draft,
    )
    row = (await conn.execute(select(*columns).where(courses.c.tenant == tenant, named))).first()
    return None if row is None else CourseRow(*row)


async def slug_owner(conn: AsyncConnection, tenant: UUID, slug: str) -> UUID | None:
    return await conn.scalar(
        select(courses.c.course_id).where(courses.c.tenant == tenant, courses.c.slug == slug)
    )


async def save_draft(conn: AsyncConnection, tenant: UUID, course_id: UUID, draft: Mapping[str, Any]) -> None:
    """Create the course's row, or replace its draft. What lists show changes when it is published."""
    row = {
        "tenant": tenant, "course_id": course_id, "slug": draft["slug"], "title": draft["title"],
        "summary": draft["summary"], "version": 0, "deprecated": False, "draft": draft,
    }  # fmt: skip
    statement = insert(courses).values(row)
    await conn.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant", "course_id"], set_={"draft": statement.excluded.draft}
        )
    )


async def save_published(conn: AsyncConnection, tenant: UUID, event: CoursePublished) -> None:
    course_id = UUID(event.course_id)
    await conn.execute(
        insert(course_versions).values(
            tenant=tenant,
            course_id=course_id,
            version=event.course_version,
            published=event.SerializeToString(),
        )
    )
    await conn.execute(
        update(courses)
        .where(courses.c.tenant == tenant, courses.c.course_id == course_id)
        .values(slug=event.slug, title=event.title, summary=event.summary, version=event.course_version)
    )


async def save_deprecated(conn: AsyncConnection, tenant: UUID, course_id: UUID) -> None:
    await conn.execute(
        update(courses)
        .where(courses.c.tenant == tenant, courses.c.course_id == course_id)
        .values(deprecated=True)
    )


async def published_course(
    conn: AsyncConnection, tenant: UUID, id_or_slug: str, version: int = 0
) -> PublishedCourse | None:
    """A version; 0 is the newest."""
    found = _as_uuid(id_or_slug)
    wanted = courses.c.version if version == 0 else version
    row = (
        await conn.execute(
            select(course_versions.c.published, courses.c.deprecated, courses.c.version)
            .join(
                course_versions,
                and_(
                    course_versions.c.tenant == courses.c.tenant,
                    course_versions.c.course_id == courses.c.course_id,
                    course_versions.c.version == wanted,
                ),
            )
            .where(
                courses.c.tenant == tenant,
                courses.c.course_id == found if found else courses.c.slug == id_or_slug,
            )
        )
    ).first()
    return None if row is None else PublishedCourse(CoursePublished.FromString(row[0]), row[1], row[2])


async def published_courses(
    conn: AsyncConnection,
    tenant: UUID,
    *,
    search: str = "",
    after: tuple[str, UUID] | None = None,
    limit: int = 200,
) -> list[PublishedCourse]:
    """The newest versions by title. `after` is (title, course id) of the last one seen."""
    key = (courses.c.title, courses.c.course_id)
    query = (
        select(course_versions.c.published, courses.c.deprecated, courses.c.version)
        .join(
            course_versions,
            and_(
                course_versions.c.tenant == courses.c.tenant,
                course_versions.c.course_id == courses.c.course_id,
                course_versions.c.version == courses.c.version,
            ),
        )
        .where(courses.c.tenant == tenant)
        .order_by(*key)
        .limit(limit)
    )
    for word in search.split():
        pattern = "%" + word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        query = query.where(or_(courses.c.title.ilike(pattern), courses.c.summary.ilike(pattern)))
    if after:
        query = query.where(tuple_(*key) > tuple_(*after))
    rows = (await conn.execute(query)).all()
    return [PublishedCourse(CoursePublished.FromString(row[0]), row[1], row[2]) for row in rows]


async def takeable(conn: AsyncConnection, tenant: UUID, course_ids: Sequence[UUID]) -> set[str]:
    rows = await conn.scalars(
        select(courses.c.course_id).where(
            courses.c.tenant == tenant,
            courses.c.course_id.in_(course_ids),
            courses.c.version > 0,
            courses.c.deprecated.is_(False),
        )
    )
    return {str(course_id) for course_id in rows}


# ---- paths


async def path_slug_owner(conn: AsyncConnection, tenant: UUID, slug: str) -> UUID | None:
    return await conn.scalar(select(paths.c.path_id).where(paths.c.tenant == tenant, paths.c.slug == slug))


async def save_path(conn: AsyncConnection, tenant: UUID, event: PathPublished) -> None:
    path_id = UUID(event.path_id)
    statement = insert(paths).values(
        tenant=tenant, path_id=path_id, slug=event.slug, version=event.path_version
    )
    await conn.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant", "path_id"],
            set_={"slug": statement.excluded.slug, "version": statement.excluded.version},
        )
    )
    await conn.execute(
        insert(path_versions).values(
            tenant=tenant, path_id=path_id, version=event.path_version, published=event.SerializeToString()
        )
    )


async def path(
    conn: AsyncConnection, tenant: UUID, id_or_slug: str, version: int = 0
) -> PathPublished | None:
    found = _as_uuid(id_or_slug)
    row = await conn.scalar(
        select(path_versions.c.published)
        .join(
            paths, and_(paths.c.tenant == path_versions.c.tenant, paths.c.path_id == path_versions.c.path_id)
        )
        .where(
            paths.c.tenant == tenant,
            paths.c.path_id == found if found else paths.c.slug == id_or_slug,
            path_versions.c.version == (paths.c.version if version == 0 else version),
        )
    )
    return None if row is None else PathPublished.FromString(row)


async def newest_paths(
    conn: AsyncConnection, tenant: UUID, *, after: str = "", limit: int = 200
) -> list[PathPublished]:
    """The newest versions by slug."""
    query = (
        select(path_versions.c.published)
        .join(
            paths,
            and_(
                paths.c.tenant == path_versions.c.tenant,
                paths.c.path_id == path_versions.c.path_id,
                paths.c.version == path_versions.c.version,
            ),
        )
        .where(paths.c.tenant == tenant)
        .order_by(paths.c.slug)
        .limit(limit)
    )
    if after:
        query = query.where(paths.c.slug > after)
    return [PathPublished.FromString(row) for row in await conn.scalars(query)]


# ---- packages


async def save_package(conn: AsyncConnection, tenant: UUID, event: PackageImported, at: datetime) -> None:
    await conn.execute(
        insert(packages).values(
            tenant=tenant, package_id=UUID(event.package_id), sha256=event.sha256, size_bytes=event.size_bytes,
            imported_at=at, imported=event.SerializeToString(),
        )
    )  # fmt: skip


async def package(conn: AsyncConnection, tenant: UUID, package_id: UUID) -> PackageImported | None:
    row = await conn.scalar(
        select(packages.c.imported).where(packages.c.tenant == tenant, packages.c.package_id == package_id)
    )
    return None if row is None else PackageImported.FromString(row)


async def packages_of(
    conn: AsyncConnection, tenant: UUID, package_ids: Sequence[UUID]
) -> list[PackageImported]:
    rows = await conn.scalars(
        select(packages.c.imported).where(packages.c.tenant == tenant, packages.c.package_id.in_(package_ids))
    )
    return [PackageImported.FromString(row) for row in rows]


async def package_by_content(conn: AsyncConnection, tenant: UUID, sha256: str) -> PackageImported | None:
    row = await conn.scalar(
        select(packages.c.imported)
        .where(packages.c.tenant == tenant, packages.c.sha256 == sha256)
        .order_by(packages.c.imported_at)
        .limit(1)
    )
    return None if row is None else PackageImported.FromString(row)


async def all_packages(
    conn: AsyncConnection, tenant: UUID, *, after: UUID | None = None, limit: int = 200
) -> list[PackageImported]:
    query = (
        select(packages.c.imported)
        .where(packages.c.tenant == tenant)
        .order_by(packages.c.package_id)
        .limit(limit)
    )
    if after:
        query = query.where(packages.c.package_id > after)
    return [PackageImported.FromString(row) for row in await conn.scalars(query)]
