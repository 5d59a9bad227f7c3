"""PURE: departments. HR brings them along by name; an administrator says where they belong and who heads them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from google.protobuf.message import Message

from identity.errors import BadMapping
from lyceum.identity.v1 import events_pb2 as pb


@dataclass(frozen=True)
class OrgUnit:
    org_unit_id: str
    code: str = ""
    mapped: bool = False
    parent_id: str = ""
    head_id: str = ""


@dataclass(frozen=True)
class Map:
    """An administrator looked at the unit. Empty: at the top, or without a head."""

    parent_id: str = ""
    head_id: str = ""


def decide(state: OrgUnit, command: Map, *, parents: Mapping[str, str]) -> Sequence[Message]:
    """`parents`: of every unit that has one. Raises BadMapping."""
    above = command.parent_id
    while above:
        if above == state.org_unit_id:
            raise BadMapping("A unit cannot be below itself")
        above = parents.get(above, "")
    if state.mapped and (state.parent_id, state.head_id) == (command.parent_id, command.head_id):
        return []
    return [
        pb.OrgUnitMapped(
            org_unit_id=state.org_unit_id,
            parent_id=command.parent_id or None,
            head_id=command.head_id or None,
        )
    ]


def evolve(state: OrgUnit, event: Message) -> OrgUnit:
    match event:
        case pb.OrgUnitCreated():
            return replace(state, code=event.code, mapped=event.mapped)
        case pb.OrgUnitMapped():
            return replace(state, mapped=True, parent_id=event.parent_id, head_id=event.head_id)
        case _:
            raise TypeError(f"{event.DESCRIPTOR.full_name} is not of an org unit")
