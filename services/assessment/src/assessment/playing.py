"""Playing SCORM modules and reading pages: launch, state, commit. The rules are in scorm_attempt.py."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from assessment import scorm_attempt, scorm_cmi, sealing, store
from assessment.errors import (
    NotOpen,
    UnknownAttempt,
    UnknownEnrollment,
    UnknownModule,
    UnknownToken,
    WrongKind,
)
from assessment.keys import Vault
from assessment.peers import Standing
from assessment.scorm_attempt import Commit, Launch, ScormAttempt
from lyceum.assessment.v1.events_pb2 import ModuleCompleted
from lyceum_kit.ledger import Tx

_OUTCOME_STATES = {"passed": "passed", "completed": "completed", "failed": "failed"}


@dataclass(frozen=True)
class Launched:
    attempt_id: str
    package_id: str
    token: str


@dataclass(frozen=True)
class Bearer:
    """The one attempt an attempt token speaks for."""

    tenant: UUID
    attempt_id: str
    person_id: str
    package_id: str


async def module_of(tx: Tx, standing: Standing, module_id: str, kind: str, *, person_id: str) -> Any:
    """The module a learner may take now. Another's enrolment is as unknown as none."""
    if standing.person_id != person_id:
        raise UnknownEnrollment
    if not standing.open:
        raise NotOpen(standing.why_not)
    if await store.has_left(tx.conn, tx.tenant, person_id):
        raise NotOpen("The person has left")
    module = await store.module(tx.conn, tx.tenant, standing.course_id, standing.course_version, module_id)
    if module is None:
        raise UnknownModule
    if module.kind != kind:
        raise WrongKind(f"The module is a {module.kind}")
    return module


async def launch(
    tx: Tx, standing: Standing, module_id: str, *, person_id: str, lifetime: timedelta
) -> Launched:
    """A token for the module's one attempt. Nothing is taken over until the opened page asks for its
    state.
    """
    module = await module_of(tx, standing, module_id, "scorm12", person_id=person_id)
    row = _new_row(tx, standing, module_id, person_id, "scorm12", scorm_attempt.SELF_REPORTED)
    await store.add_attempt(tx.conn, row)
    attempt = (await store.attempts_at(tx.conn, tx.tenant, standing.enrollment_id, module_id))[0]
    token = secrets.token_urlsafe(32)
    await store.add_launch(
        tx.conn,
        {
            "token_sha256": _hashed(token),
            "tenant": tx.tenant,
            "attempt_id": attempt.attempt_id,
            "person_id": person_id,
            "package_id": module.package_id,
            "expires_at": tx.now + lifetime,
        },
        now=tx.now,
    )
    return Launched(attempt.attempt_id, module.package_id, token)


async def bearer(conn: Any, token: str, *, package_id: str, now: datetime) -> Bearer:
    """Whom an attempt token speaks for. It works on its package's origin only. Raises UnknownToken."""
    found = await store.launch(conn, _hashed(token))
    if found is None or found.expires_at < now or not hmac.compare_digest(found.package_id, package_id):
        raise UnknownToken
    return Bearer(found.tenant, found.attempt_id, found.person_id, found.package_id)


async def open_state(tx: Tx, who: Bearer, *, vault: Vault, learner_name: str) -> dict[str, Any]:
    """A page has opened: it takes the attempt over and gets the data to start with."""
    row, module = await _attempt_and_module(tx, who)
    key = await vault.person_key(tx, who.person_id)
    state = _state(row)
    saved = None if row.cmi_encrypted is None else _open_cmi(key, tx.tenant, row)
    events = scorm_attempt.decide(state, Launch(complete_on_view=module.complete_on_view), now=tx.now)
    state = await _append(tx, row, state, events)
    return {
        "attempt_id": state.attempt_id,
        "session": state.session,
        "launch_path": module.launch_path,
        "title": module.title,
        "cmi": scorm_cmi.to_resume(
            saved,
            learner_id=who.person_id,
            learner_name=learner_name,
            total_seconds=state.finished_seconds,
            lesson_status=state.lesson_status,
            mastery_score=module.mastery_score,
            launch_data=module.launch_data,
        ),
    }


async def commit(
    tx: Tx,
    who: Bearer,
    *,
    vault: Vault,
    session: int,
    sequence: int,
    finish: bool,
    cmi: dict[str, Any],
    same_suspend_data: bool,
) -> bool:
    """Store what the package says. True once it is durable; the caller's transaction makes it so."""
    row, module = await _attempt_and_module(tx, who)
    key = await vault.person_key(tx, who.person_id)
    if same_suspend_data and row.cmi_encrypted is not None:
        # A page that goes away may send 64 KiB only, so it leaves out what has not changed.
        cmi = {**cmi, "suspend_data": _open_cmi(key, tx.tenant, row).get("suspend_data", "")}
    reported = scorm_cmi.report(cmi)
    sealed = sealing.seal(key, scorm_cmi.encode(cmi), _of_cmi(tx.tenant, row.attempt_id))
    state = _state(row)
    command = Commit(
        session=session,
        sequence=sequence,
        finish=finish,
        reported=reported,
        cmi_encrypted=sealed,
        mastery_score=module.mastery_score,
    )
    events = scorm_attempt.decide(state, command, now=tx.now)
    if events:
        state = await _append(tx, row, state, events, cmi_encrypted=sealed)
        await store.change_attempt(
            tx.conn, tx.tenant, row.attempt_id, {"state": _record_state(state, suspended=reported.suspended)}
        )
    return state.completed


