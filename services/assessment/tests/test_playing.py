"""A learner plays a SCORM module; what she did is kept, and nobody else's page can say otherwise."""

import asyncio
from typing import Any

from assessment import scorm_attempt
from assessment.scorm_attempt import ScormAttempt
from lyceum.assessment.v1.events_pb2 import ModuleCompleted, ProgressRecorded, SessionLaunched
from lyceum.identity.v1.events_pb2 import UserDeactivated, UserReactivated
from lyceum_kit.delivery import emitted


async def test_a_module_is_opened_suspended_resumed_and_finished(world: Any, scorm: Any, names: Any) -> None:
    await world.publish(scorm)
    token = await world.launch()
    state = await world.open(token)
    assert state["session"] == 1
    assert state["launch_path"] == "shared/launch.html"
    core = state["cmi"]["core"]
    assert (core["entry"], core["credit"], core["student_id"]) == ("ab-initio", "credit", names.ADA)
    assert core["student_name"] == "Ada Łukasz 山田"
    assert state["cmi"]["launch_data"] == "lang=en"

    saved = await world.commit(token, 1, 1, exit="suspend", suspend_data="page=4")
    assert saved.json() == {"result": True, "errorCode": 0, "completed": False}

    token = await world.launch()
    resumed = (await world.open(token))["cmi"]
    assert resumed["core"]["entry"] == "resume"
    assert resumed["suspend_data"] == "page=4"
    assert resumed["core"]["total_time"] == "0000:01:00.00"
    assert not {"exit", "session_time"} & resumed["core"].keys()

    done = await world.commit(token, 2, 1, "passed", finish=True, score=90)
    assert done.json()["completed"] is True
    completed = [
        e for e in await emitted(world.service.ledger, names.TENANT) if isinstance(e, ModuleCompleted)
    ]
    assert [(e.outcome, e.score, e.assurance) for e in completed] == [("passed", 90, "self-reported")]
    record = (await world.call("GET", "/records")).json()["items"][0]
    assert (record["state"], record["score"], record["seconds"]) == ("passed", 90, 120)


async def test_the_row_is_the_fold_of_its_stream_and_no_event_shows_what_was_written(
    world: Any, scorm: Any, names: Any
) -> None:
    await world.publish(scorm)
    token = await world.launch()
    await world.open(token)
    for n in range(1, 5):
        await world.commit(token, 1, n, suspend_data="my secret diary", time=f"00:00:0{n}")
    await world.open(token)
    await world.commit(token, 2, 1, "completed", finish=True, score=80)
    events: list[Any] = list(await emitted(world.service.ledger, names.TENANT))
    assert [type(e) for e in events] == [
        SessionLaunched, *[ProgressRecorded] * 4, SessionLaunched, ProgressRecorded, ModuleCompleted,
    ]  # fmt: skip
    assert all(b"diary" not in e.SerializeToString() for e in events)
    attempt = ScormAttempt(events[0].attempt_id, "e-ada", names.ADA, names.COURSE, "m-scorm")
    for event in events:
        attempt = scorm_attempt.evolve(attempt, event)
    record = (await world.call("GET", "/records")).json()["items"][0]
    assert (attempt.completed, attempt.score, attempt.total_seconds) == (
        True,
        record["score"],
        record["seconds"],
    )


async def test_a_replayed_number_is_acknowledged_and_changes_nothing(
    world: Any, scorm: Any, names: Any
) -> None:
    await world.publish(scorm)
    token = await world.launch()
    await world.open(token)
    await world.commit(token, 1, 5, suspend_data="new")
    before = await emitted(world.service.ledger, names.TENANT)
    for old in (5, 4, 1):
        assert (await world.commit(token, 1, old, "passed", suspend_data="old")).json()["result"] is True
    assert await emitted(world.service.ledger, names.TENANT) == before
    assert (await world.open(token))["cmi"]["suspend_data"] == "new"


async def test_a_second_window_takes_over_when_it_opens_not_when_it_is_launched(
    world: Any, scorm: Any
) -> None:
    await world.publish(scorm)
    first = await world.launch()
    await world.open(first)
    second = await world.launch()
    assert (await world.commit(first, 1, 1)).status_code == 200
    await world.open(second)
    late = await world.commit(first, 1, 2)
    assert late.status_code == 409
    assert late.json()["type"] == "urn:lyceum:problem:superseded"
    assert (await world.commit(second, 2, 1)).status_code == 200
    assert (await world.commit(second, 7, 1)).status_code == 409


async def test_commits_that_race_are_all_stored_or_refused(world: Any, scorm: Any, names: Any) -> None:
    await world.publish(scorm)
    token = await world.launch()
    await world.open(token)
    answers = await asyncio.gather(*(world.commit(token, 1, n, "completed") for n in range(1, 9)))
    assert {a.status_code for a in answers} == {200}
    events = await emitted(world.service.ledger, names.TENANT)
    assert sum(isinstance(e, ModuleCompleted) for e in events) == 1


async def test_launching_twice_at_once_makes_one_attempt(world: Any, scorm: Any) -> None:
    await world.publish(scorm)
    body = {"enrollment_id": "e-ada", "module_id": "m-scorm"}
    answers = await asyncio.gather(*(world.call("POST", "/launches", json=body) for _ in range(4)))
    assert len({a.json()["attempt_id"] for a in answers}) == 1


