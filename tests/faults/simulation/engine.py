"""Ledgers, a wire and consumers in memory, in one thread: what happens next, and what goes wrong, a seed decides.

The consumers run the kit's own Intake and `cut`, and records go through the kit's own headers; only what they stand on is
played: PostgreSQL and Kafka in stores.py, gRPC here.
"""

import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from lyceum_kit.envelope import Record
from lyceum_kit.errors import Unavailable
from lyceum_kit.feed import Head
from lyceum_kit.intake import Cut, Cutter, Intake, Partition, Place
from lyceum_kit.topics import feeds
from tests.faults.simulation.stores import (
    GENERATION,
    Bug,
    Crashed,
    Database,
    Handler,
    Log,
    Tx,
    run,
)


class Reader:
    """EventFeed of every producer, unless it is away."""

    def __init__(self, world: "Platform") -> None:
        self._world = world

    async def heads(self, feed: str) -> list[Head]:
        db = self._there(feed)
        return [
            Head(len(events), db.sent[n], ((GENERATION, 1),), str(events[-1].id) if events else "")
            for n in range(feeds()[feed].partitions)
            for events in [db.numbered[n]]
        ]

    async def read(self, feed: str, partition: int, first: int, limit: int) -> list[Record]:
        db = self._there(feed)
        last = min(first + limit - 1, len(db.numbered[partition]))
        return [db.record(partition, n, self._world.now) for n in range(first, last + 1)]

    def _there(self, feed: str) -> Database:
        if feed in self._world.away:
            raise Unavailable(f"{feed} is away")
        return self._world.databases[feed]


@dataclass
class Sink:
    """The handlers of one service over its database; dies where the scheduler says so."""

    service: str
    world: "Platform"
    handlers: Mapping[str, Handler]
    believed: dict[Partition, Place] = field(default_factory=dict[Partition, Place])

    @property
    def remedy(self) -> str:
        return "none"

    async def places(self, partitions: Sequence[Partition]) -> dict[Partition, Place]:
        return {p: self._place(p) for p in partitions}

    def _place(self, partition: Partition) -> Place:
        db = self.world.databases[self.service]
        return db.rows.get(("progress", partition[0], str(partition[1])), Place())

    async def apply(
        self, records: Mapping[Partition, Sequence[Record]], cut: Cutter
    ) -> dict[Partition, tuple[Place, Cut]]:
        world, results = self.world, dict[Partition, tuple[Place, Cut]]()
        tx = Tx(world.databases[self.service])
        for partition, some in records.items():
            place = self._place(partition)
            if world.bug == "trusts its own place":
                place = self.believed.setdefault(partition, place)
            result = cut(partition, place, some)
            after = result.place_after(place)
            results[partition] = (after, result)
            tx.put(after, "progress", partition[0], str(partition[1]))
        if world.bug == "advances before the effect":
            tx.commit()
            tx = Tx(world.databases[self.service])
        world.may_crash("between progress and effect")
        for partition, (_, result) in results.items():
            for record in result.run:
                self._handle(tx, record)
                had = tx.get("had", partition[0], str(partition[1]), default=())
                tx.put((*had, record.id), "had", partition[0], str(partition[1]))
        world.may_crash("before the commit")
        tx.commit()
        self.believed |= {partition: place for partition, (place, _) in results.items()}
        world.may_crash("after the commit")
        return results

    def _handle(self, tx: Tx, record: Record) -> None:
        assert record.meta
        if handler := self.handlers.get(record.meta.type) or self.handlers.get("*"):
            kind = feeds()[record.feed].messages[record.meta.type]
            handler(tx, record if "*" in self.handlers else kind.FromString(record.value), record.meta)

    async def raise_alarm(self, partition: Partition, alarm: str) -> None:
        assert not alarm.startswith("red:"), alarm  # nothing was restored in here

    async def count_healed(self, partition: Partition, events: int) -> None:
        self.world.healed += events


