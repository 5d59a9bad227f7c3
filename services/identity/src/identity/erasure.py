"""Erasure: who a person was is forgotten for good; their id and what it learned stay.

erase          an administrator has somebody erased who left
on_mentions    a timer: what others' records said of the erased meanwhile goes as well
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from identity import erasure_store, store
from identity.erasure_store import tombstone
from identity.handlers import PERSON_DAY, READ_AGAIN, settle
from identity.person import Erase, decide, is_over, person_from, unmanaged_record
from identity.vault import Vault
from lyceum_kit.errors import NotFound
from lyceum_kit.ledger import Tx
from lyceum_kit.timers import Timer

MENTIONS = "erasure-mentions"
AGAIN_AFTER = timedelta(minutes=1)  # longer than any transaction that did not see the erasure yet


@dataclass(frozen=True)
class Erased:
    person_id: UUID
    erased_at: datetime


async def erase(tx: Tx, person_id: UUID, reason: str, *, vault: Vault) -> Erased:
    """Blank all that identity has of the person, and tell the others to. Again: nothing changes."""
    rows = await store.lock_people(tx.conn, tx.tenant, [person_id])
    if not rows:
        raise NotFound
    [row] = rows
    if row.erased_at:
        return Erased(person_id, row.erased_at)
    stream = await tx.load(f"person/{person_id}")
    command = Erase(str(person_id), reason, over=is_over(row.record, tx.now), at=tx.now)
    tx.append(f"person/{person_id}", decide(person_from(stream.events), command), expected=stream.version)
    tomb = tombstone(vault, tx.tenant, row.source, row.external_id)
    await erasure_store.blank_person(tx.conn, tx.tenant, person_id, tomb=tomb, now=tx.now)
    await erasure_store.strike_from_snapshots(tx.conn, tx.tenant, row.source, row.external_id)
    await erasure_store.cancel_reading(tx.conn, tx.tenant, row.source, row.external_id, kind=READ_AGAIN)
    tx.cancel_timer(PERSON_DAY, str(person_id))
    await _forget_mentions(tx, row.source, vault)
    # HR may have named the person as somebody's manager in a transaction that ran beside this one.
    tx.set_timer(MENTIONS, row.source, tx.now + AGAIN_AFTER)
    return Erased(person_id, tx.now)


async def on_mentions(tx: Tx, timer: Timer, *, vault: Vault) -> None:
    await _forget_mentions(tx, timer.key, vault)


async def _forget_mentions(tx: Tx, source: str, vault: Vault) -> None:
    """Whoever was erased is nobody's manager any more."""
    named = await erasure_store.named_managers(tx.conn, tx.tenant, source)
    tombs = {tombstone(vault, tx.tenant, source, external_id): external_id for external_id in named}
    known = await erasure_store.known_tombstones(tx.conn, tx.tenant, source, tombs)
    erased = {tombs[tomb] for tomb in known}
    if not erased:
        return
    reports = await erasure_store.who_names(tx.conn, tx.tenant, source, erased)
    rows = await store.lock_people(tx.conn, tx.tenant, reports)
    await settle(
        tx,
        [
            row._replace(
                record=unmanaged_record(row.record, erased),
                manager_external_id="" if row.manager_external_id in erased else row.manager_external_id,
            )
            for row in rows
        ],
    )
