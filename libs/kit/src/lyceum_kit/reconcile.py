"""After a restore: what a service sent and handled, held against the ledgers, and the way back.

A producer that went on before anybody noticed gave numbers twice: the first such position is looked for in all that Kafka
has, and a new generation begins there. A consumer that had events which its producer's ledger no longer has, or has
elsewhere, goes back to the last event that both know and takes the producer's history from there. What it had and gives
up is kept in `superseded`: of these, an event that comes again under another number is not handled twice
(`HandlerSink`), and one that never comes again is a phantom, whose effects stay. No handler can undo them: people are
told which events these were and what this service went on to say because of them.

The ids of what a consumer had come from its own table `handled`. Where that does not reach back far enough nothing is
guessed: this service's database is to be restored from the same backup.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from lyceum_kit import progress, restored
from lyceum_kit.consumer import HandlerSink
from lyceum_kit.errors import Refused
from lyceum_kit.feed import READ_LIMIT, FeedReader, Head
from lyceum_kit.intake import Partition, Place, standing
from lyceum_kit.relay import Relay
from lyceum_kit.topics import feeds

SHOWN = 500

_OLDEST = text(
    "SELECT min(first) FROM handled WHERE consumer = :consumer AND feed = :feed AND partition = :partition"
)
_HAD_AT = text(
    "SELECT ids[CAST(:position AS bigint) - first + 1] AS id FROM handled WHERE consumer = :consumer AND feed = :feed"
    " AND partition = :partition AND first <= :position ORDER BY first DESC LIMIT 1"
)
_HAD = """
SELECT u.id, h.first + u.n - 1 AS position
FROM handled h CROSS JOIN LATERAL unnest(h.ids) WITH ORDINALITY AS u(id, n)
WHERE h.consumer = :consumer AND h.feed = :feed AND h.partition = :partition
  AND h.first + cardinality(h.ids) > :since AND h.first + u.n - 1 >= :since
"""
_HAD_SINCE = text(f"SELECT id FROM ({_HAD}) AS had ORDER BY position")  # noqa: S608 - of this module's own text
# What is parked had no effect yet: if it comes again it is handled as any other event.
_SUPERSEDE = text(f"""
INSERT INTO superseded (consumer, event_id, feed, partition, position, superseded_by)
SELECT :consumer, had.id, :feed, :partition, had.position, :who FROM ({_HAD}) AS had
WHERE NOT EXISTS (
  SELECT 1 FROM parked p WHERE p.consumer = :consumer AND p.event_id = had.id::text AND p.settled IS NULL)
ON CONFLICT (consumer, event_id) DO UPDATE SET position = excluded.position, superseded_at = excluded.superseded_at,
  superseded_by = excluded.superseded_by, returned_at = NULL
""")  # noqa: S608 - of this module's own text
_UNPARK = text(f"""
UPDATE parked SET settled = 'superseded', settled_at = now(), settled_by = :who,
  settled_why = 'the producer was restored to a state before this event'
WHERE consumer = :consumer AND feed = :feed AND partition = :partition AND settled IS NULL
  AND event_id IN (SELECT had.id::text FROM ({_HAD}) AS had)
""")  # noqa: S608 - of this module's own text
_CUT_OFF = (
    text(
        "DELETE FROM handled WHERE consumer = :consumer AND feed = :feed AND partition = :partition AND first >= :since"
    ),
    text(
        "UPDATE handled SET ids = ids[1:CAST(:since AS bigint) - first] WHERE consumer = :consumer AND feed = :feed"
        " AND partition = :partition AND first + cardinality(ids) > :since"
    ),
)
_GO_BACK = text(
    "UPDATE progress SET next = :since, last_id = :last_id, generation = :generation, tries = 0, alarm = '',"
    " had_until = greatest(had_until, :next)"
    " WHERE consumer = :consumer AND feed = :feed AND partition = :partition AND next = :next"
)
_PHANTOMS = text(
    "SELECT event_id, feed, partition, position, superseded_at FROM superseded"
    " WHERE consumer = :consumer AND returned_at IS NULL ORDER BY superseded_at DESC, feed, partition, position LIMIT :limit"
)
_CAUSED = """
SELECT causation_id, type, stream, version FROM events WHERE causation_id = ANY($1::text[]) ORDER BY stream, version LIMIT $2
"""


@dataclass(frozen=True)
class Difference:
    """A partition in which a consumer's history is not its producer's ledger."""

    feed: str
    partition: int
    place: Place
    head: Head
    since: int = 0  # the first position that is another event; 0 when that cannot be told
    last_id: str = ""  # the last event that both have
    gone: tuple[str, ...] = ()  # handled here, and not in the ledger (yet, or any more)
    kept: tuple[str, ...] = ()  # handled here, and in the ledger under another number

    def told(self, consumer: str) -> str:
        """In plain words."""
        where = f"feed {self.feed}, partition {self.partition}"
        had = f"{consumer} is at position {self.place.next - 1}, the ledger's head is {self.head.head}"
        if not self.since:
            return (
                f"{where}: {had}. {consumer} does not remember far enough back to tell where the two part: restore"
                f" its database from the same backup as {feeds()[self.feed].producer}'s."
            )
        return (
            f"{where}: {had}, and from position {self.since} on they have different histories."
            f" Of the {self.place.next - self.since} events {consumer} handled since, the ledger has"
            f" {len(self.kept)} under another number and {len(self.gone)} not."
        )


@dataclass(frozen=True)
class FeedShown:
    """A feed of this service, all partitions together."""

    feed: str
    head: int
    sent: int
    generations: list[tuple[int, str]]  # with why each was raised
    trouble: str


@dataclass(frozen=True)
class PlaceShown:
    """Where this service is in a partition of another's feed."""

    feed: str
    partition: int
    next: int
    head: int
    agrees: bool


