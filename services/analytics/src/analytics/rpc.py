"""AnalyticsService: the dashboards' numbers for other services and for programs."""

from typing import Any

from analytics import metrics, store
from analytics.engine import Engine
from analytics.http import row_of, tenant_of
from lyceum.analytics.v1 import analytics_service_pb2 as pb
from lyceum.analytics.v1.analytics_service_pb2_grpc import (
    AnalyticsServiceServicer,
    add_AnalyticsServiceServicer_to_server,
)
from lyceum_kit.errors import Invalid
from lyceum_kit.ids import Clock
from lyceum_kit.rpc import RpcService, caller


class Servicer(AnalyticsServiceServicer):
    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def GetOverview(self, request: pb.GetOverviewRequest, context: Any) -> pb.Overview:
        tenant = tenant_of(caller())
        filters = {"department": _text(request.department), "course_id": _text(request.course_id)}
        found = await store.totals(self._engine, tenant, self._clock(), filters)
        as_of = await store.events_until(self._engine, tenant)
        answer = pb.Overview()
        for name in _COUNTS:
            setattr(answer, name, int(found[name].numerator))
        for name in _SHARES:
            if (value := found[name].value) is not None:  # a share of nothing stays absent
                setattr(answer, name, value)
        if as_of:
            answer.as_of.FromDatetime(as_of)
        return answer

    async def QueryMetric(
        self,
        request: pb.QueryMetricRequest,
        context: Any,
    ) -> pb.QueryMetricResponse:
        tenant = tenant_of(caller())
        of, by = metrics.metric(request.metric), metrics.dimension(request.dimension)
        rows = [row_of(of, r) for r in await store.metric_by(self._engine, tenant, of, by, self._clock(), {})]
        return pb.QueryMetricResponse(
            metric=of.name,
            dimension=by,
            definition=of.sentence,
            rows=[
                pb.MetricRow(
                    key=r.key,
                    label=r.label,
                    value=r.value,
                    numerator=r.numerator or 0,
                    denominator=r.denominator or 0,
                )
                for r in rows
            ],
        )

    async def GetDropOff(self, request: pb.GetDropOffRequest, context: Any) -> pb.GetDropOffResponse:
        tenant = tenant_of(caller())
        if request.course_version < 0:
            raise Invalid("course_version counts from 1; 0 is the newest")
        found = await store.drop_off(self._engine, tenant, _text(request.course_id), request.course_version)
        return pb.GetDropOffResponse(
            enrolled=found.enrolled, modules=[pb.ModuleDropOff(**vars(m)) for m in found.modules]
        )


_SHARES = ("pass_rate", "average_score", "compliance")
_COUNTS = ("enrolled", "completed", "withdrawn", "overdue", "certificates")


def _text(text: str) -> str:
    if "\x00" in text:
        raise Invalid("A text must not contain NUL")
    return text


def service(engine: Engine, clock: Clock) -> RpcService:
    viewers = frozenset({"admin", "manager", "author", "reader", "service"})
    return RpcService(
        "lyceum.analytics.v1.AnalyticsService",
        lambda server: add_AnalyticsServiceServicer_to_server(Servicer(engine, clock), server),
        {"GetOverview": viewers, "QueryMetric": viewers, "GetDropOff": viewers},
    )
