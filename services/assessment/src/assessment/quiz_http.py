"""Quizzes over HTTP: authors publish them, learners take them."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from assessment import quiz as quizzes
from assessment import quizzing, store
from assessment.keys import Vault
from assessment.peers import Enrollments
from assessment.quiz import Kind, Option, Question, Quiz
from assessment.quizzing import Sheet
from lyceum_kit.group import Group
from lyceum_kit.http import Model, Pages, allow, page
from lyceum_kit.ledger import Ledger
from lyceum_kit.lines import Line
from lyceum_kit.tokens import Caller

Anyone = Annotated[Caller, allow()]
Author = Annotated[Caller, allow("author", "admin")]


class ModuleBody(Model):
    enrollment_id: str = Field(min_length=1, max_length=100)
    module_id: str = Field(min_length=1, max_length=100)


class AnswerBody(Model):
    sequence: int = Field(ge=1, le=1_000_000)
    answer: str | float | list[str]


class OptionBody(Model):
    id: str = Field(min_length=1, max_length=100)
    text: str = Field(max_length=2_000)
    correct: bool = False


class QuestionBody(Model):
    question_id: str = Field(min_length=1, max_length=100)
    type: Kind
    text: str = Field(max_length=5_000)
    points: float = Field(1.0, le=1_000)
    options: list[OptionBody] = Field([], max_length=50)
    value: float | None = None
    tolerance: float = 0.0
    accepted: list[Annotated[str, Field(max_length=1_000)]] = Field([], max_length=100)
    feedback: str = Field("", max_length=5_000)


class QuizBody(Model):
    quiz_id: str = Field(
        "", max_length=100, description="Given: a new version of that quiz. Empty: a new quiz."
    )
    title: Line = Field(max_length=200)
    passing_score: float
    time_limit_seconds: int | None = None
    max_attempts: int | None = None
    draw: int | None = None
    shuffle: bool = True
    questions: list[QuestionBody] = Field(max_length=1_000)


class QuizRules(BaseModel):
    """What the newest version asks of who begins it now; nothing of what is right."""

    quiz_id: str
    version: int
    title: str
    passing_score: float = Field(description="Percent")
    questions: int = Field(description="Asked in one attempt")
    time_limit_seconds: int | None
    max_attempts: int | None


def routes(ledger: Ledger, vault: Vault, enrollments: Enrollments) -> APIRouter:
    router = APIRouter()
    group = Group(ledger)

    @router.get("/quizzes")
    async def list_quizzes(who: Author, paging: Pages) -> dict[str, Any]:
        async with ledger.read(who.tenant) as conn:
            rows = await store.newest_quizzes(
                conn, who.tenant, after=paging.place(str) or "", limit=paging.limit + 1
            )
        shown, after = page(rows, paging, lambda row: (row.quiz_id,))
        return {
            "items": [
                {
                    "quiz_id": row.quiz_id,
                    "version": row.version,
                    "title": row.title,
                    "passing_score": row.definition["passing_score"],
                    "questions": len(row.definition["questions"]),
                    "max_attempts": row.definition["max_attempts"],
                    "time_limit_seconds": row.definition["time_limit_seconds"],
                }
                for row in shown
            ],
            "next": after,
        }

    @router.post("/quizzes", status_code=201)
    async def publish_quiz(body: QuizBody, who: Author, response: Response) -> dict[str, Any]:
        """Publish a quiz, or the next version of one. Running attempts keep the version they began with."""
        quiz = await ledger.run(who.tenant, quizzing.publish, _quiz(body), actor=who.subject)
        response.headers["location"] = f"/api/assessment/quizzes/{quiz.quiz_id}"
        return {"quiz_id": quiz.quiz_id, "version": quiz.version, "title": quiz.title}

    @router.get("/quizzes/{quiz_id}")
    async def show_quiz(quiz_id: str, who: Author) -> dict[str, Any]:
        """The newest version with its right answers, for authors."""
        async with ledger.read(who.tenant) as conn:
            row = await store.quiz(conn, who.tenant, quiz_id)
        if row is None:
            raise quizzing.UnknownQuiz
        return {"quiz_id": row.quiz_id, "version": row.version, **row.definition}

    @router.get("/quizzes/{quiz_id}/rules")
    async def quiz_rules(quiz_id: str, who: Anyone) -> QuizRules:
        """What a learner should know before starting. How many attempts are left, their records tell."""
        async with ledger.read(who.tenant) as conn:
            row = await store.quiz(conn, who.tenant, quiz_id)
        if row is None:
            raise quizzing.UnknownQuiz
        quiz = quizzes.from_json(row.quiz_id, row.version, row.definition)
        return QuizRules(
            quiz_id=quiz.quiz_id,
            version=quiz.version,
            title=quiz.title,
            passing_score=quiz.passing_score,
            questions=quiz.asked,
            time_limit_seconds=quiz.time_limit_seconds,
            max_attempts=quiz.max_attempts,
        )

    @router.post("/attempts", status_code=201)
    async def start(body: ModuleBody, who: Anyone, response: Response) -> dict[str, Any]:
        """Start a quiz, or go on with the running attempt. The server's clock starts now."""
        standing = await enrollments.get(who.tenant, body.enrollment_id)
        sheet = await ledger.run(
            who.tenant,
            quizzing.start,
            standing,
            body.module_id,
            person_id=who.subject,
            vault=vault,
            actor=who.subject,
        )
        response.headers["location"] = f"/api/assessment/attempts/{sheet.attempt.attempt_id}"
        return _sheet(sheet)

    @router.get("/attempts/{attempt_id}")
    async def show(attempt_id: str, who: Anyone) -> dict[str, Any]:
        sheet = await ledger.run(who.tenant, quizzing.show, attempt_id, person_id=who.subject, vault=vault)
        return _sheet(sheet)

    @router.put("/attempts/{attempt_id}/answers/{question_id}")
    async def save_answer(attempt_id: str, question_id: str, body: AnswerBody, who: Anyone) -> dict[str, int]:
        """Save one answer. Numbers rise within the attempt; the same number with the same answer may come
        again.
        """
        saved = await group.run(
            who.tenant,
            quizzing.save_answer,
            attempt_id,
            question_id,
            person_id=who.subject,
            sequence=body.sequence,
            answer=body.answer,
            vault=vault,
            actor=who.subject,
        )
        return {"saved_sequence": saved}

    @router.post("/attempts/{attempt_id}/submit")
    async def submit(attempt_id: str, who: Anyone) -> dict[str, Any]:
        """Hand in: graded at once. A second time is refused: whoever did not get the answer asks for the result."""
        sheet = await ledger.run(
            who.tenant, quizzing.submit, attempt_id, person_id=who.subject, vault=vault, actor=who.subject
        )
        return await _result(ledger, who.tenant, sheet)

    @router.get("/attempts/{attempt_id}/result")
    async def result(attempt_id: str, who: Anyone) -> dict[str, Any]:
        """How it went, question by question, once it is handed in."""
        sheet = await ledger.run(who.tenant, quizzing.result, attempt_id, person_id=who.subject, vault=vault)
        return await _result(ledger, who.tenant, sheet)

    _ = list_quizzes, publish_quiz, show_quiz, quiz_rules, start, show, save_answer, submit, result
    return router


