"""The end of the demo: when everything has arrived everywhere, and what the dashboards say then."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from lyceum_local.demo.api import Api, until
from lyceum_local.paths import SERVICES

Report = Mapping[str, Any]
BY_DEPARTMENT = ("enrolled", "completed", "pass_rate", "average_score", "compliance")


@dataclass(frozen=True)
class DropOff:
    course: str
    module: str
    enrolled: int
    started: int
    completed: int


@dataclass(frozen=True)
class Numbers:
    """`by_department` has a value for each metric of BY_DEPARTMENT; shares are 0 to 1, scores percent."""

    overview: dict[str, Any]
    by_department: dict[str, dict[str, float | None]]
    drop_off: list[DropOff]


@dataclass(frozen=True)
class Outcome:
    """How the demo ended, for the reader, and as JSON for programs."""

    links: dict[str, str]
    hire_ms: dict[str, float]  # from HR's webhook until the courses were assigned
    numbers: Numbers
    ids: dict[str, Any]


def heads(reports: Sequence[Report]) -> dict[tuple[str, int], int]:
    """PURE. The last position of each partition, as its producer numbers it."""
    return {(f["feed"], f["partition"]): f["head"] for report in reports for f in report["feeds"]}


def unsettled(reports: Sequence[Report]) -> list[str]:
    """PURE. Who still has to number or to hear something."""
    last = heads(reports)
    waiting = [r["service"] for r in reports if r["relay"]["outbox"]]
    behind = {
        f"{c['consumer']} ← {c['feed']}"
        for report in reports
        for c in report["consumers"]
        if c["next"] <= last.get((c["feed"], c["partition"]), 0)
    }
    return [*waiting, *sorted(behind)]


def settle(api: Api) -> None:
    """Wait until every event is numbered and everybody has heard it.

    An event may make another service say something, so two rounds must agree: the same heads, and nobody behind.
    """
    rounds: list[dict[tuple[str, int], int]] = []

    def quiet() -> bool:
        reports = [api.get(f"/api/{service}/system/feeds") for service in SERVICES]
        now = heads(reports)
        settled = not unsettled(reports) and rounds[-1:] == [now]
        rounds.append(now)
        return settled

    until(quiet, "Bringing every event everywhere", seconds=300, pause=0.3)


def late_is_told(api: Api) -> None:
    """Wait until enrollment has called overdue whatever is: its timers run every few moments."""

    def told() -> bool:
        now = datetime.now(UTC)
        active = api.every("/api/enrollment/enrollments", state="active")
        return not any(
            e["due_at"] and datetime.fromisoformat(e["due_at"]) < now and not e["overdue"] for e in active
        )

    until(told, "Telling who is late", pause=0.5)


def numbers(api: Api, courses: Mapping[str, str]) -> Numbers:
    """What analytics answers over HTTP."""
    by_department: dict[str, dict[str, float | None]] = {}
    for metric in BY_DEPARTMENT:
        for row in api.get(f"/api/analytics/metrics/{metric}", by="department")["rows"]:
            of = by_department.setdefault(row["label"], dict.fromkeys(BY_DEPARTMENT))
            of[metric] = _rounded(row["value"])
    found: list[DropOff] = []
    for slug, course_id in courses.items():
        answer = api.get(f"/api/analytics/courses/{course_id}/drop-off")
        found += [
            DropOff(slug, m["title"], answer["enrolled"], m["started"], m["completed"])
            for m in answer["modules"]
        ]
    overview = {name: _rounded(value) for name, value in api.get("/api/analytics/overview").items()}
    return Numbers(overview, by_department, found)


def _rounded(value: Any) -> Any:
    """The last digits of a mean depend on the order in which it was added up."""
    return round(value, 6) if isinstance(value, float) else value
