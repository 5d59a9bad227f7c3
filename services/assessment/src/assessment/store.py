"""Every SQL statement of assessment. Functions take the transaction's connection and never commit."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, delete, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from assessment.tables import (
    attempts,
    certificate_directory,
    certificates,
    courses,
    departed,
    issuer_keys,
    launches,
    modules,
    person_keys,
    quizzes,
    status_counters,
    tenants,
    waiting_completions,
)

Values = Mapping[str, Any]
Found = Row[Any]


# What other services have told us


async def save_tenant(conn: AsyncConnection, tenant: UUID, name: str) -> None:
    statement = upsert(tenants).values(tenant=tenant, name=name)
    await conn.execute(statement.on_conflict_do_update(index_elements=["tenant"], set_={"name": name}))


async def tenant_name(conn: AsyncConnection, tenant: UUID) -> str:
    name = (await conn.execute(select(tenants.c.name).where(tenants.c.tenant == tenant))).scalar_one_or_none()
    return name or str(tenant)


async def save_course(conn: AsyncConnection, course: Values, its_modules: Sequence[Values]) -> None:
    """A version never changes, so a version that is there is the same one."""
    await conn.execute(upsert(courses).values(**course).on_conflict_do_nothing())
    if its_modules:
        await conn.execute(upsert(modules).values([dict(m) for m in its_modules]).on_conflict_do_nothing())


async def course(conn: AsyncConnection, tenant: UUID, course_id: str, version: int) -> Found | None:
    c = courses.c
    where = and_(c.tenant == tenant, c.course_id == course_id, c.course_version == version)
    return (await conn.execute(select(courses).where(where))).one_or_none()


async def module(
    conn: AsyncConnection, tenant: UUID, course_id: str, version: int, module_id: str
) -> Found | None:
    c = modules.c
    where = and_(
        c.tenant == tenant, c.course_id == course_id, c.course_version == version, c.module_id == module_id
    )
    return (await conn.execute(select(modules).where(where))).one_or_none()


async def save_departure(
    conn: AsyncConnection, tenant: UUID, person_id: str, *, version: int, gone: bool
) -> None:
    # Whatever version was here: a stream's events come in order, and after a restore of identity lower ones are true.
    statement = upsert(departed).values(tenant=tenant, person_id=person_id, version=version, gone=gone)
    await conn.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant", "person_id"], set_={"version": version, "gone": gone}
        )
    )


async def has_left(conn: AsyncConnection, tenant: UUID, person_id: str) -> bool:
    where = and_(departed.c.tenant == tenant, departed.c.person_id == person_id)
    return bool((await conn.execute(select(departed.c.gone).where(where))).scalar_one_or_none())


# Attempts


async def add_attempt(conn: AsyncConnection, row: Values) -> bool:
    """False when that attempt number of the module exists already."""
    added = await conn.execute(upsert(attempts).values(**row).on_conflict_do_nothing())
    return added.rowcount == 1


async def attempt(
    conn: AsyncConnection, tenant: UUID, attempt_id: str, *, lock: bool = False
) -> Found | None:
    query = select(attempts).where(attempts.c.tenant == tenant, attempts.c.attempt_id == attempt_id)
    return (await conn.execute(query.with_for_update() if lock else query)).one_or_none()


async def attempts_at(
    conn: AsyncConnection, tenant: UUID, enrollment_id: str, module_id: str, *, lock: bool = False
) -> Sequence[Found]:
    """In the order they were made."""
    c = attempts.c
    query = (
        select(attempts)
        .where(c.tenant == tenant, c.enrollment_id == enrollment_id, c.module_id == module_id)
        .order_by(c.number)
    )
    return (await conn.execute(query.with_for_update() if lock else query)).all()


async def change_attempt(conn: AsyncConnection, tenant: UUID, attempt_id: str, values: Values) -> None:
    where = and_(attempts.c.tenant == tenant, attempts.c.attempt_id == attempt_id)
    await conn.execute(update(attempts).where(where).values(**values))


async def records(
    conn: AsyncConnection,
    tenant: UUID,
    *,
    person_id: str = "",
    enrollment_id: str = "",
    after: tuple[datetime, str] | None = None,
    limit: int,
) -> Sequence[Found]:
    """Attempts that have begun, oldest first."""
    c = attempts.c
    query = select(attempts).where(c.tenant == tenant, c.version > 0)
    if person_id:
        query = query.where(c.person_id == person_id)
    if enrollment_id:
        query = query.where(c.enrollment_id == enrollment_id)
    if after:
        at, attempt_id = after
        query = query.where(or_(c.started_at > at, and_(c.started_at == at, c.attempt_id > attempt_id)))
    return (await conn.execute(query.order_by(c.started_at, c.attempt_id).limit(limit))).all()


async def completions(conn: AsyncConnection, tenant: UUID, enrollment_id: str) -> Sequence[Found]:
    """What was completed or passed for an enrolment, with scores."""
    c = attempts.c
    where = and_(c.tenant == tenant, c.enrollment_id == enrollment_id, c.completed_at.is_not(None))
    return (await conn.execute(select(attempts).where(where))).all()


async def forget_what_was_written(conn: AsyncConnection, tenant: UUID, person_id: str) -> Sequence[str]:
    """Empty what packages and certificates kept of a person's own; the ids of attempts that are not over."""
    a, c = attempts.c, certificates.c
    where = and_(a.tenant == tenant, a.person_id == person_id)
    await conn.execute(update(attempts).where(where).values(cmi_encrypted=None))
    await conn.execute(delete(launches).where(launches.c.tenant == tenant, launches.c.person_id == person_id))
    blank = {"recipient_name": "", "credential_jwt": "", "revocation_reason": ""}
    await conn.execute(
        update(certificates).where(c.tenant == tenant, c.person_id == person_id).values(**blank)
    )
    running = select(a.attempt_id).where(where, a.state == "started")
    return (await conn.execute(running)).scalars().all()


