"""The dashboards' numbers over HTTP: JSON, and CSV for tables. Each answer is about the caller's tenant."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel

from analytics import metrics, spreadsheet, store
from analytics.consumers import Consumption
from analytics.engine import Engine
from analytics.projections import table
from analytics.settings import Settings
from lyceum_kit.errors import Forbidden
from lyceum_kit.http import allow
from lyceum_kit.ids import Clock
from lyceum_kit.system import Keeper, platform_wide
from lyceum_kit.tokens import Caller

CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {}}}}
Viewer = Annotated[Caller, allow("admin", "manager", "author", "reader")]
Platform = Annotated[Caller, allow("operator")]

Text = Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")]
Format = Annotated[Literal["json", "csv"] | None, Query(description="Instead of an Accept header")]


class Overview(BaseModel):
    enrolled: int
    completed: int
    withdrawn: int
    overdue: int
    pass_rate: float | None
    average_score: float | None
    compliance: float | None
    certificates: int
    as_of: datetime | None


class Definition(BaseModel):
    metric: str
    label: str
    definition: str
    unit: str
    dimensions: Sequence[str]


class Definitions(BaseModel):
    items: Sequence[Definition]
    next: None = None


class Row(BaseModel):
    key: str
    label: str
    value: float | None
    numerator: int | None
    denominator: int | None


class Table(BaseModel):
    metric: str
    label: str
    definition: str
    unit: str
    dimension: str
    rows: Sequence[Row]
    as_of: datetime | None


class ModuleRow(BaseModel):
    module_id: str
    title: str
    started: int
    completed: int


class DropOff(BaseModel):
    course_id: str
    course_version: int
    enrolled: int
    modules: Sequence[ModuleRow]


class Day(BaseModel):
    day: str
    enrolled: int
    completed: int


class Days(BaseModel):
    items: Sequence[Day]
    next: None = None


class Rebuilding(BaseModel):
    running: bool
    error: str
    tables: Sequence["RebuiltTable"]


class RebuiltTable(BaseModel):
    table: str
    events: int
    ledger: int


def routes(engine: Engine, consumption: Consumption, settings: Settings, *, clock: Clock) -> APIRouter:
    router = APIRouter(responses={429: {}})

    @router.get("/overview", tags=["dashboards"])
    async def overview(who: Viewer, department: Text = "", course_id: Text = "") -> Overview:
        """The headline numbers, of everything or of a department or course."""
        tenant = tenant_of(who)
        filters = {"department": department, "course_id": course_id}
        return await overview_of(engine, who, clock(), filters, await store.events_until(engine, tenant))

    @router.get("/definitions", tags=["dashboards"])
    async def definitions(who: Viewer) -> Definitions:  # noqa: ARG001
        """What every number means."""
        return Definitions(items=[definition_of(m) for m in metrics.METRICS.values()])

    @router.get("/metrics/{metric}", tags=["dashboards"], response_model=Table, responses=CSV)
    async def metric(
        metric: str,
        who: Viewer,
        request: Request,
        by: Text = "department",
        department: Text = "",
        course_id: Text = "",
        format: Format = None,
    ) -> Any:
        """One metric by department, course or month. CSV with `Accept: text/csv` or `?format=csv`."""
        tenant = tenant_of(who)
        of = metrics.metric(metric)
        filters = {"department": department, "course_id": course_id}
        found = await store.metric_by(engine, tenant, of, metrics.dimension(by), clock(), filters)
        rows = [row_of(of, labelled) for labelled in found]
        if wants_csv(request, format):
            return csv(f"{metric}-by-{by}", rows, Row)
        return Table(
            metric=of.name,
            label=of.label,
            definition=of.sentence,
            unit=of.unit,
            dimension=by,
            rows=rows,
            as_of=await store.events_until(engine, tenant),
        )

    @router.get("/courses/{course_id}/drop-off", tags=["dashboards"], response_model=DropOff, responses=CSV)
    async def drop_off(
        course_id: str,
        who: Viewer,
        request: Request,
        version: Annotated[int, Query(ge=0, le=2**31 - 1, description="0: the newest")] = 0,
        format: Format = None,
    ) -> Any:
        """How many enrolments reached and finished each module."""
        found = await store.drop_off(engine, tenant_of(who), course_id.replace("\x00", ""), version)
        modules = [ModuleRow(**vars(m)) for m in found.modules]
        if wants_csv(request, format):
            return csv("drop-off", modules, ModuleRow)
        return DropOff(
            course_id=course_id,
            course_version=found.course_version,
            enrolled=found.enrolled,
            modules=modules,
        )

    @router.get("/trend", tags=["dashboards"], response_model=Days, responses=CSV)
    async def trend(
        who: Viewer,
        request: Request,
        days: Annotated[int, Query(ge=1, le=1000)] = 90,
        department: Text = "",
        course_id: Text = "",
        format: Format = None,
    ) -> Any:
        """Enrolments and completions day by day (UTC), today last."""
        filters = {k: v for k, v in (("department", department), ("course_id", course_id)) if v}
        found = await store.trend(engine, tenant_of(who), clock().date(), days, filters)
        items = [Day(day=str(d.day), enrolled=d.enrolled, completed=d.completed) for d in found]
        return csv("trend", items, Day) if wants_csv(request, format) else Days(items=items)

    @router.get("/system/feeds", tags=["system"])
    async def feeds(who: Annotated[Caller, platform_wide(settings)]) -> dict[str, Any]:  # noqa: ARG001
        """Each partition: what ClickHouse holds against the producer's head."""
        return await consumption.status()

    @router.get("/system/parked", tags=["system"])
    async def parked(who: Keeper) -> dict[str, Any]:  # noqa: ARG001
        """Nothing is ever parked here: what cannot be decoded becomes a row that says so."""
        return {"items": [], "next": None}

    @router.post("/system/rebuild", tags=["system"], status_code=202)
    async def rebuild(who: Platform) -> Rebuilding:  # noqa: ARG001
        """Begin to make all tables anew from the ledgers. They answer as before until each is exchanged."""
        consumption.ask_for_rebuild()
        return rebuilding_of(consumption)

    @router.get("/system/reconcile", tags=["system"])
    async def compare(who: Platform) -> dict[str, Any]:  # noqa: ARG001
        """Which feeds' rows are no longer what the ledgers say."""
        return consumption.reconciliation()

    @router.post("/system/reconcile", tags=["system"])
    async def reconcile(who: Platform) -> dict[str, Any]:  # noqa: ARG001
        """Make these feeds' tables anew from the ledgers."""
        if parted := sorted(consumption.parted()):
            await consumption.rebuild(parted)
        return consumption.reconciliation()

    @router.get("/system/rebuild", tags=["system"])
    async def rebuilding(who: Platform) -> Rebuilding:  # noqa: ARG001
        """How far the running rebuild is, or how the last one of this process ended."""
        return rebuilding_of(consumption)

    _ = overview, definitions, metric, drop_off, trend, feeds, parked, rebuild, rebuilding, compare, reconcile
    return router


