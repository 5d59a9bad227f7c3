"""Which event of which feed goes to which handler."""

from functools import partial

from assessment import handlers, log
from assessment.keys import Vault
from assessment.peers import People
from lyceum.catalog.v1.events_pb2 import CoursePublished
from lyceum.enrollment.v1.events_pb2 import CourseCompleted
from lyceum.identity.v1.events_pb2 import TenantCreated, UserDeactivated, UserErased, UserReactivated
from lyceum_kit.consumer import Consumes


def consumes(*, vault: Vault, people: People, origin: str) -> Consumes:
    certifying = {"vault": vault, "people": people, "origin": origin}
    return {
        "identity": {
            TenantCreated: handlers.on_tenant_created,
            UserDeactivated: handlers.on_user_deactivated,
            UserReactivated: handlers.on_user_reactivated,
            UserErased: handlers.on_user_erased,
        },
        "catalog": {CoursePublished: partial(handlers.on_course_published, **certifying)},
        "enrollment": {CourseCompleted: partial(handlers.on_course_completed, **certifying)},
        "assessment": dict.fromkeys(log.RECORDS, handlers.on_record),
    }
