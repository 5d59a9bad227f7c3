"""IdentityService: who people are, asked by other services at the moment of use."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import grpc.aio

from identity import store
from identity.http import may_see, visible_to
from identity.store import PersonRow
from lyceum.identity.v1 import events_pb2 as events
from lyceum.identity.v1 import identity_service_pb2 as pb
from lyceum.identity.v1 import identity_service_pb2_grpc as stubs
from lyceum_kit.errors import Invalid, NotFound
from lyceum_kit.ledger import Ledger
from lyceum_kit.rpc import RpcService, caller

MAX_IDS = 1000
ROLES = frozenset({"service", "admin", "manager", "reader"})

STATUS = {
    "held": events.EMPLOYMENT_STATUS_PREHIRE,
    "prehire": events.EMPLOYMENT_STATUS_PREHIRE,
    "active": events.EMPLOYMENT_STATUS_ACTIVE,
    "on_leave": events.EMPLOYMENT_STATUS_ON_LEAVE,
    "terminated": events.EMPLOYMENT_STATUS_TERMINATED,
}


def as_message(row: PersonRow) -> pb.Person:
    return pb.Person(
        person_id=str(row.person_id),
        external_id=row.external_id,
        display_name=row.display_name,
        email=row.email,
        status=STATUS[row.status],
        job=events.Job(
            department=row.department,
            org_unit_id=row.org_unit_id,
            location=row.location,
            job_title=row.job_title,
            manager_id=row.manager_id,
            hire_date=row.hire_date,
            time_zone=row.time_zone,
            employment_type=row.employment_type,
        ),
        roles=row.roles,
        locale=row.locale,
    )


class IdentityServicer(stubs.IdentityServiceServicer):
    """Every answer is of the caller's tenant, and of those the caller may see."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def GetPerson(self, request: pb.GetPersonRequest, context: Any) -> pb.Person:
        who = caller()
        async with self._ledger.read(who.tenant) as conn:
            row = await store.person(conn, who.tenant, _id(request.person_id))
        if row is None or row.erased_at or not may_see(who, row):
            raise NotFound
        return as_message(row)

    async def GetPeople(
        self,
        request: pb.GetPeopleRequest,
        context: Any,
    ) -> pb.GetPeopleResponse:
        who = caller()
        if len(request.person_ids) > MAX_IDS:
            raise Invalid(f"At most {MAX_IDS} ids a call")
        ids = {_id(person_id) for person_id in request.person_ids}
        async with self._ledger.read(who.tenant) as conn:
            rows = await store.people_by_id(conn, who.tenant, ids)
        return pb.GetPeopleResponse(
            people=[as_message(row) for row in rows if not row.erased_at and may_see(who, row)]
        )

    async def ListPeople(
        self,
        request: pb.ListPeopleRequest,
        context: Any,
    ) -> AsyncIterator[pb.ListPeopleResponse]:
        who = caller()
        async with self._ledger.read(who.tenant) as conn:
            pages = store.stream_people(
                conn,
                who.tenant,
                department=request.department,
                manager_id=request.manager_id,
                include_terminated=request.include_terminated,
                visible_to=visible_to(who),
            )
            async for page in pages:
                yield pb.ListPeopleResponse(people=[as_message(row) for row in page])


def _id(value: str) -> UUID:
    try:
        return UUID(value)
    except ValueError as e:
        raise NotFound from e  # a malformed id is an unknown id


def service(ledger: Ledger) -> RpcService:
    def add(server: grpc.aio.Server) -> None:
        stubs.add_IdentityServiceServicer_to_server(IdentityServicer(ledger), server)

    return RpcService(
        name="lyceum.identity.v1.IdentityService",
        add=add,
        access={"GetPerson": ROLES, "GetPeople": ROLES, "ListPeople": ROLES},
    )
