"""Routes: who may see and do what, and what bad input is answered."""

from typing import Any
from uuid import UUID

import pytest

ADA = "01990000-0000-7000-8000-0000000000ad"
GRACE = "01990000-0000-7000-8000-0000000000ac"
HANS = "01990000-0000-7000-8000-0000000000ab"
NOBODY = "01990000-0000-7000-8000-00000000dead"
SECURITY = "01990000-0000-7000-8000-0000000000c1"
ONBOARDING = "01990000-0000-7000-8000-0000000000c2"
PITCHING = "01990000-0000-7000-8000-0000000000c3"
ENGINEERING_PATH = "01990000-0000-7000-8000-0000000000f1"
OTHER_TENANT = UUID("01990000-0000-7000-8000-000000000002")
API = "/api/enrollment"


@pytest.fixture
async def staff(school: Any) -> Any:
    """Ada in Engineering reports to Grace; Hans in Sales to nobody. A rule enrols engineers."""
    await school.hire(GRACE, "Management")
    await school.hire(HANS, "Sales")
    await school.hire(ADA, "Engineering", manager_id=GRACE)
    await school.rule(course_ids=[SECURITY], path_ids=[ENGINEERING_PATH], due_in_days=30)
    return school


async def test_everyone_sees_their_own_managers_their_reports_and_admins_all(staff: Any) -> None:
    hers = (await staff.has(ADA))[SECURITY]["enrollment_id"]

    async def sees(*roles: str, **who: Any) -> tuple[int, int]:
        async with staff.as_(*roles, **who) as http:
            one = await http.get(f"{API}/enrollments/{hers}")
            listed = await http.get(f"{API}/enrollments", params={"person_id": ADA})
        return one.status_code, len(listed.json()["items"])

    assert await sees("learner", subject=ADA) == (200, 2)
    assert await sees("learner", "manager", subject=GRACE) == (200, 2)
    assert await sees("learner", "admin", subject=NOBODY) == (200, 2)
    assert await sees("reader", subject="client-1", kind="client") == (200, 2)
    # The same answer as for an unknown id.
    assert await sees("learner", subject=GRACE) == (404, 0)  # her manager, but not in that role
    assert await sees("learner", "manager", subject=HANS) == (404, 0)
    assert await sees("learner", "author", subject=HANS) == (404, 0)
    assert await sees("learner", "admin", subject=ADA, tenant=OTHER_TENANT) == (404, 0)
    assert await sees("hris", subject="client-2", kind="client") == (404, 0)


async def test_without_a_token_nothing(school: Any) -> None:
    async with school.as_() as http:
        del http.headers["Authorization"]
        for path in ("enrollments", "today", "team", "paths/mine", "rules"):
            assert (await http.get(f"{API}/{path}")).status_code == 401


async def test_one_enrolment_shows_its_modules(staff: Any) -> None:
    hers = (await staff.has(ADA))[SECURITY]
    await staff.finish(hers, "m1", score=75.0)
    async with staff.as_("learner", subject=ADA) as http:
        one = (await http.get(f"{API}/enrollments/{hers['enrollment_id']}")).json()
    assert one["modules"] == [
        {"module_id": "m1", "title": "Module 1", "kind": "reading", "done": True, "score": 75.0},
        {"module_id": "m2", "title": "Module 2", "kind": "reading", "done": False, "score": None},
    ]
    assert (one["modules_done"], one["modules_total"], one["next_module_id"]) == (1, 2, "m2")
    assert one["course_title"] == "Security Protocols 101"


async def test_today_resumes_what_can_be_taken_now(staff: Any) -> None:
    async with staff.as_("learner", subject=ADA) as http:
        today = (await http.get(f"{API}/today")).json()
        assert today["resume"]["course_id"] == SECURITY  # the other is locked
        assert {e["course_id"] for e in today["due"]} == {SECURITY, ONBOARDING}
        for module in ("m1", "m2"):
            await staff.finish((await staff.has(ADA))[SECURITY], module)
        today = (await http.get(f"{API}/today")).json()
    assert today["resume"]["course_id"] == ONBOARDING
    assert [e["course_id"] for e in today["completed_recently"]] == [SECURITY]


async def test_my_paths_list_their_courses_in_order(staff: Any) -> None:
    async with staff.as_("learner", subject=ADA) as http:
        (mine,) = (await http.get(f"{API}/paths/mine")).json()["items"]
    assert (mine["path_id"], mine["title"]) == (ENGINEERING_PATH, "Engineering Onboarding")
    assert [c["course_id"] for c in mine["courses"]] == [SECURITY, ONBOARDING]
    async with staff.as_("learner", subject=HANS) as http:
        assert (await http.get(f"{API}/paths/mine")).json()["items"] == []


async def test_a_manager_sees_the_team_and_a_learner_does_not(staff: Any) -> None:
    async with staff.as_("learner", "manager", subject=GRACE) as http:
        (ada,) = (await http.get(f"{API}/team")).json()["items"]
    assert (ada["person_id"], ada["active"], ada["overdue"], ada["completed"]) == (ADA, 2, 0, 0)
    assert ada["next_due_at"] == "2026-12-24T23:00:00Z"
    assert len(ada["items"]) == 2
    async with staff.as_("learner", subject=ADA) as http:
        assert (await http.get(f"{API}/team")).status_code == 403


