"""Administrators' routes: rules, and what they would do."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from enrollment import handlers, preview
from enrollment.enrollment import Policy
from enrollment.errors import BadCondition
from enrollment.peers import Names
from enrollment.rule import Draft
from enrollment.rules import ATTRIBUTES, InvalidCondition, operators_of, parse, sentence
from enrollment.store import book, records
from enrollment.store.book import Books, RuleRow
from lyceum_kit.errors import NotFound
from lyceum_kit.http import Model, Page, Pages, allow, page
from lyceum_kit.ledger import Ledger
from lyceum_kit.lines import Line
from lyceum_kit.tokens import Caller

NAMED = 200  # people a preview names; the counts are of all

Admin = Annotated[Caller, allow("admin")]


class RuleIn(Model):
    name: Line = Field(max_length=200)
    condition: Any = Field(description="A condition tree; see services/enrollment/README.md")
    course_ids: list[UUID] = Field(default=[], max_length=100)
    path_ids: list[UUID] = Field(default=[], max_length=100)
    due_in_days: int | None = Field(None, ge=0, le=3650)
    on_ground_lost: Policy = "withdraw_if_incomplete"


class PreviewIn(RuleIn):
    name: Line | Literal[""] = Field("", max_length=200)


class Attribute(BaseModel):
    attribute: str
    label: str = Field(description="How sentences name it")
    operators: list[str]


class RuleOut(BaseModel):
    rule_id: str
    rule_version: int
    active_version: int | None
    name: str
    sentence: str
    condition: Any
    state: Literal["draft", "active", "retired"]
    course_ids: list[str]
    path_ids: list[str]
    due_in_days: int | None
    on_ground_lost: Policy


class AffectedPerson(BaseModel):
    person_id: str
    display_name: str
    courses: list[str]


class Affected(BaseModel):
    count: int
    people: list[AffectedPerson] = Field(description=f"The first {NAMED}")


class Unchanged(BaseModel):
    count: int


class PreviewOut(BaseModel):
    sentence: str
    matched: int
    enroll: Affected
    withdraw: Affected
    unchanged: Unchanged


def read_draft(body: RuleIn) -> Draft:
    """The rule a body asks for, or a 422 that names the bad node."""
    try:
        condition = parse(body.condition)
    except InvalidCondition as e:
        raise BadCondition(str(e), errors=[{"field": e.path, "message": e.message}]) from e
    if not body.course_ids and not body.path_ids:
        message = "name at least one course or path"
        raise BadCondition(message, errors=[{"field": "course_ids", "message": message}])
    return Draft(
        name=body.name,
        condition=condition,
        condition_json=body.condition,
        sentence=sentence(condition),
        course_ids=tuple(dict.fromkeys(str(c) for c in body.course_ids)),
        path_ids=tuple(dict.fromkeys(str(p) for p in body.path_ids)),
        due_in_days=body.due_in_days,
        on_ground_lost=body.on_ground_lost,
    )


def out(row: RuleRow) -> RuleOut:
    said = row.draft
    return RuleOut(
        rule_id=row.rule.rule_id,
        rule_version=row.rule.version,
        active_version=row.rule.active_version,
        name=said.name,
        sentence=said.sentence,
        condition=said.condition_json,
        state=row.rule.state,
        course_ids=list(said.course_ids),
        path_ids=list(said.path_ids),
        due_in_days=said.due_in_days,
        on_ground_lost=said.on_ground_lost,
    )


def routes(ledger: Ledger, books: Books, names: Names) -> APIRouter:
    router = APIRouter()

    async def stored(who: Caller, rule_id: UUID | str) -> RuleRow:
        async with ledger.read(who.tenant) as conn:
            row = await book.rule(conn, who.tenant, str(rule_id))
        if row is None:
            raise NotFound
        return row

    async def previewed(who: Caller, said: Draft, row: RuleRow | None) -> PreviewOut:
        async with ledger.read(who.tenant) as conn:
            handlers.check_targets((await books.read(conn, who.tenant)).catalog, said)
            found = await preview.preview(
                conn,
                who.tenant,
                said,
                books=books,
                now=ledger.clock(),
                new_id=ledger.new_id,
                rule_id=row.rule.rule_id if row else preview.UNWRITTEN,
                # What activating now would make it; the active version itself if nothing was changed.
                version=(row.rule.version if said == row.draft else row.rule.version + 1) if row else 1,
            )
            courses = list({c for some in (found.enroll, found.withdraw) for cs in some.values() for c in cs})
            titles = await records.course_titles(conn, who.tenant, courses)
        shown = [*list(found.enroll)[:NAMED], *list(found.withdraw)[:NAMED]]
        called = await names.of(who.tenant, list(dict.fromkeys(shown))) if shown else dict[str, str]()

        def affected(some: Mapping[str, Sequence[str]]) -> Affected:
            people = [
                AffectedPerson(
                    person_id=p, display_name=called.get(p, ""), courses=[titles[c] for c in some[p]]
                )
                for p in list(some)[:NAMED]
            ]
            return Affected(count=len(some), people=people)

        return PreviewOut(
            sentence=said.sentence,
            matched=found.matched,
            enroll=affected(found.enroll),
            withdraw=affected(found.withdraw),
            unchanged=Unchanged(count=found.unchanged),
        )

    @router.get("/rules")
    async def list_rules(who: Admin, paging: Pages) -> Page[RuleOut]:
        """All rules, the oldest first, each in its newest version."""
        after = paging.place(UUID)
        async with ledger.read(who.tenant) as conn:
            rows = await book.all_rules(
                conn, who.tenant, after=str(after) if after else None, limit=paging.limit + 1
            )
        some, following = page(rows, paging, lambda row: (row.rule.rule_id,))
        return Page(items=[out(row) for row in some], next=following)

    @router.get("/rules/attributes")
    async def list_attributes(who: Admin) -> Page[Attribute]:  # noqa: ARG001
        """What conditions may speak of."""
        found = [
            Attribute(attribute=name, label=label, operators=sorted(operators_of(name)))
            for name, label in ATTRIBUTES.items()
        ]
        return Page(items=found, next=None)

    @router.post("/rules", status_code=201)
    async def create_rule(who: Admin, body: RuleIn, response: Response) -> RuleOut:
        """Write a rule. Nobody is enrolled by it before it is activated."""
        said = read_draft(body)
        rule_id = await ledger.run(who.tenant, handlers.draft_rule, said, books=books, actor=who.subject)
        response.headers["location"] = f"/api/enrollment/rules/{rule_id}"
        return out(await stored(who, rule_id))

    @router.post("/rules/preview")
    async def preview_draft(who: Admin, body: PreviewIn) -> PreviewOut:
        """Who would be enrolled now, and who withdrawn, by a rule that is not saved."""
        return await previewed(who, read_draft(body), None)

    @router.get("/rules/{rule_id}")
    async def get_rule(who: Admin, rule_id: UUID) -> RuleOut:
        """A rule in its newest version."""
        return out(await stored(who, rule_id))

    @router.put("/rules/{rule_id}")
    async def change_rule(who: Admin, rule_id: UUID, body: RuleIn) -> RuleOut:
        """Write a new version. The active one holds until the new one is activated."""
        await ledger.run(
            who.tenant,
            handlers.draft_rule,
            read_draft(body),
            books=books,
            rule_id=str(rule_id),
            actor=who.subject,
        )
        return out(await stored(who, rule_id))

    @router.post("/rules/{rule_id}/preview")
    async def preview_rule(who: Admin, rule_id: UUID, body: PreviewIn | None = None) -> PreviewOut:
        """What activating the newest version would do, or the version that the body describes."""
        row = await stored(who, rule_id)
        return await previewed(who, read_draft(body) if body else row.draft, row)

    @router.post("/rules/{rule_id}/activate")
    async def activate_rule(who: Admin, rule_id: UUID) -> RuleOut:
        """The newest version holds from now on; everybody it is about is enrolled in the background."""
        await ledger.run(who.tenant, handlers.activate_rule, str(rule_id), books=books, actor=who.subject)
        return out(await stored(who, rule_id))

    @router.post("/rules/{rule_id}/retire")
    async def retire_rule(who: Admin, rule_id: UUID) -> RuleOut:
        """The rule no longer holds; what it alone asked for is withdrawn in the background."""
        await ledger.run(who.tenant, handlers.retire_rule, str(rule_id), actor=who.subject)
        return out(await stored(who, rule_id))

    _ = (
        list_rules,
        list_attributes,
        create_rule,
        preview_draft,
        get_rule,
        change_rule,
        preview_rule,
        activate_rule,
        retire_rule,
    )
    return router
