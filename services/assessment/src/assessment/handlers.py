"""What assessment does with other services' events.

TenantCreated                      remember the issuer's name
CoursePublished                    remember the version's modules; issue what waited for it
UserDeactivated, UserReactivated   close, open what the person may play
UserErased                         destroy the person's key, blank what names them
CourseCompleted                    issue the certificate, once per enrolment

and with its own records (log.RECORDS): enter them into the tamper-evident log.
"""

from google.protobuf.message import Message

from assessment import certifying, log, quizzing, store
from assessment.keys import Vault
from assessment.peers import People
from lyceum.catalog.v1.events_pb2 import (
    MODULE_KIND_QUIZ,
    MODULE_KIND_READING,
    MODULE_KIND_SCORM12,
    CoursePublished,
)
from lyceum.enrollment.v1.events_pb2 import CourseCompleted
from lyceum.identity.v1.events_pb2 import TenantCreated, UserDeactivated, UserErased, UserReactivated
from lyceum_kit.envelope import Meta
from lyceum_kit.ledger import Tx

_KINDS = {MODULE_KIND_SCORM12: "scorm12", MODULE_KIND_QUIZ: "quiz", MODULE_KIND_READING: "reading"}


async def on_tenant_created(tx: Tx, event: TenantCreated, _meta: Meta) -> None:
    # The first tenants were announced without a name.
    await store.save_tenant(tx.conn, tx.tenant, event.name or event.slug)


async def on_course_published(
    tx: Tx, event: CoursePublished, _meta: Meta, *, vault: Vault, people: People, origin: str
) -> None:
    version = {"tenant": tx.tenant, "course_id": event.course_id, "course_version": event.course_version}
    await store.save_course(
        tx.conn,
        {
            **version,
            "title": event.title,
            "summary": event.summary,
            "language": event.language,
            "certifying": event.certifying,
        },
        [
            {
                **version,
                "module_id": m.module_id,
                "title": m.title,
                # A kind that a newer catalog knows cannot be taken here; a newer assessment will read it
                # again.
                "kind": _KINDS.get(m.kind, "unknown"),
                "package_id": m.package_id,
                "launch_path": m.launch_path,
                "launch_data": m.launch_data,
                "mastery_score": m.mastery_score if m.HasField("mastery_score") else None,
                "complete_on_view": m.complete_on_view,
                "quiz_id": m.quiz_id,
            }
            for m in event.modules
        ],
    )
    for waiting in await store.take_waiting(tx.conn, tx.tenant, event.course_id, event.course_version):
        completed = CourseCompleted.FromString(waiting)
        await _certify(tx, completed, vault=vault, people=people, origin=origin)


async def on_user_deactivated(tx: Tx, event: UserDeactivated, meta: Meta) -> None:
    await store.save_departure(tx.conn, tx.tenant, event.person_id, version=meta.version, gone=True)


async def on_user_reactivated(tx: Tx, event: UserReactivated, meta: Meta) -> None:
    await store.save_departure(tx.conn, tx.tenant, event.person_id, version=meta.version, gone=False)


async def on_user_erased(tx: Tx, event: UserErased, meta: Meta) -> None:
    """What they wrote can never be read again, in events and in backups neither; what they achieved stays."""
    await store.save_departure(tx.conn, tx.tenant, event.person_id, version=meta.version, gone=True)
    await store.lock_person(tx.conn, tx.tenant, event.person_id)
    await store.destroy_person_key(tx.conn, tx.tenant, event.person_id)
    for attempt_id in await store.forget_what_was_written(tx.conn, tx.tenant, event.person_id):
        tx.cancel_timer(quizzing.DEADLINE, attempt_id)  # there is nothing left to grade


async def on_course_completed(
    tx: Tx, event: CourseCompleted, _meta: Meta, *, vault: Vault, people: People, origin: str
) -> None:
    await _certify(tx, event, vault=vault, people=people, origin=origin)


async def on_record(tx: Tx, _event: Message, meta: Meta) -> None:
    await log.enter(tx, meta.id)


async def _certify(tx: Tx, event: CourseCompleted, *, vault: Vault, people: People, origin: str) -> None:
    course = await store.course(tx.conn, tx.tenant, event.course_id, event.course_version)
    if course is None:  # catalog's feed is behind enrollment's
        await store.add_waiting(
            tx.conn,
            {
                "tenant": tx.tenant,
                "enrollment_id": event.enrollment_id,
                "course_id": event.course_id,
                "course_version": event.course_version,
                "event": event.SerializeToString(),
            },
        )
        return
    await certifying.issue(tx, event, course=course, vault=vault, people=people, origin=origin)
