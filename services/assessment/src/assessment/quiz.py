"""Quizzes: what may be asked, how a paper is drawn, how answers are graded. PURE.

A published quiz never changes; a change is a new version, and an attempt keeps the one it began with.
Partial credit for multiple response: (right ticks - wrong ticks) / right options, never below zero, so that
ticking everything earns nothing.
"""

import math
import random
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from assessment.errors import BadAnswer, BadQuiz

Kind = Literal["multiple_choice", "multiple_response", "numeric", "short_text"]
Answer = str | float | list[str]

MAX_TEXT_ANSWER = 1_000


@dataclass(frozen=True)
class Option:
    id: str
    text: str
    correct: bool = False


@dataclass(frozen=True)
class Question:
    question_id: str
    kind: Kind
    text: str
    points: float = 1.0
    options: tuple[Option, ...] = ()  # multiple choice and multiple response
    value: float | None = None  # numeric: the right value …
    tolerance: float = 0.0  # … and how far off still counts
    accepted: tuple[str, ...] = ()  # short text
    feedback: str = ""  # shown with the result

    @property
    def correct_options(self) -> frozenset[str]:
        return frozenset(option.id for option in self.options if option.correct)


@dataclass(frozen=True)
class Quiz:
    quiz_id: str
    version: int
    title: str
    passing_score: float  # percent
    questions: tuple[Question, ...]
    time_limit_seconds: int | None = None
    max_attempts: int | None = None
    draw: int | None = None  # ask so many of the questions; None asks all
    shuffle: bool = True

    @property
    def asked(self) -> int:
        """Questions on one paper."""
        return len(self.questions) if self.draw is None else min(self.draw, len(self.questions))

    def question(self, question_id: str) -> Question:
        return next(q for q in self.questions if q.question_id == question_id)


@dataclass(frozen=True)
class Graded:
    question_id: str
    points: float
    max_points: float

    @property
    def correct(self) -> bool:
        return math.isclose(self.points, self.max_points)


@dataclass(frozen=True)
class Grade:
    results: tuple[Graded, ...]
    score: float  # percent of the points of the questions asked
    passed: bool


@dataclass(frozen=True)
class Faults:
    """Every rule a definition breaks, so that an author mends all at once."""

    found: list[str] = field(default_factory=list[str])

    def check(self, holds: bool, sentence: str) -> None:
        if not holds:
            self.found.append(sentence)


def checked(quiz: Quiz) -> Quiz:
    """The same quiz. Raises BadQuiz when nobody could take it, or nobody could fail it."""
    faults = Faults()
    faults.check(0 < quiz.passing_score <= 100, "passing_score must be above 0 and at most 100")
    faults.check(bool(quiz.questions), "The quiz needs a question")
    faults.check(
        quiz.time_limit_seconds is None or quiz.time_limit_seconds >= 10,
        "time_limit_seconds must be 10 or more",
    )
    faults.check(quiz.max_attempts is None or quiz.max_attempts >= 1, "max_attempts must be 1 or more")
    faults.check(
        quiz.draw is None or 1 <= quiz.draw <= len(quiz.questions),
        "draw must be between 1 and the number of questions",
    )
    ids = [q.question_id for q in quiz.questions]
    faults.check(len(set(ids)) == len(ids), "Each question needs its own question_id")
    for question in quiz.questions:
        _check_question(question, faults)
    if faults.found:
        raise BadQuiz("; ".join(faults.found), faults=faults.found)
    return quiz


def _check_question(question: Question, faults: Faults) -> None:
    name = f"Question {question.question_id!r}"
    faults.check(bool(question.question_id), "A question has no question_id")
    faults.check(bool(question.text.strip()), f"{name} has no text")
    faults.check(math.isfinite(question.points) and question.points > 0, f"{name}: points must be above 0")
    has_options = question.kind in {"multiple_choice", "multiple_response"}
    faults.check(has_options or not question.options, f"{name}: a {question.kind} question has no options")
    faults.check(
        question.kind == "numeric" or question.value is None, f"{name}: only numeric questions have a value"
    )
    faults.check(
        question.kind == "short_text" or not question.accepted, f"{name}: only short_text has accepted"
    )
    if has_options:
        ids = [option.id for option in question.options]
        correct = len(question.correct_options)
        faults.check(len(ids) >= 2, f"{name} needs two options or more")
        faults.check(len(set(ids)) == len(ids) and all(ids), f"{name}: each option needs its own id")
        faults.check(
            all(option.text.strip() for option in question.options), f"{name}: an option has no text"
        )
        if question.kind == "multiple_choice":
            faults.check(correct == 1, f"{name} needs exactly one correct option")
        else:
            faults.check(correct >= 1, f"{name} needs a correct option")
    if question.kind == "numeric":
        faults.check(question.value is not None and math.isfinite(question.value), f"{name} needs a value")
        faults.check(
            math.isfinite(question.tolerance) and question.tolerance >= 0, f"{name}: tolerance is below 0"
        )
    if question.kind == "short_text":
        faults.check(any(_folded(text) for text in question.accepted), f"{name} needs an accepted answer")


