"""People and rules that arrive together never miss each other; and the tables never drift from the streams."""

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

import pytest
from sqlalchemy import text

from enrollment import handlers
from enrollment.enrollment import fold
from enrollment.rule import Draft
from enrollment.rules import parse, sentence
from enrollment.store import book, records
from lyceum.enrollment.v1 import events_pb2 as pb
from lyceum.identity.v1.events_pb2 import UserProvisioned
from lyceum_kit import timers
from lyceum_kit.appending import Origin
from lyceum_kit.consumer import Event
from lyceum_kit.delivery import emitted
from lyceum_kit.ledger import Tx

SECURITY = "01990000-0000-7000-8000-0000000000c1"
ONBOARDING = "01990000-0000-7000-8000-0000000000c2"
PITCHING = "01990000-0000-7000-8000-0000000000c3"
ENGINEERING_PATH = "01990000-0000-7000-8000-0000000000f1"
AT_ONCE = 8  # pairs
IDLE = 3.0  # seconds a control's hire waits, in its transaction: PostgreSQL ends a session that idles for 5


@pytest.mark.parametrize("locked", [True, False], ids=["as built", "control"])
@pytest.mark.parametrize("pairs", [50, pytest.param(1000, marks=pytest.mark.faults)])
async def test_people_and_rules_that_arrive_together_never_miss_each_other(
    school: Any, facts: Any, ids: Any, monkeypatch: pytest.MonkeyPatch, pairs: int, locked: bool
) -> None:
    """Each hire races the activation and the pass of the rule that means this person and nobody else. The control
    takes no lock: a hire has read the rules before the rule was active, the pass was over before the hire committed.
    """
    if not locked:
        monkeypatch.setattr(book, "lock_shared", _no_lock)
        monkeypatch.setattr(book, "lock_exclusive", _no_lock)
    monkeypatch.setattr(timers, "AT_ONCE", 1)  # eight who settle at once are enough
    books = handlers.Books()
    people = [ids(0x3000 + n) for n in range(pairs)]
    rules: list[str] = []
    for n in range(pairs):
        condition = parse(facts.is_("job_title", f"Title {n}"))
        said = Draft(
            f"Rule {n}", condition, facts.is_("job_title", f"Title {n}"), sentence(condition), (SECURITY,), (), 30,
            "withdraw_if_incomplete",
        )  # fmt: skip
        rules.append(
            await school.ledger.run(school.tenant, handlers.draft_rule, said, books=books, actor="root")
        )

    passed = [asyncio.Event() for _ in range(pairs)]
    nothing: Any = None

    async def hire(tx: Tx, n: int) -> None:
        hired = UserProvisioned(person_id=people[n], job=facts.job(job_title=f"Title {n}"))
        await handlers.on_people(tx, [Event(hired, nothing, Origin.request("hr"))], books=books)
        with contextlib.suppress(TimeoutError):  # the worst moment to commit; under the lock it never comes
            async with asyncio.timeout(0.05 if locked else IDLE):
                await passed[n].wait()

    async def activate(n: int) -> None:
        await school.ledger.run(school.tenant, handlers.activate_rule, rules[n], books=books, actor="root")
        await school.settle()
        passed[n].set()

    room = asyncio.Semaphore(AT_ONCE)

    async def pair(n: int) -> None:
        async with room:
            await asyncio.gather(school.ledger.run(school.tenant, hire, n), activate(n))

    await asyncio.gather(*(pair(n) for n in range(pairs)))
    await school.settle()
    async with school.ledger.read(school.tenant) as conn:
        held = await records.held_by(conn, school.tenant, people)
    grounds = [[g.ground_id for v in held[p].enrollments.values() for g in v.state.grounds] for p in people]
    enrolled = (await school.said()).count("LearnerEnrolled")
    if locked:
        assert grounds == [[rule] for rule in rules]
        assert enrolled == pairs
    else:
        assert enrolled < pairs, "the control missed nobody: this run proves nothing"


async def _no_lock(*_: object) -> None:
    return