async def test_a_token_works_for_its_own_package_and_as_long_as_it_lives(world: Any, scorm: Any) -> None:
    await world.publish(scorm)
    token = await world.launch()
    for wrong in ("", "guess", token[:-1]):
        assert (await world.lms("GET", "state", wrong)).status_code == 401
    assert (await world.lms("GET", "state", token, package="another")).status_code == 401
    world.clock.forward(hours=13)
    assert (await world.lms("GET", "state", token)).status_code == 401
    assert (await world.commit(token, 1, 1)).status_code == 401


async def test_another_learners_enrolment_is_as_unknown_as_none(world: Any, scorm: Any, names: Any) -> None:
    await world.publish(scorm)
    for enrollment in ("e-ada", "no-such"):
        body = {"enrollment_id": enrollment, "module_id": "m-scorm"}
        for path in ("/launches", "/attempts", "/readings"):
            answer = await world.call("POST", path, by=names.LINUS, json=body)
            assert (answer.status_code, answer.json()["type"]) == (404, "urn:lyceum:problem:not-found")


async def test_a_locked_or_withdrawn_enrolment_is_not_launched(world: Any, scorm: Any) -> None:
    await world.publish(scorm)
    world.enrollments.close("e-ada", "Another course has to be completed first")
    answer = await world.call("POST", "/launches", json={"enrollment_id": "e-ada", "module_id": "m-scorm"})
    assert (answer.status_code, answer.json()["detail"]) == (409, "Another course has to be completed first")


async def test_who_has_left_neither_launches_nor_reports(world: Any, scorm: Any, names: Any) -> None:
    await world.publish(scorm)
    token = await world.launch()
    await world.open(token)
    stream = f"person/{names.ADA}"
    await world.deliver.twice(UserDeactivated(person_id=names.ADA), tenant=names.TENANT, stream=stream)
    assert (await world.commit(token, 1, 1)).status_code == 401
    answer = await world.call("POST", "/launches", json={"enrollment_id": "e-ada", "module_id": "m-scorm"})
    assert answer.status_code == 409
    await world.deliver.twice(UserReactivated(person_id=names.ADA), tenant=names.TENANT, stream=stream)
    assert (await world.commit(token, 1, 1)).status_code == 200


async def test_bad_run_time_data_is_refused_and_stores_nothing(world: Any, scorm: Any, names: Any) -> None:
    await world.publish(scorm)
    token = await world.launch()
    await world.open(token)
    before = await emitted(world.service.ledger, names.TENANT)
    assert (await world.commit(token, 1, 1, suspend_data="x" * 64_001)).status_code == 413
    assert (await world.commit(token, 1, 1, "done")).status_code == 422
    assert (await world.commit(token, 1, 1, time="yesterday")).status_code == 422
    assert (await world.commit(token, 1, 1, score="NaN")).status_code == 422
    for number in (0, -1, 2**31, 10**30):
        assert (await world.commit(token, 1, number)).status_code == 422
        assert (await world.commit(token, number, 1)).status_code == 422
    assert (await world.commit(token, 1, 1, suspend_data="\0")).status_code == 422
    assert (await world.commit(token, 1, 1, surprise=1)).status_code == 422
    assert (await world.lms("POST", "commit", token, content=b"<html>")).status_code in (400, 422)
    huge = {"session": 1, "sequence": 1, "cmi": {"comments": "x" * 600_000}}
    assert (await world.lms("POST", "commit", token, json=huge)).status_code == 413
    assert await emitted(world.service.ledger, names.TENANT) == before
    assert (await world.commit(token, 1, 1, suspend_data="x" * 64_000)).status_code == 200


async def test_a_page_that_goes_away_may_leave_out_unchanged_suspend_data(world: Any, scorm: Any) -> None:
    await world.publish(scorm)
    token = await world.launch()
    await world.open(token)
    await world.commit(token, 1, 1, suspend_data="long")
    late = {
        "session": 1,
        "sequence": 2,
        "same_suspend_data": True,
        "cmi": {"core": {"lesson_location": "p9"}},
    }
    assert (await world.lms("POST", "commit", token, json=late)).status_code == 200
    cmi = (await world.open(token))["cmi"]
    assert (cmi["suspend_data"], cmi["core"]["lesson_location"]) == ("long", "p9")


async def test_an_asset_is_complete_when_it_is_seen_and_only_once(world: Any, scorm: Any, names: Any) -> None:
    scorm.complete_on_view = True
    await world.publish(scorm)
    token = await world.launch()
    await world.open(token)
    await world.open(token)
    events = await emitted(world.service.ledger, names.TENANT)
    assert sum(isinstance(e, ModuleCompleted) for e in events) == 1


async def test_a_reading_is_marked_read_once(world: Any, reading: Any, names: Any) -> None:
    await world.publish(reading)
    body = {"enrollment_id": "e-ada", "module_id": "m-read"}
    answers = await asyncio.gather(*(world.call("POST", "/readings", json=body) for _ in range(3)))
    assert {a.status_code for a in answers} == {201}
    events: list[Any] = list(await emitted(world.service.ledger, names.TENANT))
    assert [(type(e), e.assurance) for e in events] == [(ModuleCompleted, "self-reported")]
    wrong = await world.call("POST", "/launches", json=body)
    assert wrong.json()["type"] == "urn:lyceum:problem:wrong-kind"


async def test_the_wrapper_page_may_run_our_script_only_and_only_inside_the_app(
    world: Any, names: Any
) -> None:
    page = await world.lms("GET", "run", "")
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert f"frame-ancestors {names.ORIGIN}" in policy
    assert "unsafe" not in policy
    assert f'content="{names.ORIGIN}"' in page.text
    assert "<script>" not in page.text
    assert (await world.lms("GET", "run.js", "")).headers["content-type"].startswith("text/javascript")
