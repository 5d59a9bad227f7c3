"""Learners' and managers' routes: enrolments, today, paths, team. Rules are in rules_http."""

from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from enrollment import handlers
from enrollment.enrollment import Kind
from enrollment.errors import UnknownEnrollment
from enrollment.store import records
from enrollment.store.book import Books
from enrollment.store.people import find_person, reports_of
from enrollment.views import View, resume, urgency, view, visible_to
from lyceum_kit.errors import Forbidden, NotFound
from lyceum_kit.http import Model, Page, Pages, allow, page
from lyceum_kit.ledger import Ledger
from lyceum_kit.tokens import Caller

MOST = 1000  # enrolments of one person, or of one team, in an answer without pages
RECENT = 10

Anyone = Annotated[Caller, allow()]
StateName = Literal["active", "completed", "withdrawn"]


class GroundOut(BaseModel):
    kind: Kind
    ground_id: str
    reason: str
    via: str | None


class EnrollmentOut(BaseModel):
    enrollment_id: str
    person_id: str
    course_id: str
    course_version: int
    course_title: str
    course_slug: str
    cycle: int
    state: StateName
    overdue: bool
    locked: bool
    locked_by: list[str]
    mandatory: bool
    due_at: datetime | None
    due_date: date | None
    enrolled_at: datetime
    completed_at: datetime | None
    modules_done: int
    modules_total: int
    next_module_id: str | None
    grounds: list[GroundOut]
    why: list[str]


class ModuleOut(BaseModel):
    module_id: str
    title: str
    kind: str
    done: bool
    score: float | None


class EnrollmentDetail(EnrollmentOut):
    modules: list[ModuleOut]


class TodayOut(BaseModel):
    resume: EnrollmentOut | None
    due: list[EnrollmentOut]
    completed_recently: list[EnrollmentOut]


class PathOut(BaseModel):
    path_id: str
    title: str
    courses: list[EnrollmentOut]


class TeamMember(BaseModel):
    person_id: str
    active: int
    overdue: int
    completed: int
    next_due_at: datetime | None
    items: list[EnrollmentOut]


class NewEnrollment(Model):
    person_id: UUID
    course_id: UUID
    due_date: date | None = Field(None, description="Whoever enrols somebody else may set one")
    carried_over: bool = Field(
        False, description="An administrator brings it from another system: its date may have passed"
    )


def out(found: View) -> EnrollmentOut:
    state = found.shown.state
    return EnrollmentOut(
        enrollment_id=state.enrollment_id,
        person_id=state.person_id,
        course_id=state.course_id,
        course_version=state.course_version,
        course_title=found.shown.title,
        course_slug=found.shown.slug,
        cycle=state.cycle,
        state=state.state,
        overdue=state.overdue,
        locked=bool(found.locked_by),
        locked_by=list(found.locked_by),
        mandatory=state.mandatory,
        due_at=state.due.at if state.due else None,
        due_date=state.due.date if state.due else None,
        enrolled_at=state.enrolled_at,
        completed_at=state.completed_at,
        modules_done=found.modules_done,
        modules_total=len(found.shown.modules),
        next_module_id=found.next_module_id,
        grounds=[
            GroundOut(kind=g.kind, ground_id=g.ground_id, reason=g.reason, via=g.via or None)
            for g in state.grounds
        ],
        why=list(found.why),
    )


def detail(found: View) -> EnrollmentDetail:
    done = found.shown.state.done
    modules = [
        ModuleOut(
            module_id=m.module_id,
            title=m.title,
            kind=m.kind,
            done=m.module_id in done,
            score=done[m.module_id].score if m.module_id in done else None,
        )
        for m in found.shown.modules
    ]
    return EnrollmentDetail(**out(found).model_dump(), modules=modules)


