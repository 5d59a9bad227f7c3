"""Every SQL statement about people. Others have their own `…_store`."""

import zlib
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import (
    ColumnElement,
    Row,
    Text,
    Uuid,
    any_,
    bindparam,
    func,
    or_,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from identity.person import Profile, Record
from identity.record_json import record_from_json, record_to_json
from identity.tables import people
from lyceum_kit.errors import Conflict


class PersonRow(NamedTuple):
    """A person as the tables have one: the published job, the private profile, and HR's record. What it has by itself is
    of somebody of whom nothing is heard yet."""

    person_id: UUID
    source: str
    external_id: str
    received_at: datetime
    status: str = "held"
    display_name: str = ""
    email: str = ""
    locale: str = "en"
    department: str = ""
    org_unit_id: str = ""
    location: str = ""
    job_title: str = ""
    manager_id: str = ""
    manager_external_id: str = ""
    hire_date: str = ""
    time_zone: str = "UTC"
    employment_type: str = ""
    roles: Sequence[str] = ("learner",)
    granted: Sequence[str] = ()
    record: Record = Record()
    wakes_at: datetime | None = None
    erased_at: datetime | None = None

    @property
    def profile(self) -> Profile:
        return Profile(self.display_name, self.email, self.locale)

    @property
    def active(self) -> bool:
        return self.status in ("active", "on_leave")


_NAMES = PersonRow._fields
_COLUMNS = [people.c[name] for name in _NAMES]


def row_dict(row: Row[*tuple[Any, ...]]) -> dict[str, Any]:
    # Public by its documentation; the underscore keeps it apart from column names.
    return dict(row._mapping)  # pyright: ignore[reportPrivateUsage]


def _person(row: Row[*tuple[Any, ...]]) -> PersonRow:
    found = PersonRow(*row)
    return found._replace(record=record_from_json(row.record))


# ---- people, for writing


# Many rows in one statement: their values come as JSON, which has room for the arrays among them and which PostgreSQL
# reads by the table's own column types. One statement for each row took as long as everything else in a listing.
_ADDED = ", ".join(_NAMES)
_ADD = text(  # made of our own names
    f"INSERT INTO people (tenant, {_ADDED}) SELECT :tenant, {_ADDED}"  # noqa: S608
    " FROM jsonb_populate_recordset(NULL::people, CAST(:rows AS jsonb)) ON CONFLICT DO NOTHING"
)


async def add_people(conn: AsyncConnection, tenant: UUID, rows: Iterable[PersonRow]) -> None:
    """Raises Conflict when somebody else was faster to hear of one of them."""
    # In order: two who add the same people wait for each other and do not deadlock.
    if added := sorted(rows, key=lambda row: row.external_id):
        result = await conn.execute(_ADD, {"tenant": tenant, "rows": _json(added)})
        if result.rowcount < len(added):
            raise Conflict


def is_any(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Whether it is one of the values of a parameter. IN (…) would be another statement for each number of them."""
    return column == any_(bindparam(name, type_=ARRAY(column.type)))


# Made once: to put a statement together takes as long as to run it, and these are what every message of HR needs.
_TENANT = people.c.tenant == bindparam("tenant", type_=Uuid)
_SOURCE = people.c.source == bindparam("source", type_=Text)
_BY_ID = select(*_COLUMNS).where(_TENANT, is_any(people.c.person_id, "person_ids"))
_BY_EXTERNAL_ID = select(*_COLUMNS).where(_TENANT, _SOURCE, is_any(people.c.external_id, "external_ids"))
_WAITING = select(*_COLUMNS).where(
    _TENANT,
    _SOURCE,
    people.c.manager_id == "",
    is_any(people.c.manager_external_id, "managers"),
    people.c.manager_external_id != "",  # said for the index, which has nobody else
)
# In one order: two who lock the same people wait for each other instead of deadlocking.
_LOCK_BY_ID, _LOCK_BY_EXTERNAL_ID, _LOCK_WAITING = (
    query.order_by(people.c.person_id).with_for_update() for query in (_BY_ID, _BY_EXTERNAL_ID, _WAITING)
)
_PUBLISHED = select(people.c.external_id, people.c.person_id).where(
    _TENANT,
    _SOURCE,
    people.c.status.in_(("active", "on_leave", "terminated")),
    is_any(people.c.external_id, "external_ids"),
)


async def lock_by_external_id(
    conn: AsyncConnection, tenant: UUID, source: str, external_ids: Collection[str]
) -> list[PersonRow]:
    values = {"tenant": tenant, "source": source, "external_ids": list(external_ids)}
    return [_person(row) for row in await conn.execute(_LOCK_BY_EXTERNAL_ID, values)]


async def lock_people(conn: AsyncConnection, tenant: UUID, person_ids: Iterable[UUID]) -> list[PersonRow]:
    values = {"tenant": tenant, "person_ids": list(person_ids)}
    return [_person(row) for row in await conn.execute(_LOCK_BY_ID, values)]


async def lock_reports_waiting_for(
    conn: AsyncConnection, tenant: UUID, source: str, managers: Collection[str]
) -> list[PersonRow]:
    """Published people whose manager HR named before it told of the manager."""
    if not managers:
        return []
    values = {"tenant": tenant, "source": source, "managers": list(managers)}
    return [_person(row) for row in await conn.execute(_LOCK_WAITING, values)]


_MEETINGS = 64
_MEET = text(
    "SELECT CASE WHEN exclusive THEN pg_advisory_xact_lock(:place, n) ELSE pg_advisory_xact_lock_shared(:place, n) END"
    " FROM unnest(CAST(:numbers AS int[]), CAST(:exclusives AS bool[])) AS m(n, exclusive)"
)


async def meet(
    conn: AsyncConnection, tenant: UUID, source: str, *, arriving: Collection[str], awaited: Collection[str]
) -> None:
    """Make a manager and a report who arrive at the same time wait for each other.

    Else neither would see the other: both are not committed yet. Locks are by a hash of the manager's external id,
    and taken in order.
    """

    def numbers(external_ids: Collection[str]) -> set[int]:
        return {zlib.crc32(external_id.encode()) % _MEETINGS for external_id in external_ids}

    exclusive, shared = numbers(arriving), numbers(awaited)
    if exclusive | shared:
        ordered = sorted(exclusive | shared)
        place = zlib.crc32(f"{tenant}/{source}".encode()) - 2**31
        flags = [n in exclusive for n in ordered]
        await conn.execute(_MEET, {"place": place, "numbers": ordered, "exclusives": flags})


async def published_ids(
    conn: AsyncConnection, tenant: UUID, source: str, external_ids: Collection[str]
) -> dict[str, UUID]:
    """The person ids of those who were provisioned."""
    if not external_ids:
        return {}
    values = {"tenant": tenant, "source": source, "external_ids": list(external_ids)}
    return {row.external_id: row.person_id for row in await conn.execute(_PUBLISHED, values)}


_KEPT = ("person_id", "source", "external_id", "received_at", "erased_at")
_SAVED = [name for name in _NAMES if name not in _KEPT]
_SAVE = text(
    f"UPDATE people p SET {', '.join(f'{name} = saved.{name}' for name in _SAVED)}"  # noqa: S608
    # The limit tells the planner how many there are: of a hundred, its guess, it would look for by reading all people.
    " FROM (SELECT * FROM jsonb_populate_recordset(NULL::people, CAST(:rows AS jsonb)) LIMIT :many) AS saved"
    " WHERE p.tenant = :tenant AND p.person_id = saved.person_id"
)


async def save_people(conn: AsyncConnection, tenant: UUID, rows: Sequence[PersonRow]) -> None:
    if rows:
        await conn.execute(_SAVE, {"tenant": tenant, "many": len(rows), "rows": _json(rows)})


_REPORTS = (
    select(people.c.manager_id, func.count().label("reports"))
    .where(_TENANT, is_any(people.c.manager_id, "managers"), people.c.status.in_(("active", "on_leave")))
    .group_by(people.c.manager_id)
)


async def count_reports(conn: AsyncConnection, tenant: UUID, person_ids: Sequence[UUID]) -> dict[UUID, int]:
    values = {"tenant": tenant, "managers": [str(i) for i in person_ids]}
    return {UUID(row.manager_id): row.reports for row in await conn.execute(_REPORTS, values)}


# ---- people, for reading


async def person(conn: AsyncConnection, tenant: UUID, person_id: UUID) -> PersonRow | None:
    query = select(*_COLUMNS).where(people.c.tenant == tenant, people.c.person_id == person_id)
    row = (await conn.execute(query)).one_or_none()
    return _person(row) if row else None


async def people_by_id(conn: AsyncConnection, tenant: UUID, person_ids: Iterable[UUID]) -> list[PersonRow]:
    values = {"tenant": tenant, "person_ids": list(person_ids)}
    return [_person(row) for row in await conn.execute(_BY_ID, values)]


async def people_by_external_id(
    conn: AsyncConnection, tenant: UUID, source: str, external_ids: Collection[str]
) -> list[PersonRow]:
    values = {"tenant": tenant, "source": source, "external_ids": list(external_ids)}
    return [_person(row) for row in await conn.execute(_BY_EXTERNAL_ID, values)]


async def active_external_ids(conn: AsyncConnection, tenant: UUID, source: str) -> list[str]:
    """Those who work here or are about to, by one source."""
    query = (
        select(people.c.external_id)
        .where(people.c.tenant == tenant, people.c.source == source)
        .where(people.c.status.in_(("active", "on_leave", "prehire")))
        .order_by(people.c.external_id)
    )
    return list((await conn.execute(query)).scalars())


async def list_people(
    conn: AsyncConnection,
    tenant: UUID,
    *,
    search: str = "",
    department: str = "",
    manager_id: str = "",
    include_terminated: bool = False,
    visible_to: str = "",
    after: UUID | None = None,
    limit: int = 200,
) -> list[PersonRow]:
    """By person id. `visible_to` somebody: themselves and their direct reports."""
    shown = ["active", "on_leave", "prehire", *(["terminated"] if include_terminated else [])]
    query = select(*_COLUMNS).where(people.c.tenant == tenant, people.c.status.in_(shown))
    if search:
        like = f"%{_escaped(search)}%"
        query = query.where(or_(people.c.display_name.ilike(like), people.c.email.ilike(like)))
    if department:
        query = query.where(people.c.department == department)
    if manager_id:
        query = query.where(people.c.manager_id == manager_id)
    if visible_to:
        query = query.where(or_(people.c.manager_id == visible_to, people.c.person_id == UUID(visible_to)))
    if after:
        query = query.where(people.c.person_id > after)
    return [_person(row) for row in await conn.execute(query.order_by(people.c.person_id).limit(limit))]


async def stream_people(
    conn: AsyncConnection,
    tenant: UUID,
    *,
    department: str,
    manager_id: str,
    include_terminated: bool,
    visible_to: str = "",
) -> AsyncIterator[list[PersonRow]]:
    after: UUID | None = None
    while page := await list_people(
        conn,
        tenant,
        department=department,
        manager_id=manager_id,
        include_terminated=include_terminated,
        visible_to=visible_to,
        after=after,
    ):
        yield page
        after = page[-1].person_id


async def held(conn: AsyncConnection, tenant: UUID) -> list[PersonRow]:
    query = (
        select(*_COLUMNS)
        .where(people.c.tenant == tenant, people.c.status == "held")
        .order_by(people.c.received_at, people.c.person_id)
        .limit(1000)
    )
    return [_person(row) for row in await conn.execute(query)]


async def personas(conn: AsyncConnection, tenant: UUID, *, search: str, limit: int) -> list[PersonRow]:
    """Those worth trying a tenant as: who administers, authors or leads, then the newest."""
    query = select(*_COLUMNS).where(people.c.tenant == tenant, people.c.status.in_(("active", "on_leave")))
    if search:
        query = query.where(people.c.display_name.ilike(f"%{_escaped(search)}%"))
    order = (
        func.cardinality(people.c.granted).desc(),
        func.cardinality(people.c.roles).desc(),
        people.c.hire_date.desc(),
        people.c.person_id,
    )
    return [_person(row) for row in await conn.execute(query.order_by(*order).limit(limit))]


# ---- parts of queries


def _json(rows: Iterable[PersonRow]) -> str:
    return to_json([{**row._asdict(), "record": record_to_json(row.record)} for row in rows]).decode()


def _escaped(search: str) -> str:
    return search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
