"""A learner takes a quiz; the server is the clock and the judge."""

import asyncio
from typing import Any

import pytest

from lyceum.assessment.v1.events_pb2 import (
    AnswerSaved,
    AssessmentFailed,
    AssessmentPassed,
    AttemptSubmitted,
    ModuleCompleted,
    QuizAttemptStarted,
    QuizPublished,
)
from lyceum_kit.delivery import emitted
from lyceum_kit.timers import Timers


async def run_timers(world: Any) -> None:
    timers = Timers(world.service.ledger, world.service.timers)
    await timers.run_due()


async def take(world: Any, attempt: dict[str, Any], answers: dict[str, Any]) -> Any:
    for sequence, (question, answer) in enumerate(answers.items(), attempt["saved_sequence"] + 1):
        saved = await world.answer(attempt["attempt_id"], question, sequence, answer)
        assert saved.json() == {"saved_sequence": sequence}
    return await world.submit(attempt["attempt_id"])


async def test_right_answers_pass_and_complete_the_module(world: Any, names: Any) -> None:
    await world.quiz()
    attempt = await world.start()
    assert (attempt["number"], attempt["state"], attempt["attempts_left"]) == (1, "started", 1)
    result = (await take(world, attempt, names.RIGHT)).json()
    assert (result["state"], result["score"], result["passing_score"]) == ("passed", 100, 70)
    assert [r["correct"] for r in result["results"]] == [True] * 4
    events: list[Any] = list(await emitted(world.service.ledger, names.TENANT))
    assert [type(e) for e in events] == [
        QuizPublished, QuizAttemptStarted, *[AnswerSaved] * 4, AttemptSubmitted, AssessmentPassed,
        ModuleCompleted, ]  # fmt: skip
    assert (events[-1].assurance, events[-1].score) == ("server-graded", 100)
    assert all(b"DESK" not in e.SerializeToString() for e in events)


async def test_what_is_right_never_leaves_the_server_before_submitting(world: Any) -> None:
    await world.quiz()
    attempt = await world.start()
    shown = await world.call("GET", f"/attempts/{attempt['attempt_id']}")
    for text in (str(attempt), shown.text):
        assert not any(
            word in text for word in ("correct", "accepted", "service desk", "443", "Nobody needs")
        )
    assert (await world.call("GET", "/quizzes")).status_code == 403


async def test_a_learner_knows_the_rules_before_starting(world: Any, names: Any) -> None:
    quiz_id = await world.quiz(draw=3)
    rules = await world.call("GET", f"/quizzes/{quiz_id}/rules")
    assert rules.json() == {
        "quiz_id": quiz_id, "version": 1, "title": "Security check", "passing_score": 70, "questions": 3,
        "time_limit_seconds": 600, "max_attempts": 2,
    }  # fmt: skip
    assert len((await world.start())["questions"]) == 3
    again = await world.call(
        "POST",
        "/quizzes",
        by="eve",
        roles=("author",),
        json={**names.QUIZ, "quiz_id": quiz_id, "max_attempts": None},
    )
    assert again.status_code == 201
    rules = (await world.call("GET", f"/quizzes/{quiz_id}/rules")).json()
    assert (rules["version"], rules["questions"], rules["max_attempts"]) == (2, 4, None)


async def test_the_rules_of_another_tenants_quiz_are_not_found(world: Any, names: Any) -> None:
    quiz_id = await world.quiz()
    path = f"/api/assessment/quizzes/{quiz_id}/rules"
    elsewhere = await world.http.get(path, headers=world.headers(names.ADA, tenant=names.OTHER_TENANT))
    unknown = await world.call("GET", f"/quizzes/{names.ADA}/rules")
    assert (elsewhere.status_code, unknown.status_code) == (404, 404)
    assert (await world.http.get(path)).status_code == 401


async def test_wrong_answers_fail_and_leave_another_attempt_until_none_is_left(
    world: Any, names: Any
) -> None:
    await world.quiz()
    first = await world.start()
    result = (await take(world, first, {"phish": "a", "safe": ["a", "c"]})).json()
    assert (result["state"], result["score"], result["attempts_left"]) == ("failed", 0, 1)
    second = await world.start()
    assert (second["number"], second["attempts_left"]) == (2, 0)
    assert (await take(world, second, {})).json()["attempts_left"] == 0
    body = {"enrollment_id": "e-ada", "module_id": "m-quiz"}
    third = await world.call("POST", "/attempts", json=body)
    assert (third.status_code, third.json()["type"]) == (409, "urn:lyceum:problem:no-attempts-left")
    events = await emitted(world.service.ledger, names.TENANT)
    assert [e.attempts_left for e in events if isinstance(e, AssessmentFailed)] == [1, 0]


