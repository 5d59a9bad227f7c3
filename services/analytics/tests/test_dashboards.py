"""The numbers as people, programs and other services get them: over HTTP, as CSV, over gRPC."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import grpc.aio
import httpx
import pytest
from google.protobuf.message import Message

from analytics import metrics
from analytics.app import build
from analytics.consumers import Consumption
from analytics.engine import Engine
from analytics.settings import Settings
from lyceum.analytics.v1 import analytics_service_pb2 as pb
from lyceum.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from lyceum_kit.rpc import make_server
from lyceum_kit.testing import TestKeys, client

US, NOBODY = UUID(int=1), UUID(int=3)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Edges:
    """The service, built as it is, asked by somebody of one tenant."""

    http: httpx.AsyncClient
    stub: Any
    keys: TestKeys

    def as_(self, tenant: UUID | str, *roles: str) -> Any:
        return {"headers": self.keys.headers(tenant=tenant, roles=roles or ("reader",))}

    async def get(self, path: str, tenant: UUID | str, *roles: str) -> httpx.Response:
        return await self.http.get(f"/api/analytics{path}", **self.as_(tenant, *roles))

    async def call(self, method: str, request: Message, tenant: UUID | str, *roles: str) -> Any:
        token = self.as_(tenant, *roles)["headers"]["Authorization"]
        return await getattr(self.stub, method)(request, metadata=(("authorization", token),), timeout=30)


@pytest.fixture
async def edges(engine: Engine, settings: Settings, ledgers: Any) -> AsyncIterator[Edges]:
    keys = TestKeys()
    local = settings.model_copy(update={"grpc_host": "127.0.0.1", "grpc_port": 0})
    service = build(local, clock=lambda: NOW, verifier=keys.verifier, reader=ledgers, engine=engine)
    server = make_server(local, service.rpc, keys.verifier)
    await server.start()
    async with (
        client(service) as http,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        yield Edges(http, cast("Any", AnalyticsServiceStub)(channel), keys)
    await server.stop(0)


SAID: dict[tuple[str, str], dict[str, float | None]] = {
    ("enrolled", "department"): {"Engineering": 2, "Sales": 2},
    ("learners", "department"): {"Engineering": 2, "Sales": 1},
    ("completed", "department"): {"Engineering": 1, "Sales": 0},
    ("withdrawn", "department"): {"Engineering": 0, "Sales": 1},
    ("completion_rate", "department"): {"Engineering": 1 / 2, "Sales": 0},
    ("overdue", "department"): {"Engineering": 1, "Sales": 0},
    ("compliance", "department"): {"Engineering": 1 / 2, "Sales": 1},
    ("compliance_due", "department"): {"Engineering": 1 / 2, "Sales": None},
    ("on_time_rate", "department"): {"Engineering": 0, "Sales": None},
    ("pass_rate", "department"): {"Engineering": 1 / 3},
    ("pass_rate_first_attempt", "department"): {"Engineering": 0},
    ("average_score", "department"): {"Engineering": 60},
    ("certificates", "department"): {},
    ("enrolled", "course"): {"security": 3, "wine": 1},
    ("pass_rate", "course"): {"security": 1 / 3},
    ("compliance", "month"): {"2020-01": 1 / 2, "2200-01": 1},
}


async def test_http_and_grpc_say_the_same_and_it_is_right(
    edges: Edges, consumption: Consumption, company: Any
) -> None:
    await consumption.catch_up()
    us = company.tenant
    assert {name for name, by in SAID if by == "department"} == set(metrics.METRICS)
    for (name, by), values in SAID.items():
        over_http = (await edges.get(f"/metrics/{name}?by={by}", us)).json()
        over_grpc = await edges.call("QueryMetric", pb.QueryMetricRequest(metric=name, dimension=by), us)
        assert {row["key"]: row["value"] for row in over_http["rows"]} == values, (name, by)
        assert over_http["definition"] == over_grpc.definition
        assert [(r["key"], r["label"], r["value"]) for r in over_http["rows"]] == [
            (r.key, r.label, r.value if r.HasField("value") else None) for r in over_grpc.rows
        ]

    overview = (await edges.get("/overview", us)).json()
    assert overview == {
        "enrolled": 4,
        "completed": 1,
        "withdrawn": 1,
        "overdue": 1,
        "pass_rate": 1 / 3,
        "average_score": 60.0,
        "compliance": 2 / 3,
        "certificates": 0,
        "as_of": "2026-11-02T09:00:00Z",
    }
    said = await edges.call("GetOverview", pb.GetOverviewRequest(), us)
    assert {name: getattr(said, name) for name in overview if name != "as_of"} | {
        "as_of": said.as_of.ToJsonString()
    } == overview

    drop_off = (await edges.get(f"/courses/{company.course}/drop-off", us)).json()
    assert drop_off == {
        "course_id": "security",
        "course_version": 1,
        "enrolled": 3,
        "modules": [
            {"module_id": "video", "title": "Video", "started": 2, "completed": 2},
            {"module_id": "quiz", "title": "Quiz", "started": 2, "completed": 1},
        ],
    }
    found = await edges.call("GetDropOff", pb.GetDropOffRequest(course_id=company.course), us)
    assert (found.enrolled, [(m.module_id, m.title, m.started, m.completed) for m in found.modules]) == (
        3,
        [("video", "Video", 2, 2), ("quiz", "Quiz", 2, 1)],
    )


async def test_filters_narrow_the_overview(edges: Edges, consumption: Consumption, company: Any) -> None:
    await consumption.catch_up()
    for query, request, numbers in (
        ("?department=Sales", pb.GetOverviewRequest(department="Sales"), (2, 0, 1.0, None)),
        ("?course_id=security", pb.GetOverviewRequest(course_id="security"), (3, 1, 2 / 3, 1 / 3)),
        ("?department=x' OR 1 --", pb.GetOverviewRequest(department="x' OR 1 --"), (0, 0, None, None)),
    ):
        over_http = (await edges.get(f"/overview{query}", company.tenant)).json()
        over_grpc = await edges.call("GetOverview", request, company.tenant)
        assert tuple(over_http[n] for n in ("enrolled", "completed", "compliance", "pass_rate")) == numbers
        assert (over_grpc.enrolled, over_grpc.completed) == numbers[:2]
        assert over_grpc.HasField("compliance") == (numbers[2] is not None)


async def test_another_tenant_sees_nothing(edges: Edges, consumption: Consumption, company: Any) -> None:
    await consumption.catch_up()
    overview = (await edges.get("/overview", NOBODY)).json()
    assert {name for name, value in overview.items() if value} == set()
    assert overview["pass_rate"] is None
    said = await edges.call("GetOverview", pb.GetOverviewRequest(), NOBODY)
    assert said == pb.Overview()
    for name in ("enrolled", "pass_rate", "certificates"):
        assert (await edges.get(f"/metrics/{name}", NOBODY)).json()["rows"] == []
    assert {d["enrolled"] for d in (await edges.get("/trend?days=30", NOBODY)).json()["items"]} == {0}
    assert (await edges.get(f"/courses/{company.course}/drop-off", NOBODY)).status_code == 404
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await edges.call("GetDropOff", pb.GetDropOffRequest(course_id=company.course), NOBODY)
    assert unknown.value.code() == grpc.StatusCode.NOT_FOUND
    # The control: the tenant it belongs to does.
    assert (await edges.get(f"/courses/{company.course}/drop-off", company.other)).json()["enrolled"] == 1


async def test_who_may_ask(edges: Edges, consumption: Consumption, company: Any) -> None:
    for roles, status in (
        (("reader",), 200),
        (("manager",), 200),
        (("learner",), 403),
        (("operator",), 403),
    ):
        assert (await edges.get("/overview", company.tenant, *roles)).status_code == status, roles
    assert (await edges.http.get("/api/analytics/overview")).status_code == 401
    everybody = await edges.get("/overview", "*", "reader")
    assert everybody.status_code == 403  # numbers of all tenants at once would be of nobody
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await edges.call("GetOverview", pb.GetOverviewRequest(), company.tenant, "learner")
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED


async def test_unknown_names_are_answered_with_the_known_ones(edges: Edges) -> None:
    for path in ("/metrics/happiness", "/metrics/enrolled?by=mood"):
        answer = await edges.get(path, US)
        assert answer.status_code == 422
        assert "enrolled" in answer.text or "department" in answer.text
    with pytest.raises(grpc.aio.AioRpcError, match="there are: enrolled"):
        await edges.call("QueryMetric", pb.QueryMetricRequest(metric="x", dimension="department"), US)


async def test_tables_are_csv_too(edges: Edges, consumption: Consumption, company: Any) -> None:
    await consumption.catch_up()
    answer = await edges.get("/metrics/compliance?by=department&format=csv", company.tenant)
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.text.splitlines() == [
        '"key","label","value","numerator","denominator"',
        '"Engineering","Engineering",0.5,1,2',
        '"Sales","Sales",1.0,1,1',
    ]


async def test_every_number_is_defined(edges: Edges) -> None:
    items = (await edges.get("/definitions", US)).json()["items"]
    assert {i["metric"] for i in items} == set(metrics.METRICS)
    assert set(metrics.OVERVIEW) <= set(metrics.METRICS)
    assert all(len(i["definition"]) > 20 for i in items)
