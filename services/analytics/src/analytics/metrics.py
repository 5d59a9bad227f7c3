"""PURE: what every number means, in one place, and how a question about it becomes SQL.

Nothing of a question enters the SQL but names from the tables below; values are bound, the tenant always.
"""

# ruff: noqa: S608 - see above

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from analytics.errors import UnknownName


@dataclass(frozen=True)
class Subject:
    """What is counted: a view with one row for each of it."""

    view: str
    month: str  # of a row, unless the metric names another moment

    def rows(self, *names: str) -> str:
        """The view that has all of these dimensions and filters. Departments are joined from people, at a price."""
        return self.view if "department" in names else f"{self.view}_bare"


@dataclass(frozen=True)
class Metric:
    """A number, or a share or mean of two. `numerator` and `denominator` are SQL over the subject's rows."""

    name: str
    label: str
    sentence: str
    subject: str
    numerator: str
    denominator: str = ""  # empty: the number itself
    unit: str = "count"  # count, share (0 to 1) or percent (a mean of percentages)
    month: str = ""


SUBJECTS: Mapping[str, Subject] = {
    "enrollments": Subject("v1_enrollments", "enrolled_at"),
    "assessments": Subject("v1_assessments", "graded_at"),
    "certificates": Subject("v1_certificates", "issued_at"),
}

OPEN = "state != 'withdrawn'"
OVERDUE = "(state = 'active' AND ifNull(due_at < {as_of:DateTime64(6)}, 0))"
DUE = "(mandatory AND state != 'withdrawn' AND ifNull(due_at < {as_of:DateTime64(6)}, 0))"

METRICS: Mapping[str, Metric] = {
    m.name: m
    for m in (
        Metric(
            "enrolled",
            "Enrolled",
            "Enrolments ever made, one for each person, course and cycle; withdrawn ones are included.",
            "enrollments",
            "count()",
        ),
        Metric(
            "learners",
            "Learners",
            "Distinct persons with at least one enrolment that is not withdrawn.",
            "enrollments",
            f"uniqExactIf(person_id, {OPEN})",
        ),
        Metric(
            "completed",
            "Completed",
            "Enrolments in which every module of the pinned course version is done.",
            "enrollments",
            "countIf(state = 'completed')",
            month="completed_at",
        ),
        Metric(
            "withdrawn",
            "Withdrawn",
            "Enrolments that ended without completion because no reason for them was left.",
            "enrollments",
            "countIf(state = 'withdrawn')",
            month="withdrawn_at",
        ),
        Metric(
            "completion_rate",
            "Completion rate",
            "Completed enrolments as a share of enrolments that are not withdrawn.",
            "enrollments",
            "countIf(state = 'completed')",
            f"countIf({OPEN})",
            "share",
        ),
        Metric(
            "overdue",
            "Overdue",
            "Enrolments neither completed nor withdrawn whose due date has passed as of now.",
            "enrollments",
            f"countIf{OVERDUE}",
            month="due_at",
        ),
        Metric(
            "compliance",
            "Compliance",
            "Mandatory enrolments that are completed (even late) or not yet overdue, as a share of all mandatory"
            " enrolments that are not withdrawn. Departments are the persons' current ones.",
            "enrollments",
            f"countIf(mandatory AND {OPEN} AND NOT {OVERDUE})",
            f"countIf(mandatory AND {OPEN})",
            "share",
            month="due_at",
        ),
        Metric(
            "compliance_due",
            "Compliance of what is due",
            "Mandatory enrolments whose due date has passed and that are completed (even late), as a share of all"
            " mandatory enrolments, not withdrawn, whose due date has passed.",
            "enrollments",
            f"countIf({DUE} AND state = 'completed')",
            f"countIf{DUE}",
            "share",
            month="due_at",
        ),
        Metric(
            "on_time_rate",
            "Completed on time",
            "Completions by the due date as a share of completions that had one.",
            "enrollments",
            "countIf(state = 'completed' AND isNotNull(due_at) AND ifNull(on_time, 0))",
            "countIf(state = 'completed' AND isNotNull(due_at))",
            "share",
            month="completed_at",
        ),
        Metric(
            "pass_rate",
            "Pass rate",
            "Passed attempts as a share of all attempts graded by the server, first or later.",
            "assessments",
            "countIf(passed)",
            "count()",
            "share",
        ),
        Metric(
            "pass_rate_first_attempt",
            "Pass rate at the first attempt",
            "Passed first attempts as a share of all first attempts graded by the server.",
            "assessments",
            "countIf(passed AND number = 1)",
            "countIf(number = 1)",
            "share",
        ),
        Metric(
            "average_score",
            "Average score",
            "Mean score in percent of all attempts graded by the server.",
            "assessments",
            "sum(score)",
            "count(score)",
            "percent",
        ),
        Metric(
            "certificates",
            "Certificates",
            "Certificates issued and not revoked.",
            "certificates",
            "countIf(valid)",
        ),
    )
}