# Launches


async def add_launch(conn: AsyncConnection, row: Values, *, now: datetime) -> None:
    await conn.execute(insert(launches).values(**row))
    await conn.execute(delete(launches).where(launches.c.expires_at < now))


async def launch(conn: AsyncConnection, token_sha256: bytes) -> Found | None:
    return (await conn.execute(select(launches).where(launches.c.token_sha256 == token_sha256))).one_or_none()


# Quizzes


async def add_quiz(conn: AsyncConnection, row: Values) -> None:
    await conn.execute(insert(quizzes).values(**row))


async def quiz(conn: AsyncConnection, tenant: UUID, quiz_id: str, version: int = 0) -> Found | None:
    """That version, or the newest."""
    query = select(quizzes).where(quizzes.c.tenant == tenant, quizzes.c.quiz_id == quiz_id)
    if version:
        query = query.where(quizzes.c.version == version)
    return (await conn.execute(query.order_by(quizzes.c.version.desc()).limit(1))).one_or_none()


async def newest_quizzes(
    conn: AsyncConnection, tenant: UUID, *, after: str = "", limit: int
) -> Sequence[Found]:
    c = quizzes.c
    query = select(quizzes).where(c.tenant == tenant, c.quiz_id > after).ext(distinct_on(c.quiz_id))
    return (await conn.execute(query.order_by(c.quiz_id, c.version.desc()).limit(limit))).all()


# Keys


async def lock_person(conn: AsyncConnection, tenant: UUID, person_id: str) -> None:
    """Taken by whoever writes down a person's name, and by the erasure: else one could miss the other."""
    place = func.hashtextextended(f"{tenant}/{person_id}", 0)
    await conn.execute(select(func.pg_advisory_xact_lock(place)))


async def person_key(conn: AsyncConnection, tenant: UUID, person_id: str) -> bytes | None:
    where = and_(person_keys.c.tenant == tenant, person_keys.c.person_id == person_id)
    return (await conn.execute(select(person_keys.c.sealed_key).where(where))).scalar_one_or_none()


async def add_person_key(conn: AsyncConnection, tenant: UUID, person_id: str, sealed_key: bytes) -> None:
    """Keeps the one that is there: two first answers may arrive at once."""
    row = {"tenant": tenant, "person_id": person_id, "sealed_key": sealed_key}
    await conn.execute(upsert(person_keys).values(**row).on_conflict_do_nothing())


async def destroy_person_key(conn: AsyncConnection, tenant: UUID, person_id: str) -> None:
    """For good: the empty row keeps another from being made."""
    statement = upsert(person_keys).values(tenant=tenant, person_id=person_id, sealed_key=None)
    await conn.execute(
        statement.on_conflict_do_update(index_elements=["tenant", "person_id"], set_={"sealed_key": None})
    )