@dataclass
class Member:
    """One consuming process: what it has polled and not handled yet, and where it polls next."""

    service: str
    world: "Platform"
    consumes: Sequence[str]
    handlers: Mapping[str, Handler]
    intake: Intake = field(init=False)
    offsets: dict[Partition, int] = field(default_factory=dict[Partition, int])
    hand: dict[Partition, tuple[int, list[Record], int]] = field(
        default_factory=dict[Partition, tuple[int, list[Record], int]]
    )

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """As after a crash: what it knew is gone, Kafka says where to go on."""
        sink = Sink(self.service, self.world, self.handlers)
        self.intake = Intake(self.service, sink, self.world.reader)  # type: ignore[arg-type] - its two calls
        self.offsets, self.hand = {}, {}

    @property
    def assigned(self) -> list[Partition]:
        return [p for p, owner in self.world.owners[self.service].items() if owner is self]

    def poll(self) -> None:
        chance = self.world.chance
        for partition in self.assigned:
            at = self.offsets.get(partition, self.world.committed[self.service].get(partition, 0))
            found, after = self.world.wire[partition].poll(at, chance.randint(1, 8))
            self.offsets[partition] = after
            if found:
                self.hand[partition] = (at, found, after)

    def handle(self) -> None:
        """What it has in hand, also when the partition is another member's by now."""
        hand, self.hand = self.hand, {}
        try:
            run(self.intake.process([r for _, some, _ in hand.values() for r in some]))
        except Unavailable:
            self.offsets |= {partition: at for partition, (at, _, _) in hand.items()}
            return
        self.world.may_crash("before the offsets")
        self.world.committed[self.service] |= {p: after for p, (_, _, after) in hand.items()}

    def complete(self) -> None:
        drained = {
            p: p not in self.hand and self.offsets.get(p, 0) >= self.world.wire[p].end for p in self.assigned
        }
        try:
            run(self.intake.complete(drained))
        except Unavailable:
            return