DIMENSIONS = ("department", "course", "month")
FILTERS: Mapping[str, str] = {"department": "department", "course_id": "course_id"}

OVERVIEW = (
    "enrolled",
    "completed",
    "withdrawn",
    "overdue",
    "pass_rate",
    "average_score",
    "compliance",
    "certificates",
)


@dataclass(frozen=True)
class Question:
    """SQL and its bound values."""

    sql: str
    parameters: Mapping[str, object]


@dataclass(frozen=True)
class Answer:
    """One value of a dimension. A share of nothing has no value."""

    key: str
    numerator: float
    denominator: float | None

    @property
    def value(self) -> float | None:
        if self.denominator is None:
            return self.numerator
        return self.numerator / self.denominator if self.denominator else None


def metric(name: str) -> Metric:
    if name not in METRICS:
        raise UnknownName(f"No metric {name!r}; there are: {', '.join(METRICS)}", allowed=list(METRICS))
    return METRICS[name]


def dimension(name: str) -> str:
    if name not in DIMENSIONS:
        raise UnknownName(
            f"No dimension {name!r}; there are: {', '.join(DIMENSIONS)}", allowed=list(DIMENSIONS)
        )
    return name


def by(
    of: Metric, name: str, tenant: UUID, as_of: datetime, filters: Mapping[str, str] | None = None
) -> Question:
    """A metric by a dimension."""
    where, parameters = _where(tenant, as_of, filters or {})
    subject = SUBJECTS[of.subject]
    match dimension(name):
        case "course":
            key = "course_id"
        case "month":
            moment = of.month or subject.month
            key, where = f"formatDateTime({moment}, '%Y-%m')", f"{where} AND isNotNull({moment})"
        case column:
            key = column
    return Question(
        f"SELECT toString({key}) AS key, {_pair(of)} FROM {subject.rows(name, *parameters)}"
        f" WHERE {where} GROUP BY key ORDER BY key",
        parameters,
    )


def totals(
    names: Sequence[str], tenant: UUID, as_of: datetime, filters: Mapping[str, str] | None = None
) -> list[Question]:
    """Several metrics over everything: one question for each subject, rows of (key = metric's name, …)."""
    where, parameters = _where(tenant, as_of, filters or {})
    questions: list[Question] = []
    for name, subject in SUBJECTS.items():
        wanted = [METRICS[n] for n in names if METRICS[n].subject == name]
        if not wanted:
            continue
        rows = ", ".join(
            f"('{m.name}', toFloat64({m.numerator}), {_denominator(m)})" for m in wanted
        )  # one pass over the view, then a row for each metric
        questions.append(
            Question(
                "SELECT row.1 AS key, row.2 AS numerator, row.3 AS denominator FROM"
                f" (SELECT arrayJoin([{rows}]) AS row FROM (SELECT * FROM {subject.rows(*parameters)} WHERE {where}))",
                parameters,
            )
        )
    return questions


def answers(rows: Sequence[Mapping[str, Any]]) -> list[Answer]:
    return [Answer(row["key"], row["numerator"] or 0, row["denominator"]) for row in rows]


def _pair(of: Metric) -> str:
    return f"toFloat64({of.numerator}) AS numerator, {_denominator(of)} AS denominator"


def _denominator(of: Metric) -> str:
    return f"toNullable(toFloat64({of.denominator}))" if of.denominator else "CAST(NULL AS Nullable(Float64))"


def _where(tenant: UUID, as_of: datetime, filters: Mapping[str, str]) -> tuple[str, dict[str, object]]:
    conditions = ["tenant = {tenant:UUID}"]
    parameters: dict[str, object] = {
        "tenant": str(tenant),
        "as_of": as_of.strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    for name, value in filters.items():
        if name not in FILTERS:
            raise UnknownName(f"No filter {name!r}; there are: {', '.join(FILTERS)}", allowed=list(FILTERS))
        if value:
            conditions.append(f"{FILTERS[name]} = {{{name}:String}}")
            parameters[name] = value
    return " AND ".join(conditions), parameters
