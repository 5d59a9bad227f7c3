"""PURE. One enrolment's life: a person in a course version and cycle, for as long as there is a reason.

    LearnerEnrolled → active → CourseCompleted → completed (for ever)
                        ↓ ↑ the last ground goes, a ground returns
                     withdrawn

Every ground carries its own due date; the enrolment is due at the earliest. Progress survives withdrawal, and what is
completed stays completed whatever becomes of its grounds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import reduce
from typing import Any, Literal

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from enrollment.dates import Due
from lyceum.enrollment.v1 import events_pb2 as pb

Kind = Literal["rule", "path", "manual", "self"]
Policy = Literal["withdraw_if_incomplete", "keep"]
State = Literal["active", "completed", "withdrawn"]
GroundKey = tuple[Kind, str, str]
Who = tuple[str, str, str]  # enrolment, person, department

KINDS: Mapping[Kind, pb.GroundKind.ValueType] = {
    "rule": pb.GROUND_KIND_RULE,
    "path": pb.GROUND_KIND_PATH,
    "manual": pb.GROUND_KIND_MANUAL,
    "self": pb.GROUND_KIND_SELF,
}
_KIND_OF: Mapping[int, Kind] = {number: kind for kind, number in KINDS.items()}


@dataclass(frozen=True)
class Ground:
    """One reason. `via` names the rule that assigned the path, for a ground of kind path."""

    kind: Kind
    ground_id: str
    since: date
    via: str = ""
    rule_version: int = 0
    reason: str = ""
    due: Due | None = None
    on_ground_lost: Policy = "withdraw_if_incomplete"

    @property
    def key(self) -> GroundKey:
        return (self.kind, self.ground_id, self.via)

    @property
    def rule_id(self) -> str:
        """The rule behind it, or nothing."""
        return self.ground_id if self.kind == "rule" else self.via


@dataclass(frozen=True)
class ModuleDone:
    assurance: str
    score: float | None = None


@dataclass(frozen=True)
class Enrollment:
    enrollment_id: str
    person_id: str
    course_id: str
    course_version: int
    enrolled_at: datetime
    cycle: int = 1
    state: State = "active"
    grounds: tuple[Ground, ...] = ()
    due: Due | None = None
    overdue: bool = False
    completed_at: datetime | None = None
    done: Mapping[str, ModuleDone] = field(default_factory=dict[str, ModuleDone])

    @property
    def mandatory(self) -> bool:
        return any(g.kind != "self" for g in self.grounds)


# Commands


@dataclass(frozen=True)
class Enrol:
    enrollment_id: str
    person_id: str
    course_id: str
    course_version: int
    grounds: Sequence[Ground]
    department: str
    at: datetime
    cycle: int = 1


@dataclass(frozen=True)
class ChangeGrounds:
    """`add` also replaces a ground with the same key. `modules`: those of the pinned course version."""

    add: Sequence[Ground]
    lose: Sequence[GroundKey]
    modules: Sequence[str]
    at: datetime
    reason: str = "No rule asks for it any more"


@dataclass(frozen=True)
class Withdraw:
    """Whatever the grounds: the person left."""

    reason: str


@dataclass(frozen=True)
class RecordModule:
    module_id: str
    assurance: str
    score: float | None
    modules: Sequence[str]
    at: datetime


@dataclass(frozen=True)
class MarkOverdue:
    at: datetime


Command = Enrol | ChangeGrounds | Withdraw | RecordModule | MarkOverdue


def decide(state: Enrollment | None, command: Command) -> list[Message]:
    """The facts that follow; none when there is nothing new."""
    match command, state:
        case Enrol(), None:
            return _enrol(command)
        case _, None:
            raise ValueError(f"{type(command).__name__} needs an enrolment")
        case Enrol(), _:
            return _change(state, ChangeGrounds(command.grounds, (), (), command.at))
        case ChangeGrounds(), _:
            return _change(state, command)
        case Withdraw(reason), _:
            return [_withdrawn(state, reason)] if state.state == "active" else []
        case RecordModule(), _:
            return _record(state, command)
        case MarkOverdue(at), _:
            return _mark_overdue(state, at)


def _enrol(command: Enrol) -> list[Message]:
    first, *more = command.grounds
    due = earliest(command.grounds)
    who = {"enrollment_id": command.enrollment_id, "person_id": command.person_id}
    enrolled = pb.LearnerEnrolled(
        **who,
        course_id=command.course_id,
        course_version=command.course_version,
        cycle=command.cycle,
        ground=to_message(first),
        due_at=_stamp(due.at) if due else None,
        due_date=due.date.isoformat() if due else "",
        enrolled_at=_stamp(command.at),
        department=command.department,
        mandatory=any(g.kind != "self" for g in command.grounds),
    )
    return [enrolled, *(pb.GroundAdded(**who, ground=to_message(g)) for g in more)]


def _change(state: Enrollment, command: ChangeGrounds) -> list[Message]:
    who = {"enrollment_id": state.enrollment_id, "person_id": state.person_id}
    held = {g.key: g for g in state.grounds}
    added = [g for g in command.add if held.get(g.key) != g]
    lost = [held[key] for key in command.lose if key in held]
    after = {**held, **{g.key: g for g in added}}
    for ground in lost:
        after.pop(ground.key, None)
    events: list[Message] = []
    if state.state == "withdrawn" and added:
        first, *added = added
        events.append(pb.EnrollmentResumed(**who, course_id=state.course_id, ground=to_message(first)))
    events += [pb.GroundAdded(**who, ground=to_message(g)) for g in added]
    if state.state == "active" and lost and not after and all(g.on_ground_lost != "keep" for g in lost):
        return [*events, _withdrawn(state, command.reason)]
    events += [pb.GroundRemoved(**who, ground=to_message(g)) for g in lost]
    if not events or state.state == "completed":
        return events
    due = earliest(after.values())
    if after and due != state.due:
        at = _stamp(due.at) if due else None
        events.append(pb.DueDateChanged(**who, due_at=at, due_date=due.date.isoformat() if due else ""))
    if state.state == "withdrawn":
        # All modules may have been done in the meantime, by an attempt that was still open.
        events += _completion(fold(events, state), command.modules, command.at)
    return events


def _record(state: Enrollment, command: RecordModule) -> list[Message]:
    if command.module_id in state.done or command.module_id not in command.modules:
        return []  # done before, or of another version than the pinned one
    event = pb.ModuleProgressed(
        enrollment_id=state.enrollment_id,
        person_id=state.person_id,
        module_id=command.module_id,
        modules_done=len(state.done) + 1,
        modules_total=len(command.modules),
        assurance=command.assurance,
        score=command.score,
    )
    return [event, *_completion(evolve(state, event), command.modules, command.at)]


def _completion(state: Enrollment | None, modules: Sequence[str], at: datetime) -> list[Message]:
    if state is None or state.state != "active" or not modules or not set(modules) <= set(state.done):
        return []
    weakest = all(state.done[m].assurance == "server-graded" for m in modules)
    return [
        pb.CourseCompleted(
            enrollment_id=state.enrollment_id,
            person_id=state.person_id,
            course_id=state.course_id,
            course_version=state.course_version,
            completed_at=_stamp(at),
            on_time=state.due is None or at < state.due.at,
            assurance="server-graded" if weakest else "self-reported",
        )
    ]


def _mark_overdue(state: Enrollment, at: datetime) -> list[Message]:
    if state.state != "active" or state.overdue or state.due is None or at < state.due.at:
        return []
    return [
        pb.EnrollmentOverdue(
            enrollment_id=state.enrollment_id,
            person_id=state.person_id,
            course_id=state.course_id,
            due_at=_stamp(state.due.at),
        )
    ]


def _withdrawn(state: Enrollment, reason: str) -> Message:
    return pb.EnrollmentWithdrawn(
        enrollment_id=state.enrollment_id,
        person_id=state.person_id,
        course_id=state.course_id,
        reason=reason,
    )


def evolve(state: Enrollment | None, event: Message) -> Enrollment:
    """The state after `event`."""
    if isinstance(event, pb.LearnerEnrolled):
        return Enrollment(
            enrollment_id=event.enrollment_id,
            person_id=event.person_id,
            course_id=event.course_id,
            course_version=event.course_version,
            cycle=event.cycle,
            enrolled_at=_moment(event.enrolled_at),
            grounds=(from_message(event.ground),),
            due=_due(event),
        )
    if state is None:
        raise ValueError(f"{event.DESCRIPTOR.name} before the enrolment")
    match event:
        case pb.GroundAdded():
            return replace(state, grounds=_with(state.grounds, from_message(event.ground)))
        case pb.GroundRemoved():
            gone = from_message(event.ground).key
            return replace(state, grounds=tuple(g for g in state.grounds if g.key != gone))
        case pb.DueDateChanged():
            # Overdue again, if so, when the timer of the new date says it.
            return replace(state, due=_due(event), overdue=False)
        case pb.EnrollmentWithdrawn():
            return replace(state, state="withdrawn", grounds=(), overdue=False)
        case pb.EnrollmentResumed():
            return replace(state, state="active", grounds=(from_message(event.ground),))
        case pb.ModuleProgressed():
            score = event.score if event.HasField("score") else None
            done = {**state.done, event.module_id: ModuleDone(event.assurance, score)}
            return replace(state, done=done)
        case pb.CourseCompleted():
            return replace(state, state="completed", completed_at=_moment(event.completed_at), overdue=False)
        case pb.EnrollmentOverdue():
            return replace(state, overdue=True)
        case _:
            raise ValueError(f"{event.DESCRIPTOR.name} is no event of an enrolment")


def fold(events: Iterable[Message], state: Enrollment | None = None) -> Enrollment | None:
    """The state after all of `events`."""
    return reduce(evolve, events, state)


def earliest(grounds: Iterable[Ground]) -> Due | None:
    """The earliest due date wins; None when no ground sets one."""
    return min((g.due for g in grounds if g.due), default=None)


def _with(grounds: tuple[Ground, ...], ground: Ground) -> tuple[Ground, ...]:
    return (*(g for g in grounds if g.key != ground.key), ground)


# Messages


def of_others(event: Message, who: Iterable[Who]) -> list[bytes]:
    """The same event of other enrolments and people, encoded.

    Encoded Protobuf messages one after the other are one message, so what is common is encoded once.
    """
    own: Any = type(event)()
    names = [n for n in ("enrollment_id", "person_id", "department") if n in own.DESCRIPTOR.fields_by_name]
    common = type(event)()
    common.CopyFrom(event)
    for name in names:
        common.ClearField(name)
    rest = common.SerializeToString()
    found: list[bytes] = []
    for one in who:
        for name, value in zip(names, one, strict=False):  # a further ground does not say the department
            setattr(own, name, value)
        found.append(own.SerializeToString() + rest)
    return found


def to_message(ground: Ground) -> pb.Ground:
    return pb.Ground(
        kind=KINDS[ground.kind],
        ground_id=ground.ground_id,
        rule_version=ground.rule_version,
        reason=ground.reason,
        via=ground.via,
        due_at=_stamp(ground.due.at) if ground.due else None,
        due_date=ground.due.date.isoformat() if ground.due else "",
        on_ground_lost=ground.on_ground_lost,
        since=ground.since.isoformat(),
    )


def from_message(ground: pb.Ground) -> Ground:
    return Ground(
        kind=_KIND_OF[ground.kind],
        ground_id=ground.ground_id,
        since=date.fromisoformat(ground.since),
        via=ground.via,
        rule_version=ground.rule_version,
        reason=ground.reason,
        due=_due(ground),
        on_ground_lost="keep" if ground.on_ground_lost == "keep" else "withdraw_if_incomplete",
    )


def _due(message: pb.Ground | pb.LearnerEnrolled | pb.DueDateChanged) -> Due | None:
    if not message.HasField("due_at"):
        return None
    return Due(_moment(message.due_at), date.fromisoformat(message.due_date))


def _stamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at.astimezone(UTC))
    return stamp


def _moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)
