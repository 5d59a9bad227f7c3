"""Quizzes in the database: publish, start an attempt, save answers, submit, close at the deadline."""

import json
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from assessment import quiz as quizzes
from assessment import quiz_attempt, sealing, store
from assessment.errors import AlreadySubmitted, NotOpen, NotSubmitted, UnknownAttempt, UnknownQuiz
from assessment.keys import Vault
from assessment.peers import Standing
from assessment.playing import module_of
from assessment.quiz import Answer, Question, Quiz
from assessment.quiz_attempt import QuizAttempt, SaveAnswer, Start, Submit
from lyceum.assessment.v1.events_pb2 import QuizPublished
from lyceum_kit.ledger import Tx
from lyceum_kit.timers import Timer

DEADLINE = "quiz-deadline"


@dataclass(frozen=True)
class Sheet:
    """An attempt with what its learner may see: no right answers, and feedback only once it is graded."""

    attempt: QuizAttempt
    quiz: Quiz
    row: Any
    answers: dict[str, Answer]
    attempts_left: int | None

    @property
    def questions(self) -> list[Question]:
        return [self.quiz.question(i) for i in self.attempt.question_ids]


async def publish(tx: Tx, quiz: Quiz) -> Quiz:
    """A new quiz, or the next version of one: what is published never changes. Raises BadQuiz or
    UnknownQuiz.
    """
    quizzes.checked(quiz)
    newest = await store.quiz(tx.conn, tx.tenant, quiz.quiz_id) if quiz.quiz_id else None
    if quiz.quiz_id and newest is None:
        raise UnknownQuiz
    quiz = replace(
        quiz, quiz_id=quiz.quiz_id or str(tx.new_id()), version=(newest.version if newest else 0) + 1
    )
    published = QuizPublished(
        quiz_id=quiz.quiz_id,
        quiz_version=quiz.version,
        title=quiz.title,
        passing_score=quiz.passing_score,
        questions=len(quiz.questions),
        time_limit_seconds=quiz.time_limit_seconds,
        max_attempts=quiz.max_attempts,
    )
    tx.append(f"quiz/{quiz.quiz_id}", [published], expected=quiz.version - 1)
    await store.add_quiz(
        tx.conn,
        {
            "tenant": tx.tenant,
            "quiz_id": quiz.quiz_id,
            "version": quiz.version,
            "title": quiz.title,
            "definition": quizzes.to_json(quiz),
            "published_at": tx.now,
        },
    )
    return quiz


async def start(tx: Tx, standing: Standing, module_id: str, *, person_id: str, vault: Vault) -> Sheet:
    """The running attempt, or a new one. Two tabs get the same."""
    module = await module_of(tx, standing, module_id, "quiz", person_id=person_id)
    earlier = await store.attempts_at(tx.conn, tx.tenant, standing.enrollment_id, module_id, lock=True)
    if earlier:
        last = await _sheet(tx, earlier[-1].attempt_id, person_id=person_id, vault=vault)
        if last.attempt.state == "started" and not last.attempt.is_over(tx.now):
            return last
        if last.attempt.state == "started":  # its timer has not run yet
            await _close(tx, last)
            earlier = await store.attempts_at(tx.conn, tx.tenant, standing.enrollment_id, module_id)
    if any(row.state == "passed" for row in earlier):
        raise AlreadySubmitted("The quiz is passed")
    quiz = await _quiz(tx.conn, tx.tenant, module.quiz_id)
    attempt = QuizAttempt(
        attempt_id=str(tx.new_id()),
        enrollment_id=standing.enrollment_id,
        person_id=person_id,
        course_id=standing.course_id,
        module_id=module_id,
    )
    events = quiz_attempt.decide(attempt, Start(quiz, len(earlier) + 1), now=tx.now)
    for event in events:
        attempt = quiz_attempt.evolve(attempt, event)
    tx.append(f"attempt/{attempt.attempt_id}", events, expected=0, key=person_id)
    row = {
        "tenant": tx.tenant,
        "attempt_id": attempt.attempt_id,
        "kind": "quiz",
        "enrollment_id": standing.enrollment_id,
        "person_id": person_id,
        "course_id": standing.course_id,
        "course_version": standing.course_version,
        "module_id": module_id,
        "number": attempt.number,
        "version": len(events),
        "state": "started",
        "assurance": quiz_attempt.SERVER_GRADED,
        "started_at": tx.now,
        "quiz_id": quiz.quiz_id,
    }
    if not await store.add_attempt(tx.conn, row):
        # Another tab was faster: its attempt is the running one.
        raise AlreadySubmitted("An attempt was started in another tab; open it again")
    if attempt.closes_at:
        tx.set_timer(DEADLINE, attempt.attempt_id, attempt.closes_at, {"person_id": person_id})
    found = await store.attempt(tx.conn, tx.tenant, attempt.attempt_id)
    return Sheet(attempt, quiz, found, {}, quiz_attempt.attempts_left(quiz, attempt.number))