def paper(quiz: Quiz, seed: str) -> list[str]:
    """The questions of one attempt in the order shown: the same for the same seed (the attempt's id)."""
    ids = [q.question_id for q in quiz.questions]
    order = random.Random(seed)  # noqa: S311 - chance, not a secret
    if quiz.draw is not None and quiz.draw < len(ids):
        drawn = set(order.sample(ids, quiz.draw))
        ids = [i for i in ids if i in drawn]
    if quiz.shuffle:
        order.shuffle(ids)
    return ids


def shown_options(quiz: Quiz, question: Question, seed: str) -> list[Option]:
    options = list(question.options)
    if quiz.shuffle:
        random.Random(f"{seed}/{question.question_id}").shuffle(options)  # noqa: S311
    return options


def check_answer(question: Question, answer: object) -> Answer:
    """The answer in its question's shape. Raises BadAnswer."""
    match question.kind:
        case "multiple_choice":
            if isinstance(answer, str) and answer in {option.id for option in question.options}:
                return answer
            raise BadAnswer("The answer must be the id of an option")
        case "multiple_response":
            ids = {option.id for option in question.options}
            if isinstance(answer, list):
                ticked = cast(list[object], answer)
                if all(isinstance(i, str) and i in ids for i in ticked):
                    return sorted({str(i) for i in ticked})
            raise BadAnswer("The answer must be a list of ids of options")
        case "numeric":
            if isinstance(answer, (int, float)) and not isinstance(answer, bool) and math.isfinite(answer):
                return float(answer)
            raise BadAnswer("The answer must be a number")
        case "short_text":
            if isinstance(answer, str) and len(answer) <= MAX_TEXT_ANSWER:
                return answer
            raise BadAnswer(f"The answer must be text of at most {MAX_TEXT_ANSWER} characters")


def grade(quiz: Quiz, question_ids: Sequence[str], answers: Mapping[str, Answer]) -> Grade:
    """Grade the questions asked. An unanswered one earns nothing; an answer to another question counts
    nowhere.
    """
    results = tuple(_grade(quiz.question(i), answers.get(i)) for i in question_ids)
    possible = math.fsum(r.max_points for r in results)
    score = math.fsum(r.points for r in results) / possible * 100 if possible else 0.0
    # Rounded, or 7 of 10 could miss a passing score of 70 by a binary digit.
    score = round(score, 6)
    return Grade(results, score, score >= quiz.passing_score)


def _grade(question: Question, answer: Answer | None) -> Graded:
    share = 0.0 if answer is None else _share(question, answer)
    return Graded(question.question_id, question.points * share, question.points)


def _share(question: Question, answer: Answer) -> float:
    """How much of the points the answer earns, from 0 to 1."""
    match question.kind:
        case "multiple_choice":
            return float(answer in question.correct_options)
        case "multiple_response":
            ticked = frozenset(answer) if isinstance(answer, list) else frozenset[str]()
            right = len(ticked & question.correct_options)
            wrong = len(ticked - question.correct_options)
            return max(0.0, (right - wrong) / len(question.correct_options))
        case "numeric":
            value = question.value
            if value is None or not isinstance(answer, float):
                return 0.0
            # The tolerance is decimal, as the author wrote it: 0.1 + 0.2 is within 0 of 0.3.
            return float(abs(answer - value) <= question.tolerance + 1e-9 * max(1.0, abs(value)))
        case "short_text":
            folded = _folded(answer) if isinstance(answer, str) else ""
            return float(bool(folded) and folded in {_folded(text) for text in question.accepted})


def _folded(text: str) -> str:
    """Compared without regard to case, spacing and ways to encode the same character."""
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


def to_json(quiz: Quiz) -> dict[str, Any]:
    """As the table keeps it."""
    return {
        "title": quiz.title,
        "passing_score": quiz.passing_score,
        "time_limit_seconds": quiz.time_limit_seconds,
        "max_attempts": quiz.max_attempts,
        "draw": quiz.draw,
        "shuffle": quiz.shuffle,
        "questions": [
            {
                "question_id": q.question_id,
                "type": q.kind,
                "text": q.text,
                "points": q.points,
                "options": [{"id": o.id, "text": o.text, "correct": o.correct} for o in q.options],
                "value": q.value,
                "tolerance": q.tolerance,
                "accepted": list(q.accepted),
                "feedback": q.feedback,
            }
            for q in quiz.questions
        ],
    }


def from_json(quiz_id: str, version: int, data: Mapping[str, Any]) -> Quiz:
    return Quiz(
        quiz_id=quiz_id,
        version=version,
        title=data["title"],
        passing_score=float(data["passing_score"]),
        time_limit_seconds=data.get("time_limit_seconds"),
        max_attempts=data.get("max_attempts"),
        draw=data.get("draw"),
        shuffle=data.get("shuffle", True),
        questions=tuple(
            Question(
                question_id=q["question_id"],
                kind=q["type"],
                text=q["text"],
                points=float(q.get("points", 1)),
                options=tuple(
                    Option(o["id"], o["text"], o.get("correct", False)) for o in q.get("options") or ()
                ),
                value=q.get("value"),
                tolerance=float(q.get("tolerance") or 0),
                accepted=tuple(q.get("accepted") or ()),
                feedback=q.get("feedback", ""),
            )
            for q in data["questions"]
        ),
    )