@dataclass(frozen=True)
class Phantom:
    """An event that had its effect here and is in no ledger."""

    event_id: str
    feed: str
    partition: int
    position: int
    superseded_at: str
    caused: list[str]  # events of this service, as "type stream@version"


@dataclass(frozen=True)
class Report:
    """For people; `told` says all of it in plain words."""

    service: str
    feeds: list[FeedShown]
    consumers: list[PlaceShown]
    trouble: list[str]
    done: list[str]  # what was mended just now
    phantoms: list[Phantom]

    @property
    def told(self) -> list[str]:
        lines = [f"{feed.feed}: {feed.head} events numbered, {feed.sent} sent" for feed in self.feeds]
        for name in dict.fromkeys(place.feed for place in self.consumers):
            some = [place for place in self.consumers if place.feed == name]
            handled, head = sum(p.next - 1 for p in some), sum(p.head for p in some)
            agree = sum(p.agrees for p in some)
            lines.append(
                f"{self.service} ← {name}: {handled} of {head} handled, {agree} of {len(some)} partitions agree"
            )
        lines += [f"done: {done}" for done in self.done]
        lines += [f"trouble: {trouble}" for trouble in self.trouble]
        for phantom in self.phantoms:
            lines.append(
                f"phantom: {phantom.event_id}, {phantom.feed}/{phantom.partition} position {phantom.position},"
                " was handled here and is not in the ledger"
            )
            lines += [f"  it caused {event}" for event in phantom.caused]
        return lines


