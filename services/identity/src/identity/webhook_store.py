"""Every SQL statement about webhook endpoints, their secrets and inbox, and the directory of tenants."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from identity.tables import tenants, webhook_endpoints, webhook_secrets


@dataclass(frozen=True)
class Endpoint:
    """Where an HR system delivers; config and secrets are sealed."""

    endpoint_id: UUID
    form: str
    name: str
    source: str
    config: bytes
    secrets: Sequence[bytes]


async def add(
    conn: AsyncConnection, tenant: UUID, endpoint: Endpoint, secret: bytes, *, created_at: datetime
) -> None:
    await conn.execute(
        insert(webhook_endpoints).values(
            tenant=tenant,
            endpoint_id=endpoint.endpoint_id,
            form=endpoint.form,
            name=endpoint.name,
            source=endpoint.source,
            config=endpoint.config,
            created_at=created_at,
        )
    )
    await conn.execute(
        insert(webhook_secrets).values(
            tenant=tenant, endpoint_id=endpoint.endpoint_id, n=1, secret=secret, valid_until=None
        )
    )


_ENDPOINTS = text("""
    SELECT e.endpoint_id, e.form, e.name, e.source, e.config, ARRAY(
      SELECT s.secret FROM webhook_secrets s
      WHERE s.tenant = e.tenant AND s.endpoint_id = e.endpoint_id AND (s.valid_until IS NULL OR s.valid_until > :now)
      ORDER BY s.n DESC) AS secrets
    FROM webhook_endpoints e WHERE e.tenant = :tenant AND e.endpoint_id = ANY(:endpoint_ids)""")


async def endpoints(
    conn: AsyncConnection, tenant: UUID, endpoint_ids: Collection[UUID], now: datetime
) -> dict[UUID, Endpoint]:
    """Those that there are, with the secrets that are valid now, the newest first."""
    values = {"tenant": tenant, "endpoint_ids": list(endpoint_ids), "now": now}
    return {row.endpoint_id: Endpoint(*row) for row in await conn.execute(_ENDPOINTS, values)}


async def endpoint(conn: AsyncConnection, tenant: UUID, endpoint_id: UUID, now: datetime) -> Endpoint | None:
    return (await endpoints(conn, tenant, [endpoint_id], now)).get(endpoint_id)


async def rotate(
    conn: AsyncConnection, tenant: UUID, endpoint_id: UUID, secret: bytes, *, until: datetime
) -> None:
    """A new secret; the one before is good until `until`, and those before that end."""
    s = webhook_secrets.c
    of_endpoint = (s.tenant == tenant, s.endpoint_id == endpoint_id)
    # The endpoint's row serialises two rotations at once.
    await conn.execute(
        select(webhook_endpoints.c.endpoint_id)
        .where(webhook_endpoints.c.tenant == tenant, webhook_endpoints.c.endpoint_id == endpoint_id)
        .with_for_update()
    )
    await conn.execute(delete(webhook_secrets).where(*of_endpoint, s.valid_until.is_not(None)))
    await conn.execute(update(webhook_secrets).where(*of_endpoint).values(valid_until=until))
    n = (await conn.execute(select(func.max(s.n)).where(*of_endpoint))).scalar_one()
    await conn.execute(
        insert(webhook_secrets).values(
            tenant=tenant, endpoint_id=endpoint_id, n=n + 1, secret=secret, valid_until=None
        )
    )


_REMEMBER = text("""
    INSERT INTO webhook_inbox (tenant, endpoint_id, webhook_id, received_at)
    SELECT :tenant, endpoint_id, webhook_id, :now
    FROM unnest(CAST(:endpoint_ids AS uuid[]), CAST(:webhook_ids AS text[])) AS m(endpoint_id, webhook_id)
    ORDER BY endpoint_id, webhook_id  -- two who take the same ones wait for each other instead of deadlocking
    ON CONFLICT DO NOTHING RETURNING endpoint_id, webhook_id""")


async def remember(
    conn: AsyncConnection, tenant: UUID, messages: Sequence[tuple[UUID, str]], now: datetime
) -> set[tuple[UUID, str]]:
    """Those of the messages, by endpoint and id, that were not taken before."""
    values: dict[str, Any] = {
        "tenant": tenant,
        "now": now,
        "endpoint_ids": [endpoint_id for endpoint_id, _ in messages],
        "webhook_ids": [webhook_id for _, webhook_id in messages],
    }
    return {(row.endpoint_id, row.webhook_id) for row in await conn.execute(_REMEMBER, values)}


# ---- tenants: a directory without row-level security, found by slug before a tenant is known


async def tenant_by_slug(conn: AsyncConnection, slug: str) -> Any | None:
    return (await conn.execute(select(tenants).where(tenants.c.slug == slug))).one_or_none()


async def tenant_by_id(conn: AsyncConnection, tenant: UUID) -> Any | None:
    return (await conn.execute(select(tenants).where(tenants.c.tenant_id == tenant))).one_or_none()


async def all_tenants(conn: AsyncConnection) -> list[Any]:
    return list(await conn.execute(select(tenants).order_by(tenants.c.created_at)))


async def add_tenant(
    conn: AsyncConnection, *, tenant: UUID, slug: str, name: str, time_zone: str, now: datetime
) -> bool:
    """False when the slug is taken."""
    statement = (
        insert(tenants)
        .values(tenant_id=tenant, slug=slug, name=name, default_time_zone=time_zone, created_at=now)
        .on_conflict_do_nothing()
        .returning(tenants.c.tenant_id)
    )
    return (await conn.execute(statement)).one_or_none() is not None