def routes(ledger: Ledger, books: Books) -> APIRouter:
    router = APIRouter()

    async def own(who: Caller) -> list[View]:
        async with ledger.read(who.tenant) as conn:
            visible = records.Visible(person_id=visible_to(who).person_id or _own_id(who))
            rows = await records.shown(conn, who.tenant, visible, limit=MOST)
            return await view(conn, who.tenant, rows, books=books)

    async def one(who: Caller, enrollment_id: str) -> View:
        async with ledger.read(who.tenant) as conn:
            rows = await records.shown(conn, who.tenant, visible_to(who), enrollment_id=enrollment_id)
            if not rows:
                raise UnknownEnrollment
            return (await view(conn, who.tenant, rows, books=books))[0]

    @router.get("/enrollments")
    async def list_enrollments(
        who: Anyone,
        paging: Pages,
        person_id: UUID | None = None,
        course_id: UUID | None = None,
        state: StateName | None = None,
    ) -> Page[EnrollmentOut]:
        """What the caller may see: their own; a manager's reports; everybody's."""
        after = paging.place(UUID)
        async with ledger.read(who.tenant) as conn:
            rows = await records.shown(
                conn,
                who.tenant,
                visible_to(who),
                person_ids=[str(person_id)] if person_id else None,
                course_id=str(course_id) if course_id else None,
                state=state,
                after=str(after) if after else None,
                limit=paging.limit + 1,
            )
            some, following = page(rows, paging, lambda row: (row.state.enrollment_id,))
            views = await view(conn, who.tenant, some, books=books)
        return Page(items=[out(v) for v in views], next=following)

    @router.get("/enrollments/{enrollment_id}")
    async def get_enrollment(who: Anyone, enrollment_id: UUID) -> EnrollmentDetail:
        """One enrolment with its modules, and why it exists."""
        return detail(await one(who, str(enrollment_id)))

    @router.post(
        "/enrollments",
        status_code=201,
        responses={200: {"model": EnrollmentDetail, "description": "There was one"}},
    )
    async def post_enrollment(who: Anyone, body: NewEnrollment, response: Response) -> EnrollmentDetail:
        """Enrol oneself; a manager enrols direct reports, an administrator anybody."""
        person_id = str(body.person_id)
        themselves = who.kind == "person" and person_id == who.subject
        if not themselves:
            await _may_enrol(ledger, who, person_id)
        if body.carried_over and not who.has("admin"):
            raise Forbidden("Only an administrator carries enrolments over from another system")
        done = await ledger.run(
            who.tenant,
            handlers.enrol,
            person_id,
            str(body.course_id),
            kind="self" if themselves and not body.carried_over else "manual",
            reason=_reason(who, themselves=themselves, carried_over=body.carried_over),
            due_date=body.due_date,
            carried_over=body.carried_over,
            books=books,
            actor=who.subject,
        )
        response.status_code = 201 if done.new else 200
        response.headers["location"] = f"/api/enrollment/enrollments/{done.enrollment_id}"
        return detail(await one(who, done.enrollment_id))

    @router.get("/today")
    async def today(who: Anyone) -> TodayOut:
        """What to go on with, what is due, and what was completed lately."""
        views = await own(who)
        active = sorted((v for v in views if v.shown.state.state == "active"), key=urgency)
        done = [v for v in views if v.shown.state.state == "completed"]
        done.sort(key=lambda v: v.shown.state.completed_at or v.shown.changed_at, reverse=True)
        first = resume(active)
        return TodayOut(
            resume=out(first) if first else None,
            due=[out(v) for v in active],
            completed_recently=[out(v) for v in done[:RECENT]],
        )

    @router.get("/paths/mine")
    async def my_paths(who: Anyone) -> Page[PathOut]:
        """The caller's paths, each with its courses in order."""
        by_course = {v.shown.state.course_id: v for v in await own(who)}
        async with ledger.read(who.tenant) as conn:
            followed = await records.my_paths(conn, who.tenant, _own_id(who))
            known = (await books.read(conn, who.tenant)).catalog.paths
        paths = [known[key] for key in followed]
        return Page(
            items=[
                PathOut(
                    path_id=p.path_id,
                    title=p.title,
                    courses=[out(by_course[i.course_id]) for i in p.items if i.course_id in by_course],
                )
                for p in paths
            ]
        )

    @router.get("/team")
    async def team(who: Annotated[Caller, allow("manager", "admin")]) -> Page[TeamMember]:
        """The caller's direct reports: who is late, and what is next. Their names are asked of identity."""
        async with ledger.read(who.tenant) as conn:
            reports = await reports_of(conn, who.tenant, _own_id(who))
            rows = await records.shown(
                conn, who.tenant, records.Visible(everybody=True), person_ids=reports, limit=MOST
            )
            views = await view(conn, who.tenant, rows, books=books)
        return Page(items=[_member(p, [v for v in views if v.shown.state.person_id == p]) for p in reports])

    _ = list_enrollments, get_enrollment, post_enrollment, today, my_paths, team
    return router


def _reason(who: Caller, *, themselves: bool, carried_over: bool) -> str:
    """Why somebody has what nobody's rule gave them."""
    if carried_over:
        return "Carried over from another system"
    if themselves:
        return "You enrolled yourself"
    return "Assigned by an administrator" if who.has("admin") else "Assigned by your manager"


def _own_id(who: Caller) -> str:
    """The caller as a person. A client has nothing of its own."""
    try:
        return str(UUID(who.subject))
    except ValueError:
        raise NotFound("Only people have enrolments of their own") from None


async def _may_enrol(ledger: Ledger, who: Caller, person_id: str) -> None:
    """Otherwise the person is as unknown as one who does not exist."""
    async with ledger.read(who.tenant) as conn:
        found = await find_person(conn, who.tenant, person_id)
    reports = found is not None and who.has("manager") and found.facts.get("manager_id") == who.subject
    if found is None or not (who.has("admin") or reports):
        raise NotFound("No such person")


def _member(person_id: str, views: list[View]) -> TeamMember:
    active = sorted((v for v in views if v.shown.state.state == "active"), key=urgency)
    due = [v.shown.state.due for v in active if v.shown.state.due]
    return TeamMember(
        person_id=person_id,
        active=len(active),
        overdue=sum(v.shown.state.overdue for v in active),
        completed=sum(v.shown.state.state == "completed" for v in views),
        next_due_at=due[0].at if due else None,
        items=[out(v) for v in sorted(views, key=urgency)],
    )