@dataclass
class Reconciliation:
    """One service's: its own feeds, and its places in others'."""

    relay: Relay
    sink: HandlerSink
    reader: FeedReader

    async def report(self, done: Sequence[str] = ()) -> Report:
        trouble: list[str] = []
        connection = await self.relay.connect("reconcile")
        try:
            own = await self._own_feeds(connection, trouble)
            phantoms = await self._phantoms(connection)
        finally:
            await connection.close()
        places, differences = await self.compare()
        name = self.sink.consumer
        trouble += [difference.told(name) for difference in differences]
        return Report(name, own, places, trouble, list(done), phantoms)

    async def mend(self, who: str) -> Report:
        """Raise the generation where numbers were given twice, and bring this service back where it parted."""
        done = await self._mend_feeds()
        _, differences = await self.compare()
        done += [await self.go_back(d, who) for d in differences if d.since]
        return await self.report(done)

    async def compare(self) -> tuple[list[PlaceShown], list[Difference]]:
        """Every partition this service consumes. Each is asked for: nothing is taken from what is believed to be so."""
        places: list[PlaceShown] = []
        differences: list[Difference] = []
        for feed in self.sink.consumes:
            partitions = [(feed, n) for n in range(feeds()[feed].partitions)]
            known = await self.sink.places(partitions)
            for partition, head in zip(partitions, await self.reader.heads(feed), strict=True):
                place = known[partition]
                own = await self._ledgers_id(partition, place.next - 1)
                agrees = standing(place, head, own or "none") == ""
                places.append(PlaceShown(*partition, place.next, head.head, agrees))
                if not agrees:
                    differences.append(await self._difference(partition, place, head))
        return places, differences

    async def _difference(self, partition: Partition, place: Place, head: Head) -> Difference:
        feed, number = partition
        async with self.sink.ledger.engine.connect() as conn:
            where = self._where(partition)
            oldest = (await conn.execute(_OLDEST, where)).scalar() or place.next

            async def same(position: int) -> bool:
                if position > head.head:
                    return False
                own = await self._ledgers_id(partition, position)
                return own == await _had_at(conn, where, position)

            since = await first_difference(oldest, place.next, same)
            if since >= place.next or (since == oldest and oldest > 1):
                return Difference(feed, number, place, head)
            last_id = await _had_at(conn, where, since - 1) if since > 1 else ""
            had = [str(r.id) for r in (await conn.execute(_HAD_SINCE, {**where, "since": since})).all()]
        # What a restored ledger kept has at most the number it had before: the new events come after it.
        there: set[str] = set()
        for first in range(since, min(place.next, head.head + 1), READ_LIMIT):
            records = await self.reader.read(feed, number, first, min(READ_LIMIT, place.next - first))
            there |= {r.id for r in records}
        return Difference(
            feed,
            number,
            place,
            head,
            since,
            last_id,
            gone=tuple(i for i in had if i not in there),
            kept=tuple(i for i in had if i in there),
        )

    async def go_back(self, difference: Difference, who: str) -> str:
        """To the last event that both have; what came after is remembered as had."""
        partition = (difference.feed, difference.partition)
        row = {
            **self._where(partition),
            "since": difference.since,
            "next": difference.place.next,
            "last_id": difference.last_id,
            "generation": difference.head.generation_at(difference.since - 1),
            "who": who,
        }
        async with self.sink.ledger.engine.begin() as conn:
            now = (await progress.lock(conn, self.sink.consumer, [partition]))[partition].place
            if (now.next, now.last_id) != (difference.place.next, difference.place.last_id):
                raise Refused(
                    f"{difference.feed}/{difference.partition} moved meanwhile: it is not red. Look again."
                )
            await conn.execute(_SUPERSEDE, row)
            await conn.execute(_UNPARK, row)
            for statement in _CUT_OFF:
                await conn.execute(statement, row)
            await conn.execute(_GO_BACK, row)
        return (
            f"feed {difference.feed}, partition {difference.partition}: {self.sink.consumer} went back from position"
            f" {difference.place.next - 1} to {difference.since - 1} and takes the ledger's events from there."
        )

    async def _own_feeds(self, connection: asyncpg.Connection, trouble: list[str]) -> list[FeedShown]:
        verdicts = await restored.examine(connection, self.relay.feeds, self.relay.kafka)
        why = restored.moved(*await restored.seen_and_now(connection))
        shown: list[FeedShown] = []
        for name, verdict in verdicts.items():
            wrong = verdict.forked or verdict.restored or why
            if wrong:
                trouble.append(f"feed {name}: {wrong}.")
            heads = await restored.heads_of(connection, name)
            head, sent = sum(h.head for h in heads), sum(h.sent for h in heads)
            shown.append(FeedShown(name, head, sent, await restored.generations_of(connection, name), wrong))
        return shown

    async def _mend_feeds(self) -> list[str]:
        connection = await self.relay.connect("reconcile")
        try:
            verdicts = await restored.examine(connection, self.relay.feeds, self.relay.kafka)
            was, now = await restored.seen_and_now(connection)
            forked = any(v.forked for v in verdicts.values())
            why = next(
                (t for v in verdicts.values() if (t := v.forked or v.restored)), restored.moved(was, now)
            )
            if not why:
                return []
            forks = await restored.forks_of(connection, self.relay.feeds, self.relay.kafka) if forked else {}
            generation = await restored.raise_generation(
                connection,
                self.relay.feeds,
                known=max(v.newest for v in verdicts.values()),
                why=why,
                seen=now,
                forks=forks,
            )
        finally:
            await connection.close()
        begins = [
            f"at position {position} of partition {partition}"
            for some in forks.values()
            for partition, position in sorted(some.items())
        ]
        names = ", ".join(verdicts)
        return [f"feed {names}: generation {generation} begins after each head{', '.join(['', *begins])}."]

    async def _phantoms(self, connection: asyncpg.Connection) -> list[Phantom]:
        async with self.sink.ledger.engine.connect() as conn:
            rows = (await conn.execute(_PHANTOMS, {"consumer": self.sink.consumer, "limit": SHOWN})).all()
        caused: dict[str, list[str]] = {}
        if rows:
            ids = [str(row.event_id) for row in rows]
            for event in await connection.fetch(_CAUSED, ids, SHOWN):
                told = f"{event['type']} {event['stream']}@{event['version']}"
                caused.setdefault(event["causation_id"], []).append(told)
        return [
            Phantom(
                str(row.event_id),
                row.feed,
                row.partition,
                row.position,
                row.superseded_at.isoformat(),
                caused.get(str(row.event_id), []),
            )
            for row in rows
        ]

    async def _ledgers_id(self, partition: Partition, position: int) -> str:
        """Empty where the ledger has none."""
        records = await self.reader.read(*partition, position, 1) if position > 0 else []
        return records[0].id if records else ""

    def _where(self, partition: Partition) -> dict[str, object]:
        return {"consumer": self.sink.consumer, "feed": partition[0], "partition": partition[1]}


async def first_difference(low: int, end: int, same: Callable[[int], Awaitable[bool]]) -> int:
    """The first position from `low` on that is not the same, given that none is after it; `end` when all are."""
    while low < end:
        middle = (low + end) // 2
        if await same(middle):
            low = middle + 1
        else:
            end = middle
    return low


async def _had_at(conn: AsyncConnection, where: dict[str, object], position: int) -> str:
    row = (await conn.execute(_HAD_AT, {**where, "position": position})).one_or_none()
    return str(row.id) if row and row.id else ""