async def issuer_key(conn: AsyncConnection, tenant: UUID, key_id: str = "") -> Found | None:
    """That key, or the newest."""
    query = select(issuer_keys).where(issuer_keys.c.tenant == tenant)
    if key_id:
        query = query.where(issuer_keys.c.key_id == key_id)
    newest = query.order_by(issuer_keys.c.created_at.desc(), issuer_keys.c.key_id).limit(1)
    return (await conn.execute(newest)).one_or_none()


async def public_keys(conn: AsyncConnection, tenant: UUID) -> Sequence[dict[str, Any]]:
    query = select(issuer_keys.c.public_jwk).where(issuer_keys.c.tenant == tenant)
    return (await conn.execute(query.order_by(issuer_keys.c.created_at.desc()))).scalars().all()


async def add_issuer_key(conn: AsyncConnection, row: Values) -> None:
    await conn.execute(insert(issuer_keys).values(**row))


# Certificates


async def add_waiting(conn: AsyncConnection, row: Values) -> None:
    await conn.execute(upsert(waiting_completions).values(**row).on_conflict_do_nothing())


async def take_waiting(conn: AsyncConnection, tenant: UUID, course_id: str, version: int) -> Sequence[bytes]:
    c = waiting_completions.c
    where = and_(c.tenant == tenant, c.course_id == course_id, c.course_version == version)
    return (await conn.execute(delete(waiting_completions).where(where).returning(c.event))).scalars().all()


async def next_status_index(conn: AsyncConnection, tenant: UUID) -> int:
    statement = upsert(status_counters).values(tenant=tenant, next_index=1)
    statement = statement.on_conflict_do_update(
        index_elements=["tenant"], set_={"next_index": status_counters.c.next_index + 1}
    )
    return (await conn.execute(statement.returning(status_counters.c.next_index))).scalar_one() - 1


async def add_certificate(conn: AsyncConnection, row: Values) -> None:
    await conn.execute(insert(certificates).values(**row))
    entry = {"certificate_id": row["certificate_id"], "tenant": row["tenant"]}
    await conn.execute(insert(certificate_directory).values(**entry))


async def revoke_certificate(
    conn: AsyncConnection, tenant: UUID, certificate_id: str, *, reason: str, now: datetime
) -> None:
    where = and_(certificates.c.tenant == tenant, certificates.c.certificate_id == certificate_id)
    await conn.execute(update(certificates).where(where).values(revoked_at=now, revocation_reason=reason))


async def certificate_tenant(conn: AsyncConnection, certificate_id: str) -> UUID | None:
    c = certificate_directory.c
    return (
        await conn.execute(select(c.tenant).where(c.certificate_id == certificate_id))
    ).scalar_one_or_none()


async def certificate(conn: AsyncConnection, tenant: UUID, certificate_id: str) -> Found | None:
    where = and_(certificates.c.tenant == tenant, certificates.c.certificate_id == certificate_id)
    return (await conn.execute(select(certificates).where(where))).one_or_none()


async def certificate_of(conn: AsyncConnection, tenant: UUID, enrollment_id: str) -> Found | None:
    where = and_(certificates.c.tenant == tenant, certificates.c.enrollment_id == enrollment_id)
    return (await conn.execute(select(certificates).where(where))).one_or_none()


async def list_certificates(
    conn: AsyncConnection,
    tenant: UUID,
    *,
    person_id: str = "",
    course_id: str = "",
    after: str = "",
    limit: int,
) -> Sequence[Found]:
    c = certificates.c
    query = select(certificates).where(c.tenant == tenant, c.certificate_id > after)
    if person_id:
        query = query.where(c.person_id == person_id)
    if course_id:
        query = query.where(c.course_id == course_id)
    return (await conn.execute(query.order_by(c.certificate_id).limit(limit))).all()


async def revoked_indexes(conn: AsyncConnection, tenant: UUID, first: int, size: int) -> Sequence[int]:
    c = certificates.c
    where = and_(
        c.tenant == tenant, c.revoked_at.is_not(None), c.status_index >= first, c.status_index < first + size
    )
    return (await conn.execute(select(c.status_index).where(where))).scalars().all()


async def issued_count(conn: AsyncConnection, tenant: UUID) -> int:
    where = certificates.c.tenant == tenant
    return (await conn.execute(select(func.count()).select_from(certificates).where(where))).scalar_one()
