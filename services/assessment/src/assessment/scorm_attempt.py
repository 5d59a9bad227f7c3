"""A learner's attempt at a SCORM 1.2 module, as events of the stream attempt/<id>. PURE.

One attempt belongs to one enrolment and module and lives through many sessions. A new session takes the
attempt over; what an older one still sends is refused. Commits are numbered within their session: a number
that is not above the last was delivered before, and changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from assessment.errors import Superseded
from assessment.scorm_cmi import Reported
from lyceum.assessment.v1.events_pb2 import ModuleCompleted, ProgressRecorded, SessionLaunched

SELF_REPORTED = "self-reported"  # a browser can forge what a package says


@dataclass(frozen=True)
class ScormAttempt:
    """The fold of the stream. The ids are known before the first event; the rest starts empty."""

    attempt_id: str
    enrollment_id: str
    person_id: str
    course_id: str
    module_id: str
    session: int = 0
    sequence: int = 0
    lesson_status: str = "not attempted"
    score: float | None = None
    finished_seconds: float = 0.0  # of sessions before this one
    session_seconds: float = 0.0
    completed: bool = False

    @property
    def total_seconds(self) -> float:
        return self.finished_seconds + self.session_seconds


@dataclass(frozen=True)
class Launch:
    """A page has opened and asks for the attempt's state."""

    complete_on_view: bool = False  # an asset never reports: seeing it is all there is


@dataclass(frozen=True)
class Commit:
    """The package has stored its run-time data."""

    session: int
    sequence: int
    finish: bool
    reported: Reported
    cmi_encrypted: bytes
    mastery_score: float | None = None


def decide(state: ScormAttempt, command: Launch | Commit, *, now: datetime) -> Sequence[Message]:
    match command:
        case Launch():
            return _launch(state, command, now)
        case Commit():
            return _commit(state, command, now)


def _launch(state: ScormAttempt, command: Launch, now: datetime) -> Sequence[Message]:
    launched = SessionLaunched(
        attempt_id=state.attempt_id,
        enrollment_id=state.enrollment_id,
        person_id=state.person_id,
        course_id=state.course_id,
        module_id=state.module_id,
        session=state.session + 1,
        launched_at=_timestamp(now),
    )
    if not command.complete_on_view or state.completed:
        return [launched]
    return [launched, _completed(state, "completed", None, now)]


def _commit(state: ScormAttempt, command: Commit, now: datetime) -> Sequence[Message]:
    if command.session != state.session:
        raise Superseded(session=state.session)
    if command.sequence <= state.sequence:
        return []
    status = outcome(command.reported, finish=command.finish, mastery_score=command.mastery_score)
    progress = ProgressRecorded(
        attempt_id=state.attempt_id,
        enrollment_id=state.enrollment_id,
        person_id=state.person_id,
        course_id=state.course_id,
        module_id=state.module_id,
        session=command.session,
        sequence=command.sequence,
        lesson_status=status,
        score_raw=command.reported.score_raw,
        session_seconds=command.reported.session_seconds,
        cmi_encrypted=command.cmi_encrypted,
    )
    if state.completed or status not in {"passed", "completed"}:
        return [progress]
    return [progress, _completed(state, status, command.reported.score_percent, now)]


def outcome(reported: Reported, *, finish: bool, mastery_score: float | None) -> str:
    """The lesson status that counts: the server's, not the package's.

    SCORM 1.2 (run-time, cmi.core.lesson_status): a package that finishes and never set a status has
    completed; and where the manifest gives a mastery score and the package a score, the score decides
    between passed and failed. It does so only for a package that claims to be done: a half-way score must
    not pass an incomplete attempt.
    """
    status = reported.lesson_status
    if finish and status == "not attempted":
        status = "completed"
    if mastery_score is None or reported.score_raw is None or status not in {"completed", "passed", "failed"}:
        return status
    return "passed" if reported.score_raw >= mastery_score else "failed"


def evolve(state: ScormAttempt, event: Message) -> ScormAttempt:
    match event:
        case SessionLaunched():
            return replace(
                state,
                session=event.session,
                sequence=0,
                finished_seconds=state.total_seconds,
                session_seconds=0.0,
            )
        case ProgressRecorded():
            return replace(
                state,
                sequence=event.sequence,
                lesson_status=event.lesson_status,
                score=event.score_raw if event.HasField("score_raw") else state.score,
                session_seconds=event.session_seconds,
            )
        case ModuleCompleted():
            return replace(
                state,
                completed=True,
                # An asset reports nothing; being seen is its status.
                lesson_status="completed" if state.lesson_status == "not attempted" else state.lesson_status,
            )
        case _:
            raise TypeError(f"{event.DESCRIPTOR.full_name} is not of a SCORM attempt")


def _completed(state: ScormAttempt, outcome: str, score: float | None, now: datetime) -> ModuleCompleted:
    return ModuleCompleted(
        attempt_id=state.attempt_id,
        enrollment_id=state.enrollment_id,
        person_id=state.person_id,
        course_id=state.course_id,
        module_id=state.module_id,
        outcome=outcome,
        score=score,
        assurance=SELF_REPORTED,
        completed_at=_timestamp(now),
    )


def _timestamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