async def test_lists_go_on_where_the_page_before_ended(staff: Any) -> None:
    async with staff.as_("admin") as http:
        first = (await http.get(f"{API}/enrollments", params={"limit": 1})).json()
        second = (await http.get(f"{API}/enrollments", params={"limit": 1, "after": first["next"]})).json()
        bad = await http.get(f"{API}/enrollments", params={"after": "nonsense!"})
    assert {first["items"][0]["course_id"], second["items"][0]["course_id"]} == {SECURITY, ONBOARDING}
    assert second["next"] is None
    assert bad.status_code == 400


async def test_who_enrols_themselves_gets_one_enrolment(staff: Any) -> None:
    async with staff.as_("learner", subject=HANS) as http:
        body = {"person_id": HANS, "course_id": PITCHING}
        made, again = [await http.post(f"{API}/enrollments", json=body) for _ in range(2)]
    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json()["enrollment_id"] == again.json()["enrollment_id"]
    assert made.headers["location"].endswith(made.json()["enrollment_id"])
    assert (made.json()["mandatory"], made.json()["why"]) == (False, ["You enrolled yourself"])


async def test_a_manager_enrols_reports_only(staff: Any) -> None:
    body = {"person_id": ADA, "course_id": PITCHING, "due_date": "2026-12-01"}
    async with staff.as_("learner", "manager", subject=GRACE) as http:
        made = await http.post(f"{API}/enrollments", json=body)
        assert made.status_code == 201
        assert (made.json()["due_date"], made.json()["mandatory"]) == ("2026-12-01", True)
        assert made.json()["why"] == ["Assigned by your manager"]
        assert (await http.post(f"{API}/enrollments", json={**body, "person_id": HANS})).status_code == 404
    async with staff.as_("learner", subject=HANS) as http:
        assert (await http.post(f"{API}/enrollments", json=body)).status_code == 404


async def test_what_is_carried_over_from_another_system_may_be_late(staff: Any) -> None:
    body = {"person_id": ADA, "course_id": PITCHING, "due_date": "2026-11-02", "carried_over": True}
    async with staff.as_("learner", "manager", subject=GRACE) as http:
        assert (await http.post(f"{API}/enrollments", json=body)).status_code == 403
    async with staff.as_("admin") as http:
        made, again = [await http.post(f"{API}/enrollments", json=body) for _ in range(2)]
        assert (made.status_code, again.status_code) == (201, 200)
        assert (made.json()["due_date"], made.json()["why"]) == (
            "2026-11-02",
            ["Carried over from another system"],
        )
        await staff.settle()
        late = (await http.get(f"{API}/enrollments/{made.json()['enrollment_id']}")).json()
    assert (late["mandatory"], late["overdue"]) == (True, True)


async def test_what_a_person_assigned_outlives_the_rule(staff: Any) -> None:
    body = {"person_id": ADA, "course_id": SECURITY}
    async with staff.as_("admin") as http:
        assert (await http.post(f"{API}/enrollments", json=body)).status_code == 200
    await staff.move(ADA, "Sales")
    hers = (await staff.has(ADA))[SECURITY]
    assert (hers["state"], hers["why"]) == ("active", ["Assigned by an administrator"])


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"person_id": ADA}, 422, "invalid"),
        ({"person_id": 1, "course_id": PITCHING}, 422, "invalid"),
        ({"person_id": ADA, "course_id": "x"}, 422, "invalid"),
        ({"person_id": ADA, "course_id": PITCHING, "extra": 1}, 422, "invalid"),
        ({"person_id": ADA, "course_id": PITCHING, "due_date": "soon"}, 422, "invalid"),
        ({"person_id": ADA, "course_id": PITCHING, "due_date": "2026-11-23"}, 422, "due-date-passed"),
        ({"person_id": ADA, "course_id": NOBODY}, 422, "unknown-target"),
        ({"person_id": NOBODY, "course_id": PITCHING}, 404, "not-found"),
        ([], 422, "invalid"),
    ],
)
async def test_a_bad_enrolment_is_refused(staff: Any, body: Any, status: int, code: str) -> None:
    before = await staff.said()
    async with staff.as_("admin") as http:
        answer = await http.post(f"{API}/enrollments", json=body)
    assert (answer.status_code, answer.json()["type"]) == (status, f"urn:lyceum:problem:{code}")
    assert await staff.said() == before


async def test_who_left_is_not_enrolled(staff: Any) -> None:
    await staff.leave(ADA)
    async with staff.as_("admin") as http:
        answer = await http.post(f"{API}/enrollments", json={"person_id": ADA, "course_id": PITCHING})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:lyceum:problem:not-employed")


async def test_a_deprecated_course_is_not_begun(staff: Any) -> None:
    from lyceum.catalog.v1.events_pb2 import CourseDeprecated

    await staff.tell(CourseDeprecated(course_id=PITCHING, reason="outdated"))
    async with staff.as_("learner", subject=HANS) as http:
        answer = await http.post(f"{API}/enrollments", json={"person_id": HANS, "course_id": PITCHING})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:lyceum:problem:course-not-open")


@pytest.mark.parametrize("what", ["x", NOBODY, "' OR 1=1 --"])
async def test_an_unknown_id_is_not_found(school: Any, what: str) -> None:
    async with school.as_("admin") as http:
        for path in (f"enrollments/{what}", f"rules/{what}"):
            assert (await http.get(f"{API}/{path}")).status_code == 404
        for action in ("activate", "retire", "preview"):
            assert (await http.post(f"{API}/rules/{what}/{action}")).status_code == 404
