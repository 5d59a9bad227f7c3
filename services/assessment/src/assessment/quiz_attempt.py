"""A learner's attempt at a quiz, as events of the stream attempt/<id>. PURE; answers stay sealed in here.

The server is the clock: after the deadline only a short grace for the network is left, then a durable timer
submits what was saved. Answers carry rising numbers, so that one late on the wire never overwrites a newer
one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from assessment import quiz as quizzes
from assessment.errors import AlreadySubmitted, BadAnswer, NoAttemptsLeft, StaleAnswer, TooLate
from assessment.quiz import Answer, Grade, Quiz
from lyceum.assessment.v1.events_pb2 import (
    AnswerSaved,
    AssessmentFailed,
    AssessmentPassed,
    AttemptSubmitted,
    ModuleCompleted,
    QuestionResult,
    QuizAttemptStarted,
)

SERVER_GRADED = "server-graded"
GRACE = timedelta(seconds=5)  # what was sent in time may arrive a little later

State = Literal["new", "started", "submitted", "passed", "failed"]


@dataclass(frozen=True)
class Saved:
    sequence: int
    sealed: bytes


@dataclass(frozen=True)
class QuizAttempt:
    attempt_id: str
    enrollment_id: str
    person_id: str
    course_id: str
    module_id: str
    state: State = "new"
    number: int = 0
    quiz_version: int = 0
    question_ids: tuple[str, ...] = ()
    deadline_at: datetime | None = None
    sequence: int = 0
    answers: Mapping[str, Saved] = field(default_factory=dict[str, Saved])
    score: float | None = None

    @property
    def closes_at(self) -> datetime | None:
        return self.deadline_at + GRACE if self.deadline_at else None

    def is_over(self, now: datetime) -> bool:
        return self.closes_at is not None and now > self.closes_at


@dataclass(frozen=True)
class Start:
    quiz: Quiz
    number: int


@dataclass(frozen=True)
class SaveAnswer:
    question_id: str
    sequence: int
    sealed: bytes
    repeats: bool  # the same answer as the saved one


@dataclass(frozen=True)
class Submit:
    """Hand in: the learner, or the server once the time is over. `answers` are the saved ones, opened."""

    quiz: Quiz
    answers: Mapping[str, Answer]


def decide(state: QuizAttempt, command: Start | SaveAnswer | Submit, *, now: datetime) -> Sequence[Message]:
    match command:
        case Start():
            return _start(state, command, now)
        case SaveAnswer():
            return _save(state, command, now)
        case Submit():
            return _submit(state, command, now)


def attempts_left(quiz: Quiz, used: int) -> int | None:
    """None when there is no limit."""
    return None if quiz.max_attempts is None else max(0, quiz.max_attempts - used)


def _start(state: QuizAttempt, command: Start, now: datetime) -> Sequence[Message]:
    if attempts_left(command.quiz, command.number - 1) == 0:
        raise NoAttemptsLeft(f"All {command.quiz.max_attempts} attempts are used")
    limit = command.quiz.time_limit_seconds
    return [
        QuizAttemptStarted(
            attempt_id=state.attempt_id,
            enrollment_id=state.enrollment_id,
            person_id=state.person_id,
            course_id=state.course_id,
            module_id=state.module_id,
            quiz_id=command.quiz.quiz_id,
            quiz_version=command.quiz.version,
            number=command.number,
            question_ids=quizzes.paper(command.quiz, state.attempt_id),
            started_at=_timestamp(now),
            deadline_at=None if limit is None else _timestamp(now + timedelta(seconds=limit)),
        )
    ]


def _save(state: QuizAttempt, command: SaveAnswer, now: datetime) -> Sequence[Message]:
    if command.question_id not in state.question_ids:
        raise BadAnswer("This attempt does not ask that question")
    saved = state.answers.get(command.question_id)
    if saved and command.repeats and saved.sequence == command.sequence:
        return []  # sent again because the answer to it was lost
    if state.state != "started":
        raise AlreadySubmitted
    if state.is_over(now):
        raise TooLate
    if command.sequence <= state.sequence:
        raise StaleAnswer(f"Answers up to number {state.sequence} are saved", saved_sequence=state.sequence)
    return [
        AnswerSaved(
            attempt_id=state.attempt_id,
            person_id=state.person_id,
            question_id=command.question_id,
            sequence=command.sequence,
            answer_encrypted=command.sealed,
        )
    ]


def _submit(state: QuizAttempt, command: Submit, now: datetime) -> Sequence[Message]:
    if state.state != "started":
        raise AlreadySubmitted
    grade = quizzes.grade(command.quiz, state.question_ids, command.answers)
    submitted = AttemptSubmitted(
        attempt_id=state.attempt_id,
        person_id=state.person_id,
        by_deadline=state.is_over(now),
        submitted_at=_timestamp(now),
    )
    return [submitted, *_graded(state, command.quiz, grade, now)]


def _graded(state: QuizAttempt, quiz: Quiz, grade: Grade, now: datetime) -> Sequence[Message]:
    results = [
        QuestionResult(question_id=r.question_id, points=r.points, max_points=r.max_points)
        for r in grade.results
    ]
    if not grade.passed:
        return [
            AssessmentFailed(
                attempt_id=state.attempt_id,
                enrollment_id=state.enrollment_id,
                person_id=state.person_id,
                course_id=state.course_id,
                module_id=state.module_id,
                score=grade.score,
                passing_score=quiz.passing_score,
                number=state.number,
                results=results,
                attempts_left=attempts_left(quiz, state.number),
                graded_at=_timestamp(now),
            )
        ]
    return [
        AssessmentPassed(
            attempt_id=state.attempt_id,
            enrollment_id=state.enrollment_id,
            person_id=state.person_id,
            course_id=state.course_id,
            module_id=state.module_id,
            score=grade.score,
            passing_score=quiz.passing_score,
            number=state.number,
            results=results,
            graded_at=_timestamp(now),
        ),
        ModuleCompleted(
            attempt_id=state.attempt_id,
            enrollment_id=state.enrollment_id,
            person_id=state.person_id,
            course_id=state.course_id,
            module_id=state.module_id,
            outcome="passed",
            score=grade.score,
            assurance=SERVER_GRADED,
            completed_at=_timestamp(now),
        ),
    ]


def evolve(state: QuizAttempt, event: Message) -> QuizAttempt:
    match event:
        case QuizAttemptStarted():
            deadline = event.deadline_at.ToDatetime(tzinfo=UTC) if event.HasField("deadline_at") else None
            return replace(
                state,
                state="started",
                number=event.number,
                quiz_version=event.quiz_version,
                question_ids=tuple(event.question_ids),
                deadline_at=deadline,
            )
        case AnswerSaved():
            saved = Saved(event.sequence, event.answer_encrypted)
            return replace(
                state, sequence=event.sequence, answers={**state.answers, event.question_id: saved}
            )
        case AttemptSubmitted():
            return replace(state, state="submitted")
        case AssessmentPassed():
            return replace(state, state="passed", score=event.score)
        case AssessmentFailed():
            return replace(state, state="failed", score=event.score)
        case ModuleCompleted():
            return state
        case _:
            raise TypeError(f"{event.DESCRIPTOR.full_name} is not of a quiz attempt")


def _timestamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