async def test_two_tabs_share_the_running_attempt_and_one_of_them_submits(world: Any) -> None:
    await world.quiz()
    body = {"enrollment_id": "e-ada", "module_id": "m-quiz"}
    answers = await asyncio.gather(*(world.call("POST", "/attempts", json=body) for _ in range(3)))
    ids = {a.json()["attempt_id"] for a in answers if a.status_code == 201}
    assert len(ids) == 1
    again = await world.start()
    assert ids == {again["attempt_id"]}
    submits = await asyncio.gather(*(world.submit(again["attempt_id"]) for _ in range(3)))
    assert sorted(s.status_code for s in submits) == [200, 409, 409]
    refused = next(s for s in submits if s.status_code == 409)
    assert refused.json()["type"] == "urn:lyceum:problem:already-submitted"


async def test_an_older_answer_never_overwrites_a_newer_one(world: Any, names: Any) -> None:
    await world.quiz()
    attempt = (await world.start())["attempt_id"]
    assert (await world.answer(attempt, "phish", 3, "b")).status_code == 200
    stale = await world.answer(attempt, "phish", 2, "a")
    assert (stale.status_code, stale.json()["saved_sequence"]) == (409, 3)
    assert (await world.answer(attempt, "port", 3, 80)).status_code == 409
    assert (await world.answer(attempt, "phish", 3, "b")).json() == {"saved_sequence": 3}
    shown = (await world.call("GET", f"/attempts/{attempt}")).json()
    assert {q["question_id"]: q["answer"] for q in shown["questions"]}["phish"] == "b"
    events = await emitted(world.service.ledger, names.TENANT)
    assert sum(isinstance(e, AnswerSaved) for e in events) == 1


async def test_the_server_submits_what_was_saved_when_the_time_is_over(world: Any, names: Any) -> None:
    await world.quiz()
    attempt = await world.start()
    await world.answer(attempt["attempt_id"], "phish", 1, "b")
    world.clock.forward(seconds=599)
    await run_timers(world)
    assert (await world.call("GET", f"/attempts/{attempt['attempt_id']}")).json()["state"] == "started"
    world.clock.forward(seconds=4)  # within the grace for the network
    assert (await world.answer(attempt["attempt_id"], "port", 2, 443)).status_code == 200
    world.clock.forward(seconds=10)
    late = await world.answer(attempt["attempt_id"], "who", 3, "the service desk")
    assert (late.status_code, late.json()["type"]) == (409, "urn:lyceum:problem:too-late")
    await run_timers(world)
    await run_timers(world)
    events = await emitted(world.service.ledger, names.TENANT)
    submitted = [e for e in events if isinstance(e, AttemptSubmitted)]
    assert [e.by_deadline for e in submitted] == [True]
    assert [e.score for e in events if isinstance(e, AssessmentFailed)] == [50]
    assert (await world.submit(attempt["attempt_id"])).status_code == 409


async def test_a_late_submit_counts_what_was_saved_in_time(world: Any, names: Any) -> None:
    await world.quiz()
    attempt = await world.start()
    await world.answer(attempt["attempt_id"], "phish", 1, "b")
    world.clock.forward(hours=1)
    result = (await world.submit(attempt["attempt_id"])).json()
    assert (result["state"], result["score"]) == ("failed", 25)
    events = await emitted(world.service.ledger, names.TENANT)
    assert [e.by_deadline for e in events if isinstance(e, AttemptSubmitted)] == [True]


async def test_starting_again_after_the_deadline_closes_the_old_attempt_first(world: Any) -> None:
    await world.quiz()
    first = await world.start()
    world.clock.forward(hours=1)
    second = await world.start()
    assert (second["number"], second["attempt_id"] != first["attempt_id"]) == (2, True)
    records = (await world.call("GET", "/records")).json()["items"]
    assert [r["state"] for r in records] == ["failed", "started"]


async def test_a_passed_quiz_is_not_taken_again(world: Any, names: Any) -> None:
    await world.quiz()
    await take(world, await world.start(), names.RIGHT)
    again = await world.call("POST", "/attempts", json={"enrollment_id": "e-ada", "module_id": "m-quiz"})
    assert again.status_code == 409


async def test_another_learners_attempt_does_not_exist(world: Any, names: Any) -> None:
    await world.quiz()
    attempt = (await world.start())["attempt_id"]
    for person in (names.LINUS, names.GRACE):
        assert (await world.call("GET", f"/attempts/{attempt}", by=person)).status_code == 404
        assert (await world.answer(attempt, "phish", 1, "b", by=person)).status_code == 404
        assert (await world.submit(attempt, by=person)).status_code == 404
        assert (await world.call("GET", f"/attempts/{attempt}/result", by=person)).status_code == 404
    headers = world.headers(names.ADA, tenant=names.OTHER_TENANT)
    foreign = await world.http.get(f"/api/assessment/attempts/{attempt}", headers=headers)
    assert foreign.status_code == 404


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("phish", "z"),
        ("phish", ["b"]),
        ("safe", "a"),
        ("safe", ["a", "z"]),
        ("port", "443"),
        ("port", True),
        ("who", 1),
        ("who", "x" * 1001),
    ],
)
async def test_an_answer_must_fit_its_question(world: Any, question: str, answer: Any) -> None:
    await world.quiz()
    attempt = (await world.start())["attempt_id"]
    assert (await world.answer(attempt, question, 1, answer)).status_code == 422