class Platform:
    """All services, and the scheduler that mistreats them."""

    def __init__(self, seed: int, bug: Bug = "") -> None:
        self.chance = random.Random(seed)
        self.bug: Bug = bug
        self.now = datetime(2027, 3, 1, tzinfo=UTC)
        self.databases = {s: Database(feeds().get(s), self.new_id) for s in (*feeds(), "analytics")}
        self.wire: dict[Partition, Log] = defaultdict(Log)
        self.owners: dict[str, dict[Partition, Member]] = defaultdict(dict)
        self.committed: dict[str, dict[Partition, int]] = defaultdict(dict)
        self.reader = Reader(self)
        self.away: set[str] = set()
        self.members: list[Member] = []
        self.open: list[tuple[str, Tx]] = []  # commands between their ids and their commit
        self.in_flight: list[tuple[str, int, list[Record]]] = []  # sent by a relay, not arrived yet
        self.deadly = True
        self.healed = 0
        self.trace: list[str] = []

    def new_id(self) -> UUID:
        return UUID(int=self.chance.getrandbits(128), version=4)

    def join(self, service: str, consumes: Sequence[str], handlers: Mapping[str, Handler]) -> None:
        self.members.append(Member(service, self, consumes, handlers))

    def may_crash(self, _where: str) -> None:
        if self.deadly and self.chance.random() < 0.03:
            raise Crashed

    def step(self, commands: Sequence[Callable[[], None]]) -> None:
        """One thing happens."""
        self.now += timedelta(minutes=self.chance.randint(0, 90))
        happenings: Sequence[tuple[int, Callable[[], None]]] = (
            (6, self.chance.choice(commands)),
            (4, self._commit_one),
            (8, self._relay),
            (4, self._arrive),
            (10, self._poll),
            (10, self._handle),
            (6, self._complete),
            (2, self._rebalance),
            (1, self._lose),
            (1, self._move_offsets),
            (1, self._leave),
        )
        weights, actions = zip(*happenings, strict=True)
        (action,) = self.chance.choices(actions, weights)
        action()

    def happened(self, what: str) -> None:
        self.trace.append(what)

    # Producers

    def begin(self, service: str, write: Callable[[Tx], None], stream: str) -> None:
        """A command takes its ids; when it commits, the scheduler decides."""
        mine = [tx for name, tx in self.open if name == service]
        if self.databases[service].busy(stream, mine):
            return  # it would lose the race and try again later
        tx = Tx(self.databases[service])
        write(tx)
        self.open.append((service, tx))
        self.happened(f"begin {service} {stream} {len(tx.appended)}")

    def _commit_one(self) -> None:
        if self.open:
            service, tx = self.open.pop(self.chance.randrange(len(self.open)))
            tx.commit()
            self.happened(f"commit {service}")

    def _relay(self) -> None:
        """Number and send; what arrives, when, how often and in which order the wire decides."""
        name = self.chance.choice(list(feeds()))
        db = self.databases[name]
        db.number(self.bug)
        for partition, events in sorted(db.numbered.items()):
            first = db.sent[partition] + 1
            if first > len(events):
                continue
            records = [db.record(partition, n, self.now) for n in range(first, len(events) + 1)]
            self.in_flight.append((name, partition, records))
            if self.chance.random() < 0.3:
                continue  # it dies before it hears the acknowledgement: sent again, with the same numbers
            self._arrive(-1)
            db.sent[partition] = len(events)
        self.happened(f"relay {name}")

    def _arrive(self, which: int | None = None) -> None:
        if self.in_flight:
            index = self.chance.randrange(len(self.in_flight)) if which is None else which
            name, partition, records = self.in_flight.pop(index)
            self.wire[name, partition].append(records)
            self.happened(f"arrive {name} {partition} {len(records)}")

    # Consumers

    def _some(self) -> Member:
        return self.chance.choice(self.members)

    def _mortal(self, member: Member, what: Callable[[], None], name: str) -> None:
        try:
            what()
            self.happened(f"{name} {member.service}")
        except Crashed:
            member.start()
            self.happened(f"{name} {member.service} died")

    def _poll(self) -> None:
        member = self._some()
        if not member.hand:
            self._mortal(member, member.poll, "poll")

    def _handle(self) -> None:
        member = self._some()
        if member.hand:
            self._mortal(member, member.handle, "handle")

    def _complete(self) -> None:
        member = self._some()
        self._mortal(member, member.complete, "complete")

    def _rebalance(self) -> None:
        """Partitions move; whoever had polled them handles what it has in hand all the same, later."""
        service = self._some().service
        group = [m for m in self.members if m.service == service]
        for name in group[0].consumes:
            for number in range(feeds()[name].partitions):
                owner = self.chance.choice(group)
                if self.owners[service].get((name, number)) is not owner:
                    owner.offsets.pop((name, number), None)
                self.owners[service][name, number] = owner
        self.happened(f"rebalance {service}")

    # The wire

    def _lose(self) -> None:
        if not self.wire:
            return
        lost = self.chance.choice(["head", "tail", "everything"])
        for partition in self.wire if lost == "everything" else [self.chance.choice(list(self.wire))]:
            log = self.wire[partition]
            at = self.chance.randint(log.start, log.end)
            if lost == "head":
                log.lose_head(at)
            elif lost == "tail":
                log.lose_tail(at)
            else:
                self.wire[partition] = Log()
        self.happened(f"lose {lost}")

    def _move_offsets(self) -> None:
        member = self._some()
        for partition in member.assigned:
            self.committed[member.service][partition] = self.chance.randint(0, self.wire[partition].end)
            member.offsets.pop(partition, None)
        self.happened(f"move {member.service}")

    def _leave(self) -> None:
        """A producer is away, or comes back."""
        name = self.chance.choice(list(feeds()))
        self.away ^= {name}
        self.happened(f"away {sorted(self.away)}")

    # The end

    def settle(self) -> None:
        """Nothing goes wrong any more: everything must arrive."""
        self.deadly = False
        self.away.clear()
        while self.open:
            self._commit_one()
        while self.in_flight:
            self._arrive()
        for service in {m.service for m in self.members}:
            last = [m for m in self.members if m.service == service][-1]
            for name in last.consumes:
                self.owners[service] |= dict.fromkeys(
                    ((name, n) for n in range(feeds()[name].partitions)), last
                )
        for _ in range(60):
            for name, db in self.databases.items():
                db.number(self.bug)
                for partition, events in db.numbered.items():
                    records = [
                        db.record(partition, n, self.now)
                        for n in range(db.sent[partition] + 1, len(events) + 1)
                    ]
                    self.wire[name, partition].append(records)
                    db.sent[partition] = len(events)
            for member in self.members:
                if member.hand:
                    member.handle()
                member.poll()
                if member.hand:
                    member.handle()
                member.complete()
            if self.lag() == 0 and not any(db.outbox for db in self.databases.values()):
                return
        raise AssertionError(f"it never settles: {self.lag()} behind")

    def lag(self) -> int:
        behind = 0
        for member in self.members:
            rows = self.databases[member.service].rows
            for name in member.consumes:
                for number, events in self.databases[name].numbered.items():
                    behind += len(events) + 1 - rows.get(("progress", name, str(number)), Place()).next
        return behind

    def check(self) -> None:
        """Every event is numbered once and in its stream's order, and was had once by each consumer, in that order."""
        for name, db in self.databases.items():
            committed = {e.id for events in db.streams.values() for e in events}
            numbered = [e for events in db.numbered.values() for e in events]
            assert {e.id for e in numbered} == committed, f"{name}: committed and never numbered"
            assert len(numbered) == len(committed), f"{name}: numbered twice"
            for number, events in db.numbered.items():
                last: dict[str, int] = defaultdict(int)
                for event in events:
                    last[event.stream] += 1
                    assert event.version == last[event.stream], f"{name}/{number}: a stream is out of order"
        for member in self.members:
            for name in member.consumes:
                for number, events in self.databases[name].numbered.items():
                    had = self.databases[member.service].rows.get(("had", name, str(number)), ())
                    assert list(had) == [str(e.id) for e in events], f"{member.service} of {name}/{number}"
