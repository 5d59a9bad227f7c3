"""What operators and administrators set up: tenants, webhook endpoints, and decisions on held snapshots."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from identity import hris, sign_in, snapshot_store, store, webhook_store
from identity.errors import SlugTaken, SnapshotDecided
from identity.handlers import grant_roles, hear
from identity.hris import Listed, Snapshot
from identity.listings import Differences, apply_listing, apply_missing
from identity.person import Described, PersonFacts, Profile
from identity.signatures import new_secret
from identity.snapshot_store import SnapshotRow
from identity.vault import Vault
from identity.webhook_store import Endpoint
from lyceum.identity.v1 import events_pb2 as pb
from lyceum_kit.errors import NotFound
from lyceum_kit.ledger import Ledger, Tx

LOCAL = "local"  # the source of people whom no HR system brought
CHUNK = 500


@dataclass(frozen=True)
class Administrator:
    display_name: str
    email: str


async def create_tenant(
    tx: Tx, *, slug: str, name: str, time_zone: str, admin: Administrator, link_hours: int, vault: Vault
) -> str:
    """A tenant with its first administrator, who gets a one-time link (its token is returned)."""
    if not await webhook_store.add_tenant(
        tx.conn, tenant=tx.tenant, slug=slug, name=name, time_zone=time_zone, now=tx.now
    ):
        raise SlugTaken(f"A tenant with slug {slug!r} exists")
    event = pb.TenantCreated(tenant_id=str(tx.tenant), slug=slug, default_time_zone=time_zone, name=name)
    tx.append(f"tenant/{tx.tenant}", [event], expected=0)
    said = Described(
        said_at=tx.now,
        facts=PersonFacts(time_zone=time_zone),
        profile=Profile(admin.display_name, admin.email),
        hires=True,
    )
    await hear(tx, LOCAL, {"administrator": [said]}, vault=vault)
    [person_id] = (await store.published_ids(tx.conn, tx.tenant, LOCAL, ["administrator"])).values()
    await grant_roles(tx, person_id, ["admin"])
    return await sign_in.make_link(tx, person_id, link_hours)


# ---- webhook endpoints


def endpoint_place(tenant: UUID, endpoint_id: UUID) -> str:
    """What a sealed secret is bound to."""
    return f"webhook/{tenant}/{endpoint_id}"


async def create_endpoint(
    tx: Tx, vault: Vault, *, form: str, name: str, source: str, config: dict[str, Any]
) -> tuple[UUID, str]:
    """An endpoint's id and its secret, which is never shown again."""
    endpoint_id, secret = tx.new_id(), new_secret(form)
    place = endpoint_place(tx.tenant, endpoint_id)
    endpoint = Endpoint(
        endpoint_id=endpoint_id,
        form=form,
        name=name,
        source=source,
        config=vault.seal(json.dumps(config).encode(), place),
        secrets=(),
    )
    sealed = vault.seal(secret.encode(), place)
    await webhook_store.add(tx.conn, tx.tenant, endpoint, sealed, created_at=tx.now)
    event = pb.WebhookEndpointCreated(endpoint_id=str(endpoint_id), form=form)
    tx.append(f"webhook/{endpoint_id}", [event], expected=0)
    return endpoint_id, secret


async def rotate_secret(tx: Tx, vault: Vault, endpoint_id: UUID, overlap: timedelta) -> tuple[str, datetime]:
    """A new secret, and until when the previous one is still good."""
    endpoint = await webhook_store.endpoint(tx.conn, tx.tenant, endpoint_id, tx.now)
    if endpoint is None:
        raise NotFound
    secret, until = new_secret(endpoint.form), tx.now + overlap
    sealed = vault.seal(secret.encode(), endpoint_place(tx.tenant, endpoint_id))
    await webhook_store.rotate(tx.conn, tx.tenant, endpoint_id, sealed, until=until)
    stream = await tx.load(f"webhook/{endpoint_id}")
    valid_until: Any = until
    event = pb.WebhookSecretRotated(endpoint_id=str(endpoint_id), previous_valid_until=valid_until)
    tx.append(f"webhook/{endpoint_id}", [event], expected=stream.version)
    return secret, until


# ---- full snapshots


@dataclass(frozen=True)
class Breaker:
    """More leavers than this at once are more likely a broken export than the truth."""

    share: float
    floor: int

    def trips(self, leavers: int, people: int) -> bool:
        return leavers >= self.floor and leavers > self.share * people


@dataclass(frozen=True)
class Taken:
    snapshot_id: UUID
    held: bool
    differences: Differences


