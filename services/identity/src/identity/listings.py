"""HR's full listings of people, a chunk at a time: what they say of those they show, and of those they show no more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from identity import hris, store
from identity.handlers import Outcome, hear
from identity.hris import Listed
from identity.person import NOT_LISTED, Described, Leaves, Record, Statement, outlook, present_again
from identity.vault import Vault
from lyceum_kit.ledger import Tx


@dataclass(frozen=True)
class Differences:
    """What a snapshot changed."""

    created: int = 0
    updated: int = 0
    terminated: int = 0
    unchanged: int = 0
    waiting: int = 0

    def plus(self, outcomes: Mapping[str, Outcome]) -> "Differences":
        def count(*names: Outcome) -> int:
            return sum(outcome in names for outcome in outcomes.values())

        return Differences(
            created=self.created + count("created"),
            updated=self.updated + count("updated"),
            terminated=self.terminated + count("terminated"),
            unchanged=self.unchanged + count("unchanged", "duplicate", "erased"),
            waiting=self.waiting + count("waiting", "held"),
        )


async def apply_listing(
    tx: Tx, source: str, people: Sequence[Listed], *, said_at: datetime, time_zone: str, vault: Vault
) -> dict[str, Outcome]:
    """What a full listing says of those it shows. Who is as known stays untouched, row and all."""
    rows = {
        row.external_id: row
        for row in await store.people_by_external_id(
            tx.conn, tx.tenant, source, [person.external_id for person in people]
        )
    }
    outcomes: dict[str, Outcome] = {}
    said: dict[str, list[Statement]] = {}
    for person in people:
        row = rows.get(person.external_id)
        statements = hris.listed(person, said_at=said_at, time_zone=time_zone)
        if row is None:
            if person.status != "terminated":  # a leaver nobody here ever knew is no news
                said[person.external_id] = statements
        elif _is_news(row.record, statements, tx.now):
            said[person.external_id] = [
                present_again(row.record, s, tx.now) if isinstance(s, Described) else s for s in statements
            ]
        else:
            outcomes[person.external_id] = "unchanged"
    return outcomes | await hear(tx, source, said, vault=vault)


def _is_news(record: Record, statements: Sequence[Statement], now: datetime) -> bool:
    look = outlook(record, now)
    known_leave = (record.leaves.effective_on,) if record.leaves else None
    for statement in statements:
        match statement:
            case Leaves():
                if look.left is None and known_leave != (statement.effective_on,):
                    return True
            case Described():
                newest = record.newest
                if newest is None or (newest.facts, newest.profile) != (statement.facts, statement.profile):
                    return True
                if look.left is not None and not any(isinstance(s, Leaves) for s in statements):
                    return True
    return False


async def apply_missing(
    tx: Tx, source: str, external_ids: Sequence[str], *, said_at: datetime, vault: Vault
) -> dict[str, Outcome]:
    """Who is in no complete listing any more has left."""
    leaves = Leaves(said_at, reason=NOT_LISTED)
    return await hear(tx, source, {external_id: [leaves] for external_id in external_ids}, vault=vault)
