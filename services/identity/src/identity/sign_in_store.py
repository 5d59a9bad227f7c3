"""Every SQL statement about sessions, one-time links, API clients and signing keys."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from identity.tables import api_clients, sessions, sign_in_links, signing_keys


async def add_session(
    conn: AsyncConnection, tenant: UUID, hash: bytes, person_id: UUID, *, now: datetime, expires_at: datetime
) -> None:
    await conn.execute(
        delete(sessions).where(
            sessions.c.tenant == tenant, sessions.c.person_id == person_id, sessions.c.expires_at < now
        )
    )
    await conn.execute(
        insert(sessions).values(
            tenant=tenant, hash=hash, person_id=person_id, created_at=now, expires_at=expires_at
        )
    )


async def session_person(conn: AsyncConnection, tenant: UUID, hash: bytes, now: datetime) -> UUID | None:
    s = sessions.c
    query = select(s.person_id).where(s.tenant == tenant, s.hash == hash, s.expires_at > now)
    return (await conn.execute(query)).scalar_one_or_none()


async def end_session(conn: AsyncConnection, tenant: UUID, hash: bytes) -> None:
    await conn.execute(delete(sessions).where(sessions.c.tenant == tenant, sessions.c.hash == hash))


async def add_link(
    conn: AsyncConnection, tenant: UUID, hash: bytes, person_id: UUID, expires_at: datetime
) -> None:
    await conn.execute(
        insert(sign_in_links).values(
            tenant=tenant, hash=hash, person_id=person_id, expires_at=expires_at, used_at=None
        )
    )


async def use_link(conn: AsyncConnection, tenant: UUID, hash: bytes, now: datetime) -> UUID | None:
    """Whose link it was; None when it was used, is too old, or never was."""
    k = sign_in_links.c
    statement = (
        update(sign_in_links)
        .where(k.tenant == tenant, k.hash == hash, k.used_at.is_(None), k.expires_at > now)
        .values(used_at=now)
        .returning(k.person_id)
    )
    return (await conn.execute(statement)).scalar_one_or_none()


async def add_client(
    conn: AsyncConnection,
    tenant: UUID,
    *,
    client_id: str,
    name: str,
    roles: Sequence[str],
    hash: bytes,
    now: datetime,
) -> None:
    await conn.execute(
        insert(api_clients).values(
            tenant=tenant,
            client_id=client_id,
            name=name,
            roles=list(roles),
            hash=hash,
            created_at=now,
            revoked_at=None,
        )
    )


async def client(conn: AsyncConnection, tenant: UUID, client_id: str) -> Any | None:
    """A client that was not revoked."""
    c = api_clients.c
    query = select(api_clients).where(c.tenant == tenant, c.client_id == client_id, c.revoked_at.is_(None))
    return (await conn.execute(query)).one_or_none()


async def clients(conn: AsyncConnection, tenant: UUID) -> list[Any]:
    c = api_clients.c
    query = select(c.client_id, c.name, c.roles, c.created_at, c.revoked_at).where(c.tenant == tenant)
    return list(await conn.execute(query.order_by(c.created_at, c.client_id)))


async def revoke_client(conn: AsyncConnection, tenant: UUID, client_id: str, now: datetime) -> bool:
    c = api_clients.c
    statement = (
        update(api_clients)
        .where(c.tenant == tenant, c.client_id == client_id, c.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(c.client_id)
    )
    return (await conn.execute(statement)).one_or_none() is not None


# ---- signing keys: the platform's, not a tenant's


async def keys(conn: AsyncConnection, retired_after: datetime) -> list[Any]:
    """Keys that sign or still verify, the oldest first."""
    k = signing_keys.c
    query = select(signing_keys).where(or_(k.retired_at.is_(None), k.retired_at > retired_after))
    return list(await conn.execute(query.order_by(k.created_at, k.kid)))


async def lock_keys(conn: AsyncConnection) -> None:
    """Two processes that start at once must not both make the first key."""
    await conn.execute(text("SELECT pg_advisory_xact_lock(hashtext('lyceum signing keys'))"))


async def add_key(
    conn: AsyncConnection, *, kid: str, private: bytes, public: dict[str, Any], now: datetime
) -> None:
    await conn.execute(
        insert(signing_keys).values(kid=kid, private=private, public=public, created_at=now, retired_at=None)
    )


async def retire_keys(conn: AsyncConnection, *, but: str, now: datetime) -> None:
    k = signing_keys.c
    await conn.execute(
        update(signing_keys).where(k.kid != but, k.retired_at.is_(None)).values(retired_at=now)
    )