async def take_snapshot(
    ledger: Ledger,
    tenant: UUID,
    snapshot: Snapshot,
    *,
    time_zone: str,
    breaker: Breaker,
    vault: Vault,
    actor: str,
) -> Taken:
    """Apply a full listing, or hold it for a person. Sent again, it goes on where it stopped."""
    now = ledger.clock()
    said_at = hris.snapshot_said_at(snapshot, now)
    for person in snapshot.people:  # all of it is checked before any of it is applied
        hris.listed(person, said_at=said_at, time_zone=time_zone)
    present = {p.external_id for p in snapshot.people if p.status != "terminated"}
    listed = {p.external_id for p in snapshot.people}
    async with ledger.read(tenant) as conn:
        working = await store.active_external_ids(conn, tenant, snapshot.source)
    leavers = [e for e in working if e not in present and (snapshot.complete or e in listed)]
    snapshot_id = ledger.new_id()
    if breaker.trips(len(leavers), len(working)):
        row = SnapshotRow(
            snapshot_id=snapshot_id,
            source=snapshot.source,
            taken_at=said_at,
            received_at=now,
            state="held" if snapshot.complete else "held-partial",
            people=[p.model_dump(mode="json") for p in snapshot.people],
            listed=len(snapshot.people),
            would_deactivate=len(leavers),
        )
        await ledger.run(tenant, _hold, row, breaker.share, actor=actor)
        return Taken(snapshot_id, held=True, differences=Differences())
    found = await _apply(
        ledger, tenant, snapshot, said_at=said_at, time_zone=time_zone, vault=vault, actor=actor
    )
    return Taken(snapshot_id, held=False, differences=found)


async def _hold(tx: Tx, row: SnapshotRow, share: float) -> None:
    await snapshot_store.add(tx.conn, tx.tenant, row)
    event = pb.SnapshotHeld(
        snapshot_id=str(row.snapshot_id),
        people=row.listed,
        would_deactivate=row.would_deactivate,
        allowed_share=share,
    )
    tx.append(f"snapshot/{row.snapshot_id}", [event], expected=0)


async def _apply(
    ledger: Ledger,
    tenant: UUID,
    snapshot: Snapshot,
    *,
    said_at: datetime,
    time_zone: str,
    vault: Vault,
    actor: str,
) -> Differences:
    found = Differences()
    people = hris.managers_first(snapshot.people)
    for start in range(0, len(people), CHUNK):
        outcomes = await ledger.run(
            tenant,
            apply_listing,
            snapshot.source,
            people[start : start + CHUNK],
            said_at=said_at,
            time_zone=time_zone,
            vault=vault,
            actor=actor,
        )
        found = found.plus(outcomes)
    if snapshot.complete:
        listed = {p.external_id for p in people}
        async with ledger.read(tenant) as conn:
            working = await store.active_external_ids(conn, tenant, snapshot.source)
        missing = [external_id for external_id in working if external_id not in listed]
        for start in range(0, len(missing), CHUNK):
            chunk = missing[start : start + CHUNK]
            outcomes = await ledger.run(
                tenant, apply_missing, snapshot.source, chunk, said_at=said_at, vault=vault, actor=actor
            )
            found = found.plus(outcomes)
    return found


async def apply_held(
    ledger: Ledger, tenant: UUID, snapshot_id: UUID, *, time_zone: str, vault: Vault, actor: str
) -> Taken:
    """A person looked at a held snapshot and says it is right."""
    row = await ledger.run(tenant, _begin_applying, snapshot_id)
    snapshot = Snapshot(
        source=row.source,
        complete=not row.state.endswith("-partial"),
        people=[Listed.model_validate(p) for p in row.people],
    )
    found = await _apply(
        ledger, tenant, snapshot, said_at=row.taken_at, time_zone=time_zone, vault=vault, actor=actor
    )
    await ledger.run(tenant, _release, snapshot_id, applied=True, actor=actor)
    return Taken(snapshot_id, held=False, differences=found)


async def _begin_applying(tx: Tx, snapshot_id: UUID) -> SnapshotRow:
    row = await snapshot_store.find(tx.conn, tx.tenant, snapshot_id, lock=True)
    if row is None:
        raise NotFound
    if row.state in ("applied", "discarded"):
        raise SnapshotDecided
    # From here on it cannot be discarded any more; whoever applies it again goes on where the first stopped.
    await snapshot_store.decide(tx.conn, tx.tenant, snapshot_id, row.state.replace("held", "applying"))
    return row


async def discard_held(tx: Tx, snapshot_id: UUID) -> None:
    row = await snapshot_store.find(tx.conn, tx.tenant, snapshot_id, lock=True)
    if row is None:
        raise NotFound
    if not row.state.startswith("held"):
        raise SnapshotDecided
    await _release(tx, snapshot_id, applied=False)


async def _release(tx: Tx, snapshot_id: UUID, *, applied: bool) -> None:
    await snapshot_store.decide(tx.conn, tx.tenant, snapshot_id, "applied" if applied else "discarded")
    stream = await tx.load(f"snapshot/{snapshot_id}")
    if len(stream.events) == 1:  # two who apply it at once release it once
        event = pb.SnapshotReleased(snapshot_id=str(snapshot_id), decided_by=tx.actor, applied=applied)
        tx.append(f"snapshot/{snapshot_id}", [event], expected=stream.version)
