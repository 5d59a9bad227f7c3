"""Feed → handler. No logic."""

from functools import partial

from enrollment import handlers
from enrollment.store.book import Books
from lyceum.assessment.v1.events_pb2 import ModuleCompleted
from lyceum.catalog.v1.events_pb2 import CourseDeprecated, CoursePublished, PathPublished
from lyceum.identity.v1.events_pb2 import (
    TenantCreated,
    UserDeactivated,
    UserErased,
    UserProvisioned,
    UserReactivated,
    UserUpdated,
)
from lyceum_kit.consumer import Consumes, Together


def consumes(books: Books) -> Consumes:
    on_people = Together(partial(handlers.on_people, books=books))
    return {
        "identity": {
            TenantCreated: handlers.on_tenant_created,
            UserProvisioned: on_people,
            UserUpdated: on_people,
            UserReactivated: on_people,
            UserDeactivated: partial(handlers.on_user_deactivated, books=books),
            UserErased: handlers.on_user_erased,
        },
        "catalog": {
            CoursePublished: partial(handlers.on_course_published, books=books),
            CourseDeprecated: handlers.on_course_deprecated,
            PathPublished: handlers.on_path_published,
        },
        "assessment": {ModuleCompleted: partial(handlers.on_module_completed, books=books)},
    }