@pytest.mark.parametrize(
    ("question", "body"),
    [
        *(("port", f'{{"sequence": 1, "answer": {n}}}') for n in ("NaN", "-Infinity", "1e999", "9" * 400, "null")),
        *(("who", f'{{"sequence": 1, "answer": {t}}}') for t in ('"\\u0000"', '"\\ud800"', "{}", '[["a"]]')),
        *(("safe", f'{{"sequence": {n}, "answer": ["a"]}}') for n in ("0", "1000001", "1.5", "true", '"1"', "1e99")),
        ("phish", '{"sequence": 1, "answer": "b", "correct": true}'),
        ("phish", '{"answer": "b"}'),
        ("phish", "[" * 10_000),
    ],
)  # fmt: skip
async def test_an_answer_that_is_none_is_refused_and_the_attempt_goes_on(
    world: Any, names: Any, question: str, body: str
) -> None:
    await world.quiz()
    attempt = await world.start()
    headers = world.headers(names.ADA) | {"content-type": "application/json"}
    path = f"/api/assessment/attempts/{attempt['attempt_id']}/answers/{question}"
    refused = await world.http.put(path, headers=headers, content=body)
    assert refused.status_code == (400 if body.startswith("[") else 422), refused.text
    assert (await take(world, attempt, names.RIGHT)).json()["score"] == 100


async def test_a_submitted_attempt_takes_neither_answers_nor_a_second_submit(world: Any, names: Any) -> None:
    await world.quiz()
    attempt = await world.start()
    await world.answer(attempt["attempt_id"], "phish", 1, "b")
    result = f"/attempts/{attempt['attempt_id']}/result"
    early = await world.call("GET", result)
    assert (early.status_code, early.json()["type"]) == (409, "urn:lyceum:problem:not-submitted")
    answered = (await world.submit(attempt["attempt_id"])).json()
    assert answered["state"] == "failed"
    events = await emitted(world.service.ledger, names.TENANT)
    for refused in (
        await world.answer(attempt["attempt_id"], "port", 2, 443),
        await world.answer(attempt["attempt_id"], "phish", 2, "b"),
        await world.submit(attempt["attempt_id"]),
    ):
        assert (refused.status_code, refused.json()["type"]) == (409, "urn:lyceum:problem:already-submitted")
    assert (await world.call("GET", result)).json() == answered  # for whoever did not get it
    assert await emitted(world.service.ledger, names.TENANT) == events


async def test_a_question_that_is_not_asked_has_no_answer(world: Any) -> None:
    await world.quiz()
    attempt = (await world.start())["attempt_id"]
    assert (await world.answer(attempt, "no-such", 1, "b")).status_code == 404


async def test_a_bad_definition_names_every_fault_and_is_not_published(world: Any, names: Any) -> None:
    bad = {
        "title": "Bad",
        "passing_score": 0,
        "max_attempts": 0,
        "draw": 9,
        "questions": [
            {
                "question_id": "q",
                "type": "multiple_choice",
                "text": "?",
                "options": [{"id": "a", "text": "A"}],
            },
            {"question_id": "q", "type": "numeric", "text": "?"},
        ],
    }
    answer = await world.call("POST", "/quizzes", by="eve", roles=("author",), json=bad)
    assert answer.status_code == 422
    assert len(answer.json()["faults"]) == 7
    for body in (
        {**names.QUIZ, "surprise": 1},
        {**names.QUIZ, "passing_score": "70"},
        {**names.QUIZ, "draw": True},
        {**names.QUIZ, "title": " "},
        {**names.QUIZ, "title": "a\x1b[2Jb"},
    ):
        refused = await world.call("POST", "/quizzes", by="eve", roles=("author",), json=body)
        assert refused.status_code == 422
    assert (await world.call("POST", "/quizzes", json=names.QUIZ)).status_code == 403
    assert await emitted(world.service.ledger, names.TENANT) == []


async def test_a_new_version_leaves_running_attempts_with_theirs(world: Any, names: Any) -> None:
    quiz_id = await world.quiz()
    attempt = await world.start()
    changed = {
        **names.QUIZ,
        "quiz_id": quiz_id,
        "questions": names.QUIZ["questions"][:1],
        "passing_score": 100,
    }
    answer = await world.call("POST", "/quizzes", by="eve", roles=("author",), json=changed)
    assert answer.json()["version"] == 2
    result = (await take(world, attempt, names.RIGHT)).json()
    assert (len(result["results"]), result["passing_score"]) == (4, 70)
    unknown = await world.call(
        "POST", "/quizzes", by="eve", roles=("author",), json={**changed, "quiz_id": "nope"}
    )
    assert unknown.status_code == 404
