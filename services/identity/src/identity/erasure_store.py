"""Every SQL statement of erasure: what identity knows of somebody, wherever it stands."""

from collections.abc import Collection
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from identity.tables import people, sessions, sign_in_links
from identity.vault import Vault

# What stands in place of everything personal. The row stays: its id is in events, and HR may go on speaking.
BLANK: dict[str, Any] = {
    **dict.fromkeys(("display_name", "email", "locale", "department", "org_unit_id", "location"), ""),
    **dict.fromkeys(("job_title", "manager_id", "manager_external_id", "hire_date", "employment_type"), ""),
    "time_zone": "UTC",
    "roles": [],
    "granted": [],
    "record": {},
    "wakes_at": None,
    "status": "erased",
}


def tombstone(vault: Vault, tenant: UUID, source: str, external_id: str) -> str:
    """What an erased person's row has for an external id: enough to know the id again when HR names it."""
    return f"erased:{vault.pseudonym(f'{tenant}/{source}/{external_id}')}"


async def blank_person(
    conn: AsyncConnection, tenant: UUID, person_id: UUID, *, tomb: str, now: datetime
) -> None:
    where = (people.c.tenant == tenant, people.c.person_id == person_id)
    await conn.execute(update(people).where(*where).values(**BLANK, external_id=tomb, erased_at=now))
    for table in (sessions, sign_in_links):
        await conn.execute(delete(table).where(table.c.tenant == tenant, table.c.person_id == person_id))


async def forget_tombstone(conn: AsyncConnection, tenant: UUID, person_id: UUID) -> None:
    """HR hired somebody of that external id anew: the erased row no longer answers to it."""
    where = (people.c.tenant == tenant, people.c.person_id == person_id)
    await conn.execute(update(people).where(*where).values(external_id=f"erased:{person_id}"))


# A held listing was only kept to decide on: it goes without the person.
_STRIKE = text("""
    UPDATE snapshots SET people = (
      SELECT coalesce(jsonb_agg(
        CASE WHEN p->>'manager_external_id' = :external_id THEN p || '{"manager_external_id": null}' ELSE p END), '[]')
      FROM jsonb_array_elements(people) AS p WHERE p->>'external_id' <> :external_id)
    WHERE tenant = :tenant AND source = :source AND people <> '[]'""")


async def strike_from_snapshots(conn: AsyncConnection, tenant: UUID, source: str, external_id: str) -> None:
    await conn.execute(_STRIKE, {"tenant": tenant, "source": source, "external_id": external_id})


_NOT_READ_AGAIN = text("""
    DELETE FROM timers WHERE tenant = :tenant AND kind = :kind AND payload->>'external_id' = :external_id
    AND payload->>'endpoint_id' IN (
      SELECT endpoint_id::text FROM webhook_endpoints WHERE tenant = :tenant AND source = :source)""")


async def cancel_reading(
    conn: AsyncConnection, tenant: UUID, source: str, external_id: str, *, kind: str
) -> None:
    """A vendor's notice about the person that still waits to be followed up."""
    values = {"tenant": tenant, "source": source, "external_id": external_id, "kind": kind}
    await conn.execute(_NOT_READ_AGAIN, values)


_MANAGERS = text("""
    SELECT DISTINCT m #>> '{}' FROM people, jsonb_path_query(record, '$.**.manager_external_id ? (@ <> "")') AS m
    WHERE tenant = :tenant AND source = :source""")


async def named_managers(conn: AsyncConnection, tenant: UUID, source: str) -> set[str]:
    """The external ids that records of others name as a manager."""
    return set((await conn.execute(_MANAGERS, {"tenant": tenant, "source": source})).scalars())


async def known_tombstones(
    conn: AsyncConnection, tenant: UUID, source: str, tombs: Collection[str]
) -> set[str]:
    query = select(people.c.external_id).where(
        people.c.tenant == tenant,
        people.c.source == source,
        people.c.external_id.in_(list(tombs)),
        people.c.status == "erased",
    )
    return set((await conn.execute(query)).scalars())


_REPORTS = text("""
    SELECT person_id FROM people WHERE tenant = :tenant AND source = :source AND EXISTS (
      SELECT FROM jsonb_path_query(record, '$.**.manager_external_id') AS m WHERE m #>> '{}' = ANY(:managers))""")


async def who_names(
    conn: AsyncConnection, tenant: UUID, source: str, managers: Collection[str]
) -> list[UUID]:
    """Whose record names one of them as the manager."""
    values = {"tenant": tenant, "source": source, "managers": list(managers)}
    return list((await conn.execute(_REPORTS, values)).scalars())
