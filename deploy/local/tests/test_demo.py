"""The demo's pure parts: the same people everywhere, who learn alike each time; and HR systems that identity believes."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from assessment import quiz as quizzes
from assessment.quiz import Grade
from identity.bamboohr import make_client, read_employee
from identity.errors import BadSignature
from identity.hris import BAMBOOHR_FIELDS, read_bamboohr
from identity.person import Described
from identity.signatures import verify_bamboohr, verify_standard
from lyceum_kit.errors import Unavailable
from lyceum_local.demo import hris, learners, lessons, memory, numbers, staff
from lyceum_local.demo.api import until
from lyceum_local.demo.learners import Temper
from lyceum_local.demo.publishing import CONTENT, RULES
from lyceum_local.remote import PlatformError

TODAY = date(2026, 11, 24)
LESSONS = lessons.read(CONTENT)
PERFECT = Temper("perfect", zeal=1, skill=1, tenacity=1)
HOPELESS = Temper("hopeless", zeal=0, skill=0, tenacity=0)


# ---- staff


def test_the_staff_is_the_same_on_every_machine_and_a_smaller_one_is_its_beginning() -> None:
    listed = staff.staff(TODAY, 300)
    assert listed == staff.staff(TODAY, 300)
    assert listed[:40] == staff.staff(TODAY, 40)
    assert len({p["external_id"] for p in listed}) == 300
    assert (listed[0]["display_name"], listed[0]["department"]) == ("Grace Hopper", "Engineering")


def test_everybody_has_a_head_of_the_same_department_above() -> None:
    listed = staff.staff(TODAY, 300)
    by_number = {p["external_id"]: p for p in listed}
    heads = [p for p in listed if p["manager_external_id"] is None]
    assert {p["department"] for p in heads} == set(staff.DEPARTMENTS)
    for person in listed[len(heads) :]:
        assert by_number[person["manager_external_id"]]["department"] == person["department"]


def test_who_brings_a_late_course_along_has_it_by_a_rule_as_well() -> None:
    listed = staff.staff(TODAY, 300)
    late = staff.carried_over(listed, TODAY)
    assert 20 < len(late) < 100
    assert all(each.due < TODAY for each in late)
    departments = {p["external_id"]: p["department"] for p in listed}
    asked = {d: set(courses) for _, ds, courses, _, _ in RULES for d in ds}
    assert all(each.course in asked[departments[each.external_id]] for each in late)
    assert {departments[each.external_id] for each in late} == set(staff.DEPARTMENTS)


# ---- lessons


def test_our_packages_are_read_as_their_script_reads_them() -> None:
    security = LESSONS.scos["index.html"]
    assert (len(security.pages), len(security.checks), security.needed) == (7, 5, 80)
    assert security.pages[1].checks == (lessons.Check("phishing", "c", ("a", "b", "c", "d")),)
    assert LESSONS.scos["how-we-work.html"].needed is None
    for sco in LESSONS.scos.values():
        assert all(check.right in check.choices for check in sco.checks)


def test_every_page_of_a_course_has_been_read() -> None:
    launched = {
        module["launch_path"]
        for course in json.loads((CONTENT / "courses.json").read_text())["courses"]
        for module in course["modules"]
        if module["kind"] == "scorm12"
    }
    assert launched == set(LESSONS.scos)


# ---- learners


def graded(name: str, who: Temper, attempt: int) -> Grade:
    """As assessment grades it."""
    definition = json.loads((CONTENT / "quizzes" / f"{name}.json").read_text())
    quiz = quizzes.from_json(name, 1, definition)
    answers = {
        question["question_id"]: quizzes.check_answer(
            quiz.question(question["question_id"]), learners.answer(who, question, attempt)
        )
        for question in definition["questions"]
    }
    return quizzes.grade(quiz, list(answers), answers)


@pytest.mark.parametrize("name", [f.stem for f in (CONTENT / "quizzes").glob("*.json")])
def test_who_knows_everything_answers_everything_and_who_knows_nothing_fails(name: str) -> None:
    assert graded(name, PERFECT, 1).score == 100
    assert not graded(name, HOPELESS, 1).passed


def test_who_failed_has_learned_something() -> None:
    people = [Temper(str(n), zeal=1, skill=0.5, tenacity=1) for n in range(200)]
    first, second = (
        sum(graded("engineering-onboarding", who, attempt).score for who in people) / len(people)
        for attempt in (1, 2)
    )
    assert 50 < first < second - 5


def test_ada_fails_the_assessment_once_then_passes() -> None:
    assert graded("secure-coding", learners.ADA, 1).passed
    assert not graded("engineering-onboarding", learners.ADA, 1).passed
    assert graded("engineering-onboarding", learners.ADA, 2).passed


def test_ada_suspends_the_security_course_half_way_and_leaves_nothing_unfinished() -> None:
    security = LESSONS.scos["index.html"]
    pause = learners.pauses_at(learners.ADA, "security-protocols-101", 1, security)
    assert pause
    assert 0 < pause < len(security.pages)
    assert not learners.leaves(learners.ADA, "security-protocols-101", 1)
    assert learners.begins(learners.ADA, "security-protocols-101", 1)
    assert not learners.begins(learners.ADA, learners.CHOSEN, 1)


def test_a_package_is_finished_with_just_enough_right_answers() -> None:
    security = LESSONS.scos["index.html"]
    wrong = {check.name: learners.choose(HOPELESS, check) for check in security.checks}
    assert learners.percent(security, wrong) == 0
    assert learners.percent(security, learners.mended(security, wrong)) == 80
    right = {check.name: check.right for check in security.checks}
    assert learners.mended(security, right) == right
    handbook = LESSONS.scos["how-we-work.html"]
    answers = {check.name: learners.choose(HOPELESS, check) for check in handbook.checks}
    assert learners.mended(handbook, answers) == answers  # its checks don't count


def test_most_people_learn_and_some_do_not() -> None:
    listed = staff.staff(TODAY, 300)
    willing = learners.willing(listed, {late.external_id for late in staff.carried_over(listed, TODAY)})
    assert list(willing)[:2] == ["ADA", "ALAN"]
    assert 180 < len(willing) < 280
    begun = [key for key, who in willing.items() if learners.begins(who, "code-of-conduct", 1)]
    assert len(begun) < len(willing)


def test_people_decide_alike_each_time() -> None:
    who = learners.temper("E0042", "Sales", late=False)
    assert who == learners.temper("E0042", "Sales", late=False)
    assert who != learners.temper("E0043", "Sales", late=False)
    question = LESSONS.questions["good-test"]
    assert learners.answer(who, question, 1) == learners.answer(replace(who, tenacity=0), question, 1)


# ---- HR systems


def test_identity_believes_both_signatures_and_no_other() -> None:
    now, body, secret = datetime.now(UTC), b'{"employees": []}', "whsec_" + "c2VjcmV0" * 4
    at = int(now.timestamp())
    assert verify_standard(hris.signed(secret, "m1", at, body), body, [secret], now) == "m1"
    lowered = {k.lower(): v for k, v in hris.bamboo_signed("s", at, body).items()}
    assert verify_bamboohr(lowered, body, ["s"], now)
    with pytest.raises(BadSignature):
        verify_standard(hris.signed(secret, "m1", at, b"other"), body, [secret], now)
    with pytest.raises(BadSignature):
        verify_bamboohr(lowered, body, ["another"], now)


async def test_identity_reads_an_employee_from_the_stub() -> None:
    with hris.bamboohr(0, "key", {"K1": staff.KATHERINE}) as port:
        url = f"http://127.0.0.1:{port}"
        employee = await read_employee(make_client, url, "key", "K1")
        assert employee is not None
        assert set(employee) == set(BAMBOOHR_FIELDS)
        assert await read_employee(make_client, url, "key", "K2") is None
        with pytest.raises(Unavailable, match="401"):
            await read_employee(make_client, url, "wrong", "K1")
    [said] = read_bamboohr("K1", employee, said_at=datetime.now(UTC), time_zone="Europe/Lisbon")
    assert isinstance(said, Described)
    assert (said.profile.display_name, said.facts.department) == ("Katherine Johnson", "Flight Research")
    with pytest.raises(Unavailable, match="ConnectError"):
        await read_employee(make_client, url, "key", "K1")


# ---- numbers and memory


def report(service: str, heads: dict[str, int], nexts: dict[str, int], *, outbox: int = 0) -> dict[str, Any]:
    return {
        "service": service,
        "relay": {"outbox": outbox},
        "feeds": [{"feed": f, "partition": 0, "head": head} for f, head in heads.items()],
        "consumers": [
            {"consumer": service, "feed": f, "partition": 0, "next": n, "head": 0} for f, n in nexts.items()
        ],
    }


def test_everything_has_arrived_when_nobody_is_behind_the_producers_own_heads() -> None:
    identity = report("identity", {"identity": 7}, {})
    assert numbers.unsettled([identity, report("analytics", {}, {"identity": 8})]) == []
    assert numbers.unsettled([identity, report("analytics", {}, {"identity": 7})]) == ["analytics ← identity"]
    waiting = report("identity", {"identity": 7}, {}, outbox=1)
    assert numbers.unsettled([waiting, report("analytics", {}, {"identity": 8})]) == ["identity"]


def test_a_run_remembers_for_the_next_one_in_a_file_of_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "demo.json"
    assert memory.recall(file) is None
    kept = memory.keep(file, memory.Memory(people=40), hire_ms={"Ada": 12.5})
    assert memory.recall(file) == kept
    assert (kept.people, kept.hire_ms) == (40, {"Ada": 12.5})
    assert file.stat().st_mode & 0o77 == 0


def test_waiting_ends_with_a_sentence() -> None:
    assert until(lambda: [1], "Never") == [1]
    with pytest.raises(PlatformError, match=r"The moon did not happen"):
        until(lambda: None, "The moon", seconds=0.01, pause=0.001)
