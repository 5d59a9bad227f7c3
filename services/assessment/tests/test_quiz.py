"""Grading, drawing and the life of a quiz attempt, without a database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assessment import quiz, quiz_attempt, sealing
from assessment.errors import AlreadySubmitted, NoAttemptsLeft, StaleAnswer, TooLate
from assessment.quiz import Option, Question, Quiz
from assessment.quiz_attempt import QuizAttempt, SaveAnswer, Start, Submit

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
CHOICE = Question("c", "multiple_choice", "?", options=(Option("a", "A"), Option("b", "B", correct=True)))
RESPONSE = Question(
    "r",
    "multiple_response",
    "?",
    options=(
        Option("a", "A", correct=True),
        Option("b", "B", correct=True),
        Option("c", "C"),
        Option("d", "D"),
    ),
)
NUMBER = Question("n", "numeric", "?", value=0.3, tolerance=0.05)
TEXT = Question("t", "short_text", "?", accepted=("Straße", "ﬁre wall"))
QUIZ = Quiz("q", 1, "Quiz", 50, (CHOICE, RESPONSE, NUMBER, TEXT), time_limit_seconds=60, max_attempts=1)


@pytest.mark.parametrize(
    ("question", "answer", "share"),
    [
        (CHOICE, "b", 1),
        (CHOICE, "a", 0),
        (RESPONSE, ["a", "b"], 1),
        (RESPONSE, ["a"], 0.5),
        (RESPONSE, ["a", "c"], 0),
        (RESPONSE, ["a", "b", "c"], 0.5),
        (RESPONSE, ["a", "b", "c", "d"], 0),  # ticking everything earns nothing
        (RESPONSE, [], 0),
        (NUMBER, 0.35, 1),
        (NUMBER, 0.1 + 0.2, 1),
        (NUMBER, 0.36, 0),
        (TEXT, " STRASSE ", 1),
        (TEXT, "Fire   Wall", 1),
        (TEXT, "", 0),
        (TEXT, "wall", 0),
    ],
)
def test_an_answer_earns_its_share(question: Question, answer: Any, share: float) -> None:
    one = Quiz("q", 1, "One", 50, (question,))
    checked = quiz.check_answer(question, answer)
    assert quiz.grade(one, [question.question_id], {question.question_id: checked}).score == share * 100


def test_what_is_not_answered_or_not_asked_earns_nothing() -> None:
    grade = quiz.grade(QUIZ, ["c", "n"], {"c": "b", "t": "Straße"})
    assert (grade.score, grade.passed, [r.correct for r in grade.results]) == (50, True, [True, False])


def test_seven_of_ten_is_seventy_percent() -> None:
    questions = tuple(Question(str(n), "numeric", "?", points=0.1, value=1) for n in range(10))
    ten = Quiz("q", 1, "Ten", 70, questions)
    assert quiz.grade(ten, [q.question_id for q in questions], {str(n): 1.0 for n in range(7)}).passed


@given(st.text(min_size=1), st.integers(1, 4), st.booleans())
def test_a_paper_is_the_same_for_the_same_attempt(seed: str, draw: int, shuffle: bool) -> None:
    drawn = Quiz("q", 1, "Quiz", 50, QUIZ.questions, draw=draw, shuffle=shuffle)
    paper = quiz.paper(drawn, seed)
    assert paper == quiz.paper(drawn, seed)
    assert len(set(paper)) == len(paper) == draw
    assert shuffle or paper == [i for i in ("c", "r", "n", "t") if i in paper]


def test_papers_differ_between_attempts() -> None:
    assert len({tuple(quiz.paper(QUIZ, str(n))) for n in range(50)}) > 10


def test_a_definition_survives_the_table() -> None:
    assert quiz.from_json("q", 1, quiz.to_json(QUIZ)) == QUIZ
    assert quiz.checked(QUIZ) is QUIZ


def started() -> QuizAttempt:
    state = QuizAttempt("a", "e", "p", "c", "m")
    for event in quiz_attempt.decide(state, Start(QUIZ, 1), now=NOW):
        state = quiz_attempt.evolve(state, event)
    return state


def test_the_clock_is_the_servers() -> None:
    state = started()
    save = SaveAnswer("c", 1, b"sealed", repeats=False)
    assert quiz_attempt.decide(state, save, now=NOW + timedelta(seconds=64))
    with pytest.raises(TooLate):
        quiz_attempt.decide(state, save, now=NOW + timedelta(seconds=66))
    for seconds, late in ((30, False), (66, True)):
        at = NOW + timedelta(seconds=seconds)
        submitted: Any = quiz_attempt.decide(state, Submit(QUIZ, {}), now=at)[0]
        assert submitted.by_deadline is late


def test_an_attempt_is_submitted_once_and_then_takes_no_answer() -> None:
    state = started()
    for event in quiz_attempt.decide(state, Submit(QUIZ, {"c": "b", "r": ["a", "b"]}), now=NOW):
        state = quiz_attempt.evolve(state, event)
    assert (state.state, state.score) == ("passed", 50)
    for command in (Submit(QUIZ, {}), SaveAnswer("c", 9, b"", repeats=False)):
        with pytest.raises(AlreadySubmitted):
            quiz_attempt.decide(state, command, now=NOW)


def test_there_are_only_so_many_attempts() -> None:
    with pytest.raises(NoAttemptsLeft):
        quiz_attempt.decide(QuizAttempt("a", "e", "p", "c", "m"), Start(QUIZ, 2), now=NOW)


@given(st.lists(st.tuples(st.sampled_from(["c", "r", "n", "t"]), st.integers(1, 9)), max_size=20))
def test_the_newest_number_wins_in_whatever_order_answers_arrive(saves: list[tuple[str, int]]) -> None:
    state = started()
    newest = 0
    for question, sequence in saves:
        command = SaveAnswer(question, sequence, f"{question}{sequence}".encode(), repeats=False)
        if sequence <= newest:
            with pytest.raises(StaleAnswer):
                quiz_attempt.decide(state, command, now=NOW)
            continue
        for event in quiz_attempt.decide(state, command, now=NOW):
            state = quiz_attempt.evolve(state, event)
        newest = sequence
        assert state.answers[question].sealed == f"{question}{sequence}".encode()
    assert state.sequence == newest


@given(st.binary(), st.integers(0, 200))
def test_a_sealed_value_opens_only_unaltered_with_its_key_at_its_place(plain: bytes, position: int) -> None:
    key = sealing.new_key()
    sealed = sealing.seal(key, plain, "here")
    assert sealing.unseal(key, sealed, "here") == plain
    altered = bytearray(sealed)
    altered[position % len(sealed)] ^= 1
    for bad in (
        (sealing.new_key(), sealed, "here"),
        (key, sealed, "there"),
        (key, bytes(altered), "here"),
        (key, b"", ""),
    ):
        with pytest.raises(sealing.Broken):
            sealing.unseal(*bad)