async def read(tx: Tx, standing: Standing, module_id: str, *, person_id: str) -> str:
    """The learner says a page is read. Saying it again changes nothing."""
    await module_of(tx, standing, module_id, "reading", person_id=person_id)
    row = _new_row(tx, standing, module_id, person_id, "reading", scorm_attempt.SELF_REPORTED)
    if await store.add_attempt(tx.conn, {**row, "state": "completed", "version": 1, "completed_at": tx.now}):
        completed = ModuleCompleted(
            attempt_id=row["attempt_id"],
            enrollment_id=standing.enrollment_id,
            person_id=person_id,
            course_id=standing.course_id,
            module_id=module_id,
            outcome="completed",
            assurance=scorm_attempt.SELF_REPORTED,
        )
        completed.completed_at.FromDatetime(tx.now)
        tx.append(f"attempt/{row['attempt_id']}", [completed], expected=0, key=person_id)
    return (await store.attempts_at(tx.conn, tx.tenant, standing.enrollment_id, module_id))[0].attempt_id


def _new_row(
    tx: Tx, standing: Standing, module_id: str, person_id: str, kind: str, assurance: str
) -> dict[str, Any]:
    return {
        "tenant": tx.tenant,
        "attempt_id": str(tx.new_id()),
        "kind": kind,
        "enrollment_id": standing.enrollment_id,
        "person_id": person_id,
        "course_id": standing.course_id,
        "course_version": standing.course_version,
        "module_id": module_id,
        "number": 1,
        "version": 0,
        "state": "launched",
        "assurance": assurance,
        "started_at": tx.now,
        "lesson_status": "not attempted" if kind == "scorm12" else "",
    }


async def _attempt_and_module(tx: Tx, who: Bearer) -> tuple[Any, Any]:
    if await store.has_left(tx.conn, tx.tenant, who.person_id):
        raise UnknownToken("The person has left")
    row = await store.attempt(tx.conn, tx.tenant, who.attempt_id, lock=True)
    if row is None:
        raise UnknownAttempt
    module = await store.module(tx.conn, tx.tenant, row.course_id, row.course_version, row.module_id)
    if module is None:
        raise UnknownModule
    return row, module


def _state(row: Any) -> ScormAttempt:
    """The fold of the stream, as its row keeps it: an hour of commits would be long to read at each
    commit.
    """
    return ScormAttempt(
        attempt_id=row.attempt_id,
        enrollment_id=row.enrollment_id,
        person_id=row.person_id,
        course_id=row.course_id,
        module_id=row.module_id,
        session=row.session,
        sequence=row.sequence,
        lesson_status=row.lesson_status,
        score=row.score,
        finished_seconds=row.finished_seconds,
        session_seconds=row.session_seconds,
        completed=row.completed_at is not None,
    )


async def _append(tx: Tx, row: Any, state: ScormAttempt, events: Any, **more: Any) -> ScormAttempt:
    """Append and keep the row the fold of its stream."""
    was_completed = state.completed
    for event in events:
        state = scorm_attempt.evolve(state, event)
    tx.append(f"attempt/{row.attempt_id}", events, expected=row.version, key=row.person_id)
    values = {
        "version": row.version + len(events),
        "session": state.session,
        "sequence": state.sequence,
        "lesson_status": state.lesson_status,
        "score": state.score,
        "finished_seconds": state.finished_seconds,
        "session_seconds": state.session_seconds,
        "state": _record_state(state, suspended=False),
        **more,
    }
    if state.completed and not was_completed:
        values["completed_at"] = tx.now
    await store.change_attempt(tx.conn, tx.tenant, row.attempt_id, values)
    return state


def _record_state(state: ScormAttempt, *, suspended: bool) -> str:
    """What a record shows. Completed once, a module stays so, whatever a later visit says."""
    if state.completed:
        return "passed" if state.lesson_status == "passed" else "completed"
    return _OUTCOME_STATES.get(state.lesson_status, "suspended" if suspended else "started")


def _open_cmi(key: bytes, tenant: UUID, row: Any) -> dict[str, Any]:
    return scorm_cmi.decode(sealing.unseal(key, row.cmi_encrypted, _of_cmi(tenant, row.attempt_id)))


def _of_cmi(tenant: UUID, attempt_id: str) -> str:
    return sealing.place(tenant, f"attempt/{attempt_id}", "cmi")


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