def _quiz(body: QuizBody) -> Quiz:
    return Quiz(
        quiz_id=body.quiz_id,
        version=0,
        title=body.title,
        passing_score=body.passing_score,
        time_limit_seconds=body.time_limit_seconds,
        max_attempts=body.max_attempts,
        draw=body.draw,
        shuffle=body.shuffle,
        questions=tuple(
            Question(
                question_id=q.question_id,
                kind=q.type,
                text=q.text,
                points=q.points,
                options=tuple(Option(o.id, o.text, o.correct) for o in q.options),
                value=q.value,
                tolerance=q.tolerance,
                accepted=tuple(q.accepted),
                feedback=q.feedback,
            )
            for q in body.questions
        ),
    )


def _sheet(sheet: Sheet) -> dict[str, Any]:
    """What the learner sees while answering. What is right is not in it."""
    attempt = sheet.attempt
    return {
        "attempt_id": attempt.attempt_id,
        "number": attempt.number,
        "title": sheet.quiz.title,
        "state": attempt.state,
        "started_at": sheet.row.started_at,
        "deadline_at": attempt.deadline_at,
        "saved_sequence": attempt.sequence,
        "score": attempt.score,
        "questions": [
            {
                "question_id": q.question_id,
                "type": q.kind,
                "text": q.text,
                "points": q.points,
                "options": [
                    {"id": o.id, "text": o.text}
                    for o in quizzes.shown_options(sheet.quiz, q, attempt.attempt_id)
                ],
                "answer": sheet.answers.get(q.question_id),
            }
            for q in sheet.questions
        ],
        "attempts_left": sheet.attempts_left,
        "passing_score": sheet.quiz.passing_score,
    }


async def _result(ledger: Ledger, tenant: UUID, sheet: Sheet) -> dict[str, Any]:
    grade = quizzes.grade(sheet.quiz, sheet.attempt.question_ids, sheet.answers)
    async with ledger.read(tenant) as conn:
        issued = await store.certificate_of(conn, tenant, sheet.attempt.enrollment_id)
    return {
        "attempt_id": sheet.attempt.attempt_id,
        "state": sheet.attempt.state,
        "score": grade.score,
        "passing_score": sheet.quiz.passing_score,
        "results": [
            {
                "question_id": r.question_id,
                "points": r.points,
                "max_points": r.max_points,
                "correct": r.correct,
                "feedback": sheet.quiz.question(r.question_id).feedback,
            }
            for r in grade.results
        ],
        # Usually null still: the certificate follows once enrollment has noted that the course is complete.
        "certificate_id": issued.certificate_id if issued else None,
        "attempts_left": sheet.attempts_left,
    }