async def show(tx: Tx, attempt_id: str, *, person_id: str, vault: Vault) -> Sheet:
    return await _sheet(tx, attempt_id, person_id=person_id, vault=vault)


async def result(tx: Tx, attempt_id: str, *, person_id: str, vault: Vault) -> Sheet:
    sheet = await _sheet(tx, attempt_id, person_id=person_id, vault=vault)
    if sheet.attempt.state == "started":
        raise NotSubmitted
    return sheet


async def save_answer(
    tx: Tx, attempt_id: str, question_id: str, *, person_id: str, sequence: int, answer: object, vault: Vault
) -> int:
    """Save one answer; the number under which it is saved. A repetition is acknowledged and changes
    nothing.
    """
    sheet = await _sheet(tx, attempt_id, person_id=person_id, vault=vault, lock=True)
    if question_id not in sheet.attempt.question_ids:
        raise UnknownAttempt("This attempt does not ask that question")
    checked = quizzes.check_answer(sheet.quiz.question(question_id), answer)
    key = await vault.person_key(tx, person_id)
    sealed = sealing.seal(key, json.dumps(checked).encode(), _of_answer(tx.tenant, attempt_id, question_id))
    command = SaveAnswer(question_id, sequence, sealed, repeats=sheet.answers.get(question_id) == checked)
    await _append(tx, sheet, quiz_attempt.decide(sheet.attempt, command, now=tx.now))
    return sequence


async def submit(tx: Tx, attempt_id: str, *, person_id: str, vault: Vault) -> Sheet:
    """Hand in and grade. After the deadline this grades what was saved in time."""
    sheet = await _sheet(tx, attempt_id, person_id=person_id, vault=vault, lock=True)
    return await _close(tx, sheet)


async def on_deadline(tx: Tx, timer: Timer, *, vault: Vault) -> None:
    """The time is over: what was saved is handed in, also when the learner's browser is long gone."""
    person_id = timer.payload["person_id"]
    sheet = await _sheet(tx, timer.key, person_id=person_id, vault=vault, lock=True)
    if sheet.attempt.state == "started":
        await _close(tx, sheet)


async def _close(tx: Tx, sheet: Sheet) -> Sheet:
    events = quiz_attempt.decide(sheet.attempt, Submit(sheet.quiz, sheet.answers), now=tx.now)
    attempt = await _append(tx, sheet, events)
    await store.change_attempt(
        tx.conn,
        tx.tenant,
        attempt.attempt_id,
        {
            "state": attempt.state,
            "score": attempt.score,
            "completed_at": tx.now if attempt.state == "passed" else None,
        },
    )
    tx.cancel_timer(DEADLINE, attempt.attempt_id)
    return replace(sheet, attempt=attempt)


async def _append(tx: Tx, sheet: Sheet, events: Any) -> QuizAttempt:
    attempt = sheet.attempt
    if events:
        stream = f"attempt/{attempt.attempt_id}"
        version = sheet.row.version
        tx.append(stream, events, expected=version, key=attempt.person_id)
        await store.change_attempt(tx.conn, tx.tenant, attempt.attempt_id, {"version": version + len(events)})
    for event in events:
        attempt = quiz_attempt.evolve(attempt, event)
    return attempt


async def _sheet(tx: Tx, attempt_id: str, *, person_id: str, vault: Vault, lock: bool = False) -> Sheet:
    """Raises UnknownAttempt, also for another person's."""
    row = await store.attempt(tx.conn, tx.tenant, attempt_id, lock=lock)
    if row is None or row.person_id != person_id or row.kind != "quiz":
        raise UnknownAttempt
    attempt = QuizAttempt(
        attempt_id=attempt_id,
        enrollment_id=row.enrollment_id,
        person_id=row.person_id,
        course_id=row.course_id,
        module_id=row.module_id,
    )
    for event in (await tx.load(f"attempt/{attempt_id}")).events:
        attempt = quiz_attempt.evolve(attempt, event)
    quiz = await _quiz(tx.conn, tx.tenant, row.quiz_id, attempt.quiz_version)
    answers: dict[str, Answer] = {}
    if attempt.answers:
        key = await vault.known_person_key(tx.conn, tx.tenant, person_id)
        if key is None:
            raise NotOpen("The person was erased")
        for question_id, saved in attempt.answers.items():
            where = _of_answer(tx.tenant, attempt_id, question_id)
            answers[question_id] = json.loads(sealing.unseal(key, saved.sealed, where))
    left = quiz_attempt.attempts_left(quiz, attempt.number)
    return Sheet(attempt, quiz, row, answers, left)


async def _quiz(conn: AsyncConnection, tenant: UUID, quiz_id: str, version: int = 0) -> Quiz:
    row = await store.quiz(conn, tenant, quiz_id, version)
    if row is None:
        raise UnknownQuiz
    return quizzes.from_json(quiz_id, row.version, row.definition)


def _of_answer(tenant: UUID, attempt_id: str, question_id: str) -> str:
    return sealing.place(tenant, f"attempt/{attempt_id}", f"answer/{question_id}")