async def test_only_passes_that_can_meet_at_an_enrolment_wait_for_each_other(school: Any, ids: Any) -> None:
    people = [ids(0x5000 + n) for n in range(3)]
    for person in people:
        await school.hire(person)
    books = handlers.Books()
    same = ("first", "second", "third")
    targets = {"alone": [PITCHING], "aside": [ONBOARDING]} | {name: [SECURITY] for name in same}
    rules = {name: await school.draft(name=name, course_ids=courses) for name, courses in targets.items()}
    for rule_id in rules.values():
        await school.ledger.run(school.tenant, handlers.activate_rule, rule_id, books=books, actor="root")

    async def pass_of(
        name: str, begun: asyncio.Event | None = None, over: asyncio.Event | None = None
    ) -> None:
        async def run(tx: Tx) -> None:
            timer = timers.Timer(handlers.EVERYBODY, name, tx.now, {"rule_id": rules[name], "after": ""})
            await handlers.on_rule_pass(tx, timer, books=books, chunk=9)
            await tx.flush()
            if begun and over:
                begun.set()
                await over.wait()

        await school.ledger.run(school.tenant, run)

    async def waits_for(name: str, work: Coroutine[Any, Any, None]) -> bool:
        """Whether `work` cannot end before the pass that began first."""
        begun, over = asyncio.Event(), asyncio.Event()
        holder = asyncio.create_task(pass_of(name, begun, over))
        await begun.wait()
        task = asyncio.create_task(work)
        blocked = False
        async with school.ledger.engine.connect() as conn:
            while not (blocked or task.done()):
                blocked = bool(await conn.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))
        over.set()
        await asyncio.gather(holder, task)
        return blocked

    assert not await waits_for("alone", pass_of("aside"))
    assert await waits_for("first", pass_of("second"))
    assert await waits_for("third", school.move(people[0], "Sales"))
    await school.settle()
    for person in people[1:]:
        has = await school.has(person)
        assert {c: {g["ground_id"] for g in has[c]["grounds"]} for c in has} == {
            PITCHING: {rules["alone"]}, ONBOARDING: {rules["aside"]}, SECURITY: {rules[name] for name in same},
        }  # fmt: skip


async def test_many_hands_at_one_person_make_one_enrolment(school: Any) -> None:
    person = "01990000-0000-7000-8000-0000000000ad"
    await school.hire(person)
    rule_id = await school.draft(course_ids=[SECURITY])

    async def by_hand() -> int:
        async with school.as_("admin") as http:
            body = {"person_id": person, "course_id": SECURITY}
            return (await http.post("/api/enrollment/enrollments", json=body)).status_code

    async def activate() -> int:
        async with school.as_("admin") as http:
            return (await http.post(f"/api/enrollment/rules/{rule_id}/activate")).status_code

    codes = await asyncio.gather(activate(), *(by_hand() for _ in range(8)))
    assert sorted(codes) == [200] * 8 + [201]
    await school.settle()
    hers = (await school.has(person))[SECURITY]
    assert {g["kind"] for g in hers["grounds"]} == {"rule", "manual"}
    assert (await school.said()).count("LearnerEnrolled") == 1


async def test_the_tables_are_what_the_streams_say(school: Any, facts: Any, ids: Any) -> None:
    people = [ids(0x4000 + n) for n in range(6)]
    for person in people:
        await school.hire(person)
    await school.rule(course_ids=[SECURITY], path_ids=[ENGINEERING_PATH], due_in_days=9)
    await school.rule(
        name="Berlin", condition=facts.is_("location", "Berlin"), course_ids=[SECURITY], due_in_days=3
    )
    await school.rule(name="Pitch", course_ids=[PITCHING], due_in_days=5)  # in sets: nobody has had it before
    for module in ("m1", "m2"):
        await school.finish((await school.has(people[0]))[SECURITY], module, score=70.0)
    await school.finish((await school.has(people[1]))[SECURITY], "m1")
    await school.move(people[1], "Sales")
    await school.move(people[2], "Engineering", location="Munich")
    await school.leave(people[3])
    await school.leave(people[4])
    await school.rehire(people[4])
    school.clock.now = school.clock.now.replace(month=12, day=20)
    await school.settle()

    said: dict[str, list[Any]] = {}
    events: list[Any] = list(await emitted(school.ledger, school.tenant))
    for event in events:
        if hasattr(event, "enrollment_id") and not isinstance(event, pb.PathAssigned):
            said.setdefault(event.enrollment_id, []).append(event)
    async with school.ledger.read(school.tenant) as conn:
        held = await records.held_by(conn, school.tenant, people)
    versioned = [v for one in held.values() for v in one.enrollments.values()]
    assert {v.state.enrollment_id for v in versioned} == set(said)
    states = set[str]()
    for one in versioned:
        events = said[one.state.enrollment_id]
        told = fold(events)
        assert told
        assert len(events) == one.version
        assert {g.key: g for g in told.grounds} == {g.key: g for g in one.state.grounds}
        for name in ("state", "due", "overdue", "completed_at", "done", "course_version", "enrolled_at"):
            assert getattr(told, name) == getattr(one.state, name), name
        states.add("overdue" if one.state.overdue else one.state.state)
    assert {"completed", "withdrawn", "overdue"} <= states
