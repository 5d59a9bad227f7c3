"""Stories over the real database. Every fact is told twice."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from enrollment.errors import UnknownEnrollment
from enrollment.store import book
from enrollment.store.people import concerned, find_person
from lyceum.assessment.v1.events_pb2 import ModuleCompleted
from lyceum.catalog.v1.events_pb2 import CourseDeprecated
from lyceum.identity.v1.events_pb2 import TenantCreated, UserProvisioned

ADA = "01990000-0000-7000-8000-0000000000ad"
GRACE = "01990000-0000-7000-8000-0000000000ac"
HANS = "01990000-0000-7000-8000-0000000000ab"
SECURITY = "01990000-0000-7000-8000-0000000000c1"
ONBOARDING = "01990000-0000-7000-8000-0000000000c2"
PITCHING = "01990000-0000-7000-8000-0000000000c3"
ENGINEERING_PATH = "01990000-0000-7000-8000-0000000000f1"


async def test_ada_is_hired_moves_leaves_and_comes_back(school: Any, facts: Any) -> None:
    await school.hire(HANS, "Sales")
    engineering = await school.rule(course_ids=[SECURITY], path_ids=[ENGINEERING_PATH], due_in_days=30)
    sales = await school.rule(
        name="Sales basics", condition=facts.is_("department", "Sales"), course_ids=[PITCHING]
    )
    assert await school.has(ADA) == {}

    # Hired: enrolled in what the rule asks for, she and nobody else.
    await school.hire(ADA, "Engineering", manager_id=GRACE)
    hers = await school.has(ADA)
    assert set(hers) == {SECURITY, ONBOARDING}
    assert set(await school.has(HANS)) == {PITCHING}
    assert hers[SECURITY]["due_date"] == "2026-12-24"
    assert hers[SECURITY]["due_at"] == "2026-12-24T23:00:00Z"  # the day's end in Berlin
    assert hers[SECURITY]["mandatory"]
    assert hers[SECURITY]["why"] == [
        "Because department is Engineering (rule Engineering basics, version 1)",
        "Part of the path Engineering Onboarding, which you follow because department is Engineering"
        " (rule Engineering basics, version 1)",
    ]
    assert {(g["kind"], g["ground_id"], g["via"]) for g in hers[SECURITY]["grounds"]} == {
        ("rule", engineering, None),
        ("path", ENGINEERING_PATH, engineering),
    }
    assert not hers[SECURITY]["locked"]
    assert (hers[ONBOARDING]["locked"], hers[ONBOARDING]["locked_by"]) == (True, [SECURITY])

    # She completes security, which opens what comes after it.
    await school.finish(hers[SECURITY], "m1")
    assert (await school.has(ADA))[SECURITY]["modules_done"] == 1
    await school.finish(hers[SECURITY], "m2", assurance="server-graded", score=90.0)
    hers = await school.has(ADA)
    assert (hers[SECURITY]["state"], hers[SECURITY]["modules_done"]) == ("completed", 2)
    assert not hers[ONBOARDING]["locked"]

    # In Sales the rules follow: what engineering asked for ends, what she completed stays.
    await school.move(ADA, "Sales")
    hers = await school.has(ADA)
    assert {c: e["state"] for c, e in hers.items()} == {
        SECURITY: "completed",
        ONBOARDING: "withdrawn",
        PITCHING: "active",
    }
    assert [g["ground_id"] for g in hers[PITCHING]["grounds"]] == [sales]
    stream = f"path-enrollment/{ADA}/{ENGINEERING_PATH}"
    assert await school.said(stream) == ["PathAssigned", "PathWithdrawn"]

    # She leaves: what is open ends, the record stays.
    await school.leave(ADA)
    hers = await school.has(ADA)
    assert {c: e["state"] for c, e in hers.items()} == {
        SECURITY: "completed",
        ONBOARDING: "withdrawn",
        PITCHING: "withdrawn",
    }

    # Back in Engineering: the same registration goes on, and the path can be finished.
    before = hers[ONBOARDING]["enrollment_id"]
    await school.rehire(ADA, "Engineering")
    hers = await school.has(ADA)
    assert (hers[ONBOARDING]["state"], hers[ONBOARDING]["enrollment_id"]) == ("active", before)
    await school.finish(hers[ONBOARDING], "m1")
    assert (await school.has(ADA))[ONBOARDING]["state"] == "completed"
    assert await school.said(stream) == ["PathAssigned", "PathWithdrawn", "PathAssigned", "PathCompleted"]
    assert await school.said(f"enrollment/{before}") == [
        "LearnerEnrolled",
        "EnrollmentWithdrawn",
        "EnrollmentResumed",
        "ModuleProgressed",
        "CourseCompleted",
    ]


async def test_the_same_record_twice_is_one_enrolment(school: Any, facts: Any) -> None:
    await school.rule(course_ids=[SECURITY])
    hired = UserProvisioned(person_id=ADA, job=facts.job())
    await school.deliver.twice(hired, tenant=school.tenant, stream=f"person/{ADA}")
    assert (await school.said()).count("LearnerEnrolled") == 1


@pytest.mark.parametrize("seed", range(5))
async def test_shuffled_and_doubled_records_end_in_the_same_state(
    school: Any, facts: Any, ids: Any, seed: int
) -> None:
    await school.rule(course_ids=[SECURITY])
    people = [ids(0x1000 + n) for n in range(12)]
    records = [
        school.deliver.record(
            UserProvisioned(person_id=p, job=facts.job("Engineering" if n % 2 else "Sales")),
            tenant=school.tenant,
            stream=f"person/{p}",
        )
        for n, p in enumerate(people)
    ]
    await school.deliver.shuffled(records, seed)
    for n, person in enumerate(people):
        assert set(await school.has(person)) == ({SECURITY} if n % 2 else set())
    assert (await school.said()).count("LearnerEnrolled") == 6


async def test_activating_a_rule_enrols_whoever_is_there_already_in_chunks(school: Any, ids: Any) -> None:
    people = [ids(0x1000 + n) for n in range(8)]  # three chunks of three
    for person in people:
        await school.hire(person)
    rule_id = await school.rule(course_ids=[SECURITY])
    for person in people:
        assert set(await school.has(person)) == {SECURITY}
    async with school.as_("admin") as http:
        answer = await http.post(f"/api/enrollment/rules/{rule_id}/retire")
        assert answer.json()["state"] == "retired"
    await school.settle()
    for person in people:
        assert (await school.has(person))[SECURITY]["state"] == "withdrawn"


async def test_a_pass_reads_nobody_for_whom_its_rule_is_done(school: Any, facts: Any) -> None:
    await school.hire(ADA)
    await school.hire(GRACE)
    await school.hire(HANS, "Sales")
    rule_id = await school.rule(course_ids=[SECURITY, PITCHING], due_in_days=30)

    async def read(*, as_a_pass: bool = True) -> list[str]:
        async with school.ledger.read(school.tenant) as conn:
            active = (await book.Books().read(conn, school.tenant)).active[rule_id]
            found = await concerned(
                conn, school.tenant, rule_id, active.draft.condition, after=None, limit=9,
                rule=active if as_a_pass else None,
            )  # fmt: skip
        return [c.person.person_id for c in found]

    assert await read() == []
    assert await read(as_a_pass=False) == [GRACE, ADA]
    await school.leave(ADA)
    await school.rehire(ADA)
    assert await read() == []
    async with school.as_("admin") as http:
        said = {"name": "Less", "condition": facts.is_("department", "Engineering"), "course_ids": [SECURITY]}
        answer = await http.put(f"/api/enrollment/rules/{rule_id}", json=said)
        assert answer.status_code == 200, answer.text
        await http.post(f"/api/enrollment/rules/{rule_id}/activate")
    assert await read() == [GRACE, ADA]
    await school.settle()
    assert await read() == []


async def test_a_new_version_of_a_rule_holds_only_once_it_is_activated(school: Any, facts: Any) -> None:
    await school.hire(ADA, "Engineering")
    await school.hire(HANS, "Sales")
    rule_id = await school.rule(course_ids=[SECURITY], due_in_days=10)
    body = {
        "name": "Sales basics",
        "condition": facts.is_("department", "Sales"),
        "course_ids": [SECURITY],
        "due_in_days": 20,
    }
    async with school.as_("admin") as http:
        changed = (await http.put(f"/api/enrollment/rules/{rule_id}", json=body)).json()
    assert (changed["rule_version"], changed["active_version"]) == (2, 1)
    await school.settle()
    assert await school.has(HANS) == {}
    await school.activate(rule_id)
    assert (await school.has(ADA))[SECURITY]["state"] == "withdrawn"
    his = (await school.has(HANS))[SECURITY]
    assert his["why"] == ["Because department is Sales (rule Sales basics, version 2)"]


async def test_a_new_version_moves_the_due_date_and_the_reason_of_those_it_keeps(
    school: Any, facts: Any
) -> None:
    await school.hire(ADA)
    rule_id = await school.rule(course_ids=[SECURITY], due_in_days=10)
    assert (await school.has(ADA))[SECURITY]["due_date"] == "2026-12-04"
    school.clock.now += timedelta(days=3)
    body = {"name": "Sooner", "condition": facts.is_("location", "Berlin"), "course_ids": [SECURITY]}
    async with school.as_("admin") as http:
        await http.put(f"/api/enrollment/rules/{rule_id}", json={**body, "due_in_days": 5})
    await school.activate(rule_id)
    hers = (await school.has(ADA))[SECURITY]
    assert hers["due_date"] == "2026-11-29"  # from when she was first meant
    assert hers["why"] == ["Because location is Berlin (rule Sooner, version 2)"]
    assert len(hers["grounds"]) == 1


async def test_the_earliest_due_date_wins_and_the_later_takes_over(school: Any, facts: Any) -> None:
    await school.rule(name="Slow", course_ids=[SECURITY], due_in_days=30)
    await school.rule(
        name="Fast", condition=facts.is_("location", "Berlin"), course_ids=[SECURITY], due_in_days=7
    )
    await school.hire(ADA)
    hers = (await school.has(ADA))[SECURITY]
    assert (hers["due_date"], len(hers["why"])) == ("2026-12-01", 2)
    await school.move(ADA, "Engineering", location="Munich")
    hers = (await school.has(ADA))[SECURITY]
    assert (hers["due_date"], len(hers["why"])) == ("2026-12-24", 1)


async def test_a_rule_that_keeps_leaves_the_course_open(school: Any) -> None:
    await school.rule(course_ids=[SECURITY], on_ground_lost="keep")
    await school.hire(ADA)
    await school.move(ADA, "Sales")
    hers = (await school.has(ADA))[SECURITY]
    assert (hers["state"], hers["grounds"]) == ("active", [])


async def test_an_enrolment_becomes_overdue_at_the_end_of_the_day_and_only_once(school: Any) -> None:
    await school.rule(course_ids=[SECURITY], due_in_days=1)
    await school.hire(ADA)
    school.clock.now = datetime(2026, 11, 25, 22, 59, 59, tzinfo=UTC)
    await school.settle()
    assert not (await school.has(ADA))[SECURITY]["overdue"]
    school.clock.now += timedelta(seconds=1)
    await school.settle()
    hers = (await school.has(ADA))[SECURITY]
    assert hers["overdue"]
    await school.settle()
    assert (await school.said()).count("EnrollmentOverdue") == 1
    await school.finish(hers, "m1")
    await school.finish(hers, "m2")
    hers = (await school.has(ADA))[SECURITY]
    assert (hers["state"], hers["overdue"]) == ("completed", False)


async def test_what_is_done_in_time_never_becomes_overdue(school: Any) -> None:
    await school.rule(course_ids=[ONBOARDING], due_in_days=1)
    await school.hire(ADA)
    await school.finish((await school.has(ADA))[ONBOARDING], "m1")
    school.clock.now += timedelta(days=9)
    await school.settle()
    assert "EnrollmentOverdue" not in await school.said()


async def test_the_pinned_version_stays_when_a_newer_is_published(school: Any, facts: Any) -> None:
    await school.rule(course_ids=[ONBOARDING])
    await school.hire(ADA)
    await school.tell(facts.course(ONBOARDING, version=2, modules=3))
    await school.hire(HANS)
    hers, his = (await school.has(ADA))[ONBOARDING], (await school.has(HANS))[ONBOARDING]
    assert (hers["course_version"], hers["modules_total"]) == (1, 1)
    assert (his["course_version"], his["modules_total"]) == (2, 3)
    await school.finish(hers, "m3")  # of version 2
    assert (await school.has(ADA))[ONBOARDING]["modules_done"] == 0


async def test_a_path_that_is_known_before_its_course_gives_the_course_later(
    school: Any, facts: Any, ids: Any
) -> None:
    late = ids(0xC9)
    await school.tell(facts.path_of(ids(0xF2), (SECURITY, ()), (late, (SECURITY,))))
    await school.rule(path_ids=[ids(0xF2)])
    await school.hire(ADA)
    assert set(await school.has(ADA)) == {SECURITY}
    await school.tell(facts.course(late))
    await school.settle()
    assert set(await school.has(ADA)) == {SECURITY, late}


async def test_nobody_begins_a_deprecated_course_but_who_began_may_finish(school: Any) -> None:
    await school.rule(course_ids=[ONBOARDING])
    await school.hire(ADA)
    await school.tell(CourseDeprecated(course_id=ONBOARDING, reason="outdated"))
    await school.hire(HANS)
    assert await school.has(HANS) == {}
    await school.finish((await school.has(ADA))[ONBOARDING], "m1")
    assert (await school.has(ADA))[ONBOARDING]["state"] == "completed"


async def test_a_path_is_complete_at_once_for_who_has_done_it_all(school: Any) -> None:
    await school.rule(course_ids=[SECURITY, ONBOARDING])
    await school.hire(ADA)
    hers = await school.has(ADA)
    for module in ("m1", "m2"):
        await school.finish(hers[SECURITY], module)
    await school.finish(hers[ONBOARDING], "m1")
    await school.rule(name="Path", path_ids=[ENGINEERING_PATH])
    stream = f"path-enrollment/{ADA}/{ENGINEERING_PATH}"
    assert await school.said(stream) == ["PathAssigned", "PathCompleted"]


async def test_a_path_of_two_rules_ends_with_the_second(school: Any, facts: Any) -> None:
    await school.rule(name="One", path_ids=[ENGINEERING_PATH])
    await school.rule(name="Two", condition=facts.is_("location", "Berlin"), path_ids=[ENGINEERING_PATH])
    await school.hire(ADA)
    stream = f"path-enrollment/{ADA}/{ENGINEERING_PATH}"
    await school.move(ADA, "Sales")
    assert await school.said(stream) == ["PathAssigned"]
    assert len((await school.has(ADA))[SECURITY]["grounds"]) == 1
    await school.move(ADA, "Sales", location="Munich")
    assert await school.said(stream) == ["PathAssigned", "PathWithdrawn"]


async def test_work_finished_while_withdrawn_counts_on_return(school: Any) -> None:
    await school.rule(course_ids=[ONBOARDING])
    await school.hire(ADA)
    hers = (await school.has(ADA))[ONBOARDING]
    await school.move(ADA, "Sales")
    await school.finish(hers, "m1")
    hers = (await school.has(ADA))[ONBOARDING]
    assert (hers["state"], hers["modules_done"]) == ("withdrawn", 1)
    await school.move(ADA, "Engineering")
    assert (await school.has(ADA))[ONBOARDING]["state"] == "completed"


async def test_a_completion_of_an_unknown_enrolment_is_parked_not_skipped(school: Any, ids: Any) -> None:
    stray = ModuleCompleted(
        attempt_id=ids(1), enrollment_id=ids(2), person_id=ADA, course_id=SECURITY, module_id="m1"
    )
    with pytest.raises(AssertionError, match=UnknownEnrollment.__name__):
        await school.deliver(stray, tenant=school.tenant, stream=f"attempt/{ids(1)}")


async def test_without_a_time_zone_of_their_own_people_get_their_tenants(school: Any) -> None:
    await school.tell(TenantCreated(tenant_id=str(school.tenant), slug="a", default_time_zone="Asia/Tokyo"))
    await school.rule(course_ids=[SECURITY], due_in_days=1)
    await school.hire(ADA, time_zone="")
    assert (await school.has(ADA))[SECURITY]["due_at"] == "2026-11-25T15:00:00Z"


async def test_of_the_erased_only_what_they_did_is_left(school: Any) -> None:
    await school.rule(course_ids=[SECURITY, ONBOARDING], due_in_days=30)
    await school.hire(ADA, job_title="Head of zq-marker")
    await school.finish((await school.has(ADA))[ONBOARDING], "m1")
    await school.leave(ADA)
    before, said = await school.has(ADA), await school.said()
    assert {before[c]["state"] for c in (SECURITY, ONBOARDING)} == {"withdrawn", "completed"}
    async with school.ledger.read(school.tenant) as conn:
        assert "zq-marker" in repr(await find_person(conn, school.tenant, ADA))
    await school.erase(ADA)
    async with school.ledger.read(school.tenant) as conn:
        left = await find_person(conn, school.tenant, ADA)
    assert left
    assert {name: value for name, value in left.facts.items() if value} == {"status": "terminated"}
    await school.rule(name="Everybody", course_ids=[PITCHING])
    await school.settle()
    assert await school.has(ADA) == before
    assert [kind for kind in (await school.said())[len(said) :] if not kind.startswith("Rule")] == []
    await school.erase(HANS)  # whom nobody here ever heard of
    async with school.ledger.read(school.tenant) as conn:
        assert await find_person(conn, school.tenant, HANS) is None