def tenant_of(who: Caller) -> Any:
    """Metrics of all tenants at once would be of nobody."""
    if who.every_tenant:
        raise Forbidden("Numbers are of one tenant: use a token of that tenant")
    return who.tenant


async def overview_of(
    engine: Engine, who: Caller, now: datetime, filters: dict[str, str], as_of: datetime | None
) -> Overview:
    values = {name: a.value for name, a in (await store.totals(engine, who.tenant, now, filters)).items()}
    return Overview.model_validate({**values, "as_of": as_of})


def rebuilding_of(consumption: Consumption) -> Rebuilding:
    last = consumption.last_rebuild
    tables = [RebuiltTable(table=table(f), events=n, ledger=last.of[f]) for f, n in last.events.items()]
    return Rebuilding(running=last.running, error=last.error, tables=tables)


def definition_of(metric: metrics.Metric) -> Definition:
    return Definition(
        metric=metric.name,
        label=metric.label,
        definition=metric.sentence,
        unit=metric.unit,
        dimensions=metrics.DIMENSIONS,
    )


def row_of(of: metrics.Metric, labelled: store.Labelled) -> Row:
    answer = labelled.answer
    return Row(
        key=answer.key,
        label=labelled.label,
        value=answer.value,
        numerator=int(answer.numerator) if of.unit != "percent" else None,  # a sum of scores means nothing
        denominator=None if answer.denominator is None else int(answer.denominator),
    )


def wants_csv(request: Request, format: Literal["json", "csv"] | None) -> bool:
    accepted = request.headers.get("accept", "").partition(",")[0].partition(";")[0].strip().lower()
    return format == "csv" or (format is None and accepted == "text/csv")


def csv(name: str, rows: Sequence[BaseModel], kind: type[BaseModel]) -> Response:
    header = list(kind.model_fields)
    body = spreadsheet.table(header, ([getattr(row, column) for column in header] for row in rows))
    return Response(
        body,
        media_type="text/csv; charset=utf-8; header=present",
        headers={"content-disposition": f'attachment; filename="{name}.csv"'},
    )
