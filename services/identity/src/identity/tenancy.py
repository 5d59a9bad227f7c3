"""Which tenant a request is about: the caller's own, or, for the operator, the one it names by slug."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from identity import webhook_store
from lyceum_kit import db
from lyceum_kit.errors import Forbidden, NotFound, Unavailable
from lyceum_kit.ledger import Ledger
from lyceum_kit.tokens import Caller


@dataclass(frozen=True)
class Tenant:
    tenant_id: UUID
    slug: str
    name: str
    default_time_zone: str


class Tenancy:
    """Reads the directory of tenants; none is ever renamed or removed, so what was found is kept."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._by_slug: dict[str, Tenant] = {}

    async def of(self, who: Caller, slug: str = "") -> Tenant:
        if who.every_tenant:
            if not slug:
                raise Forbidden("Name the tenant: tenant_slug")
            return await self.by_slug(slug)
        tenant = await self.by_id(who.tenant)
        if slug not in ("", tenant.slug):
            raise NotFound
        return tenant

    async def by_slug(self, slug: str) -> Tenant:
        if slug not in self._by_slug:
            found = await self._read(partial(webhook_store.tenant_by_slug, slug=slug))
            self._by_slug[slug] = found
        return self._by_slug[slug]

    async def by_id(self, tenant_id: UUID) -> Tenant:
        for tenant in self._by_slug.values():
            if tenant.tenant_id == tenant_id:
                return tenant
        found = await self._read(partial(webhook_store.tenant_by_id, tenant=tenant_id))
        return self._by_slug.setdefault(found.slug, found)

    async def all(self) -> list[Tenant]:
        async with self._ledger.engine.connect() as conn:
            return [_tenant(row) for row in await webhook_store.all_tenants(conn)]

    async def _read(self, query: Callable[[AsyncConnection], Awaitable[Any]]) -> Tenant:
        try:
            async with self._ledger.engine.connect() as conn:
                row = await query(conn)
        except Exception as e:
            if db.is_outage(e):
                raise Unavailable("The database cannot be reached", retry_after=2) from e
            raise
        if row is None:
            raise NotFound
        return _tenant(row)


def _tenant(row: Any) -> Tenant:
    return Tenant(row.tenant_id, row.slug, row.name, row.default_time_zone)
