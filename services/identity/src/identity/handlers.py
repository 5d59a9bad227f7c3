"""What identity does when HR or an administrator says something about people. Reads like the specification.

hear            HR said something of one or many people: keep it, and settle what follows now
on_person_day   a timer: the day of a hire, a move or a leave has come
take_webhooks   signed messages, each once
take_notice     a vendor's notice that somebody changed: read again soon
grant_roles     an administrator made somebody author or admin
map_unit        an administrator said where a department belongs

Full listings are in listings.py.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from google.protobuf.message import Message

from identity import erasure_store, hris, org_unit, org_unit_store, store, webhook_store
from identity.erasure_store import tombstone
from identity.errors import BadMapping
from identity.hris import Notice, Said
from identity.org_unit import Map, OrgUnit
from identity.person import (
    ChangeProfile,
    Described,
    Outlook,
    Person,
    Profile,
    Record,
    SetRoles,
    Settle,
    Statement,
    comes_anew,
    decide,
    evolve,
    heard,
    outlook,
    person_from,
    status_name,
    unmanaged,
)
from identity.store import PersonRow
from identity.vault import Vault
from lyceum.identity.v1 import events_pb2 as pb
from lyceum_kit.appending import Origin
from lyceum_kit.errors import NotFound
from lyceum_kit.ledger import Stream, Tx
from lyceum_kit.timers import Timer

_NOT_YET = Stream(0, [])
PERSON_DAY = "person-day"
READ_AGAIN = "hris-read"

Outcome = Literal["created", "updated", "terminated", "unchanged", "held", "waiting", "duplicate", "erased"]


async def hear(
    tx: Tx,
    source: str,
    said: Mapping[str, Sequence[Statement]],
    *,
    vault: Vault,
    origins: Mapping[str, Origin] | None = None,
) -> dict[str, Outcome]:
    """Keep what HR said of people, by external id, and publish the differences that hold now.

    Of whoever was erased nothing is kept, unless HR hires them anew: that is another person here. `origins` has, by
    external id, in which message it was said.
    """
    tombs = {e: tombstone(vault, tx.tenant, source, e) for e in {*said, *_managers(said)}}
    found = await store.lock_by_external_id(tx.conn, tx.tenant, source, {*said, *tombs.values()})
    rows = {row.external_id: row for row in found if row.erased_at is None}
    erased = {row.external_id: row for row in found if row.erased_at}
    gone: dict[str, Outcome] = {}
    if erased:
        said, gone = await _of_the_living(tx, said, {e: erased[t] for e, t in tombs.items() if t in erased})
    new = [PersonRow(tx.new_id(), source, e, tx.now) for e in said if e not in rows]
    people = [_told(row, said[row.external_id], tx.now) for row in (*rows.values(), *new)]
    of = {row.person_id: origin for row in people if (origin := (origins or {}).get(row.external_id))}
    outcomes = await settle(tx, people, of, new={row.person_id for row in new})
    return {**gone, **{row.external_id: outcomes[row.person_id] for row in people}}


def _managers(said: Mapping[str, Sequence[Statement]]) -> set[str]:
    named = (s.facts.manager_external_id for some in said.values() for s in some if isinstance(s, Described))
    return {external_id for external_id in named if external_id}


async def _of_the_living(
    tx: Tx, said: Mapping[str, Sequence[Statement]], erased: Mapping[str, PersonRow]
) -> tuple[dict[str, list[Statement]], dict[str, Outcome]]:
    """What may be kept of what was said, and of whom nothing may."""
    gone: dict[str, Outcome] = {}
    kept: dict[str, list[Statement]] = {}
    for external_id, statements in said.items():
        tomb = erased.get(external_id)
        some = list(statements)
        if tomb and tomb.erased_at:
            some = [s for s in statements if comes_anew(s, tomb.erased_at)]
            if not some:
                gone[external_id] = "erased"
                continue
            await erasure_store.forget_tombstone(tx.conn, tx.tenant, tomb.person_id)
        kept[external_id] = some
    nameless = {e for e in erased if e not in kept}
    return {
        e: [unmanaged(s, nameless) if isinstance(s, Described) else s for s in some]
        for e, some in kept.items()
    }, gone


def _told(row: PersonRow, statements: Sequence[Statement], now: datetime) -> PersonRow:
    record = row.record
    for statement in statements:
        record = heard(record, statement, now)
    return row._replace(record=record)


async def on_person_day(tx: Tx, timer: Timer) -> None:
    """A moment that HR named has come: what holds may have changed."""
    await settle(tx, await store.lock_people(tx.conn, tx.tenant, [UUID(timer.key)]))


async def settle(
    tx: Tx,
    people: Sequence[PersonRow],
    origins: Mapping[UUID, Origin] | None = None,
    *,
    new: Collection[UUID] = (),
) -> dict[UUID, Outcome]:
    """Bring published people to what their records say now; the rows are locked, or `new`, and saved here.

    Also settles those who were waiting for one of them as their manager. `origins`: by person, else the transaction's.
    Raises Conflict when somebody else adds one of the new as well.
    """
    origins = origins or {}
    if not people:
        return {}
    source = people[0].source
    looks = {row.person_id: outlook(row.record, tx.now) for row in people}
    arriving = [
        row for row in people if looks[row.person_id].facts is not None and row.status in ("held", "prehire")
    ]
    rows = {row.person_id: row for row in people}
    named = {f.manager_external_id for f in _facts(looks) if f.manager_external_id}
    managers = await store.published_ids(tx.conn, tx.tenant, source, named)
    newcomers = [row.external_id for row in arriving]
    unknown = named - managers.keys()
    await store.meet(tx.conn, tx.tenant, source, arriving=newcomers, awaited=unknown)
    managers |= await store.published_ids(tx.conn, tx.tenant, source, unknown)
    for row in await store.lock_reports_waiting_for(tx.conn, tx.tenant, source, newcomers):
        if row.person_id not in rows:
            rows[row.person_id] = row
            looks[row.person_id] = outlook(row.record, tx.now)
    managers |= {row.external_id: row.person_id for row in arriving}
    units = await _org_units(tx, {f.department for f in _facts(looks) if f.department})
    streams = await tx.load_many([f"person/{person_id}" for person_id in rows if person_id not in new])

    outcomes: dict[UUID, Outcome] = {}
    leads: set[str] = set()
    settled: list[PersonRow] = []
    for person_id, row in rows.items():
        look = looks[person_id]
        facts = look.facts
        above = facts.manager_external_id if facts else ""
        manager = managers.get(above) if above != row.external_id else None
        stream = streams.get(f"person/{person_id}", _NOT_YET)
        person = person_from(stream.events)
        command = Settle(
            person_id=str(person_id),
            source=source,
            outlook=look,
            org_unit_id=str(units[facts.department]) if facts and facts.department else "",
            manager_id=str(manager or ""),
        )
        profile = row.record.newest.profile if row.record.newest else row.profile
        events = [
            *decide(person, command),
            *decide(person, ChangeProfile(str(person_id), row.profile, profile)),
        ]
        origin = origins.get(person_id)
        tx.append(f"person/{person_id}", events, expected=stream.version, origin=origin)
        for event in events:
            person = evolve(person, event)
        after = _published(row, person, profile, look, above)
        _set_timer(tx, row, look.changes_at)
        if (row.manager_id, row.active) != (after.manager_id, after.active):
            leads |= {row.manager_id, after.manager_id} - {""}
        settled.append(after)
        outcomes[person_id] = _outcome(events, after)
    await store.add_people(tx.conn, tx.tenant, [row for row in settled if row.person_id in new])
    await store.save_people(tx.conn, tx.tenant, [row for row in settled if row.person_id not in new])
    await _settle_leads(tx, {UUID(manager_id) for manager_id in leads})
    return outcomes


def _facts(looks: Mapping[UUID, Outlook]) -> list[hris.PersonFacts]:
    return [look.facts for look in looks.values() if look.facts]


async def _org_units(tx: Tx, codes: Collection[str]) -> dict[str, UUID]:
    """Units by code. One that nobody set up is created as HR spells it, flagged for a person to look at."""
    found = await org_unit_store.ids_of(tx.conn, tx.tenant, codes)
    missing = sorted(set(codes) - found.keys())
    if missing:
        added = await org_unit_store.add(tx.conn, tx.tenant, {code: tx.new_id() for code in missing})
        for code, unit in added.items():
            event = pb.OrgUnitCreated(org_unit_id=str(unit), code=code, mapped=False)
            tx.append(f"org-unit/{unit}", [event], expected=0)
        found = await org_unit_store.ids_of(tx.conn, tx.tenant, codes)
    return found


def _published(row: PersonRow, person: Person, profile: Profile, look: Outlook, above: str) -> PersonRow:
    """The row as the tables show the person after the events."""
    job = person.job or pb.Job()
    return row._replace(
        status=status_name(person, row.record),
        display_name=profile.display_name,
        email=profile.email,
        locale=profile.locale,
        department=job.department,
        org_unit_id=job.org_unit_id,
        location=job.location,
        job_title=job.job_title,
        manager_id=job.manager_id,
        manager_external_id=above if look.facts else row.manager_external_id,
        hire_date=job.hire_date or _announced(row.record),
        time_zone=job.time_zone or row.time_zone,
        employment_type=job.employment_type,
        wakes_at=look.changes_at,
    )


def _announced(record: Record) -> str:
    day = record.newest.facts.hire_date if record.newest else None
    return day.isoformat() if day else ""


def _set_timer(tx: Tx, row: PersonRow, at: datetime | None) -> None:
    if at is not None:
        tx.set_timer(PERSON_DAY, str(row.person_id), at)
    elif row.wakes_at is not None:
        tx.cancel_timer(PERSON_DAY, str(row.person_id))


def _outcome(events: Sequence[Message], row: PersonRow) -> Outcome:
    if row.status == "held":
        return "held"
    if row.status == "prehire":
        return "waiting"
    kinds = {type(event) for event in events}
    if pb.UserDeactivated in kinds:
        return "terminated"
    if pb.UserProvisioned in kinds:
        return "created"
    return "updated" if kinds else "unchanged"


async def _settle_leads(tx: Tx, person_ids: Collection[UUID]) -> None:
    """Whoever has reports is a manager; whoever has none any more is not."""
    if not person_ids:
        return
    # Locked before counting: of two last reports who leave at once, the second sees the first gone.
    rows = await store.lock_people(tx.conn, tx.tenant, person_ids)
    reports = await store.count_reports(tx.conn, tx.tenant, [row.person_id for row in rows])
    await _set_roles(tx, rows, {row.person_id: reports.get(row.person_id, 0) > 0 for row in rows})


async def _set_roles(tx: Tx, rows: Sequence[PersonRow], leads: Mapping[UUID, bool]) -> None:
    streams = await tx.load_many([f"person/{row.person_id}" for row in rows])
    changed: list[PersonRow] = []
    for row in rows:
        stream = streams[f"person/{row.person_id}"]
        person = person_from(stream.events)
        command = SetRoles(str(row.person_id), tuple(row.granted), leads[row.person_id])
        events = decide(person, command)
        tx.append(f"person/{row.person_id}", events, expected=stream.version)
        for event in events:
            person = evolve(person, event)
        changed.append(row._replace(roles=list(person.roles)))
    await store.save_people(tx.conn, tx.tenant, changed)


async def grant_roles(tx: Tx, person_id: UUID, granted: Sequence[str]) -> PersonRow:
    """Make somebody author or admin, or take that away. `manager` follows from having reports."""
    rows = await store.lock_people(tx.conn, tx.tenant, [person_id])
    if not rows or rows[0].status in ("held", "prehire", "erased"):
        raise NotFound
    row = rows[0]._replace(granted=sorted(set(granted)))
    reports = await store.count_reports(tx.conn, tx.tenant, [person_id])
    await _set_roles(tx, [row], {person_id: reports.get(person_id, 0) > 0})
    [after] = await store.lock_people(tx.conn, tx.tenant, [person_id])
    return after


async def map_unit(tx: Tx, org_unit_id: UUID, command: Map) -> OrgUnit:
    """A person looked at a unit that HR brought along, and says where it belongs and who heads it."""
    units = {unit.org_unit_id: unit for unit in await org_unit_store.lock_all(tx.conn, tx.tenant)}
    unit = units.get(str(org_unit_id))
    if unit is None:
        raise NotFound
    if command.parent_id and command.parent_id not in units:
        raise BadMapping("There is no such unit above it")
    head = await store.person(tx.conn, tx.tenant, UUID(command.head_id)) if command.head_id else None
    if command.head_id and not (head and head.active):
        raise BadMapping("There is nobody with the id of its head")
    parents = {u.org_unit_id: u.parent_id for u in units.values()}
    events = org_unit.decide(unit, command, parents=parents)
    stream = await tx.load(f"org-unit/{org_unit_id}")
    tx.append(f"org-unit/{org_unit_id}", events, expected=stream.version)
    for event in events:
        unit = org_unit.evolve(unit, event)
    await org_unit_store.save(tx.conn, tx.tenant, unit)
    return unit


# ---- webhooks


@dataclass(frozen=True)
class Delivery:
    """A signed message of an HR system."""

    endpoint_id: UUID
    webhook_id: str
    source: str
    said: Said
    origin: Origin


async def take_webhooks(tx: Tx, deliveries: Sequence[Delivery], *, vault: Vault) -> list[Outcome]:
    """Messages that came together, in that order, however often each is delivered."""
    keys = [(d.endpoint_id, d.webhook_id) for d in deliveries]
    fresh = await webhook_store.remember(tx.conn, tx.tenant, keys, tx.now)
    outcomes: list[Outcome] = ["duplicate"] * len(deliveries)
    first = {key: n for n, key in reversed(list(enumerate(keys)))}
    waiting = sorted(first[key] for key in fresh)
    while waiting:
        # Of one person one message at a time: each has an outcome of its own.
        source = deliveries[waiting[0]].source
        turn: dict[str, int] = {}
        for n in waiting:
            if deliveries[n].source == source:
                turn.setdefault(deliveries[n].said.external_id, n)
        heard = await hear(
            tx,
            source,
            {external_id: [deliveries[n].said.statement] for external_id, n in turn.items()},
            vault=vault,
            origins={external_id: deliveries[n].origin for external_id, n in turn.items()},
        )
        for external_id, n in turn.items():
            outcomes[n] = heard[external_id]
        waiting = sorted({*waiting} - {*turn.values()})
    return outcomes


async def take_notice(
    tx: Tx, endpoint_id: UUID, webhook_id: str, notices: Sequence[Notice], *, vault: Vault
) -> Literal["noted", "duplicate"]:
    """A vendor says that people changed. Reading them waits for a timer: their system may be slow or down."""
    if not await webhook_store.remember(tx.conn, tx.tenant, [(endpoint_id, webhook_id)], tx.now):
        return "duplicate"
    for notice in notices:
        payload = {"endpoint_id": str(endpoint_id), "external_id": notice.id, "action": notice.action}
        # A timer's key goes to logs, where ids of people have no place.
        whose = vault.pseudonym(f"{tx.tenant}/{endpoint_id}/{notice.id}")
        tx.set_timer(READ_AGAIN, f"{endpoint_id}/{whose}", tx.now, payload)
    return "noted"
