"""Enrolments as readers see them: with titles, what locks them, and why they exist, in sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from enrollment import path
from enrollment.enrollment import Ground
from enrollment.store import records
from enrollment.store.book import Books
from enrollment.store.records import Shown, Visible
from lyceum_kit.tokens import Caller

SEES_EVERYBODY = ("admin", "reader", "service")


def visible_to(who: Caller) -> Visible:
    """Admins and API clients see everybody, managers their direct reports, and everyone themselves."""
    if who.has(*SEES_EVERYBODY):
        return Visible(everybody=True)
    if who.kind != "person" or _not_an_id(who.subject):
        return Visible()
    return Visible(person_id=who.subject, manager_id=who.subject if who.has("manager") else None)


def _not_an_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return True
    return False


@dataclass(frozen=True)
class View:
    shown: Shown
    locked_by: tuple[str, ...]
    why: tuple[str, ...]

    @property
    def modules_done(self) -> int:
        return sum(m.module_id in self.shown.state.done for m in self.shown.modules)

    @property
    def next_module_id(self) -> str | None:
        done = self.shown.state.done
        return next((m.module_id for m in self.shown.modules if m.module_id not in done), None)

    @property
    def open(self) -> bool:
        return self.shown.state.state == "active" and not self.locked_by


async def view(conn: AsyncConnection, tenant: UUID, rows: Sequence[Shown], *, books: Books) -> list[View]:
    """A few statements, however many rows."""
    if not rows:
        return []
    people = list({row.state.person_id for row in rows})
    grounds = [g for row in rows for g in row.state.grounds]
    names = await records.rule_names(conn, tenant, list({g.rule_id for g in grounds if g.rule_id}))
    completed: Mapping[str, frozenset[str]] = {}
    pinned: Mapping[tuple[str, str], int] = {}
    if any(g.kind == "path" for g in grounds):
        completed = await records.completed_by(conn, tenant, people)
        pinned = await records.paths_of(conn, tenant, people)
    paths = (await books.read(conn, tenant)).catalog.paths
    views: list[View] = []
    for row in rows:
        state = row.state
        followed = {
            g.ground_id: paths[g.ground_id, pinned[state.person_id, g.ground_id]]
            for g in state.grounds
            if g.kind == "path"
        }
        locked: tuple[str, ...] = ()
        if state.state == "active":
            done = completed.get(state.person_id, frozenset[str]())
            locked = path.locked_by(state.course_id, state.grounds, followed, done)
        titles = {path_id: p.title for path_id, p in followed.items()}
        views.append(View(row, locked, tuple(why(g, titles, names) for g in state.grounds)))
    return views


def why(ground: Ground, path_titles: Mapping[str, str], rule_names: Mapping[tuple[str, int], str]) -> str:
    """One ground as a sentence."""
    name = rule_names.get((ground.rule_id, ground.rule_version), "")
    because = f"because {ground.reason} (rule {name}, version {ground.rule_version})"
    match ground.kind:
        case "rule":
            return because[0].upper() + because[1:]
        case "path":
            return f"Part of the path {path_titles[ground.ground_id]}, which you follow {because}"
        case "manual" | "self":
            return ground.reason


def urgency(view: View) -> tuple[bool, datetime | float, str]:
    """Sorts what is due first to the front, what has no date to the end."""
    due = view.shown.state.due
    return (due is None, due.at if due else 0.0, view.shown.state.enrollment_id)


def resume(views: Sequence[View]) -> View | None:
    """The one to go on with: begun last, else the most urgent, among those that can be taken now."""
    candidates = [v for v in views if v.open]
    begun = [v for v in candidates if v.modules_done]
    if begun:
        return max(begun, key=lambda v: v.shown.changed_at)
    return min(candidates, key=urgency, default=None)
