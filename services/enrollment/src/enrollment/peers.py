"""What enrollment asks identity at the moment of use, and the shape tests put in its place."""

from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

import grpc.aio

from lyceum.identity.v1.identity_service_pb2 import GetPeopleRequest
from lyceum.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from lyceum_kit.errors import Unavailable
from lyceum_kit.peers import Peers

TIMEOUT = 2.0  # seconds
MAX_IDS = 1000  # GetPeople's limit


class Names(Protocol):
    async def of(self, tenant: UUID, ids: Sequence[str]) -> Mapping[str, str]:
        """person id → display name, of those identity knows. Raises Unavailable."""
        ...


class IdentityNames:
    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def of(self, tenant: UUID, ids: Sequence[str]) -> Mapping[str, str]:
        stub = IdentityServiceStub(self._peers.channel("identity"))
        names: dict[str, str] = {}
        try:
            for start in range(0, len(ids), MAX_IDS):
                found = await stub.GetPeople(
                    GetPeopleRequest(person_ids=ids[start : start + MAX_IDS]),
                    timeout=TIMEOUT,
                    metadata=await self._peers.metadata(tenant),
                )
                names |= {person.person_id: person.display_name for person in found.people}
        except grpc.aio.AioRpcError as e:
            raise Unavailable(f"identity does not answer: {e.code().name}", retry_after=1) from e
        return names
