"""What can go wrong in catalog, below the kit's tree.

Invalid
├── PackageRefused       an upload; one subclass per cause, see packages/refusal.py
├── ModulesInvalid       a course's modules do not fit together, or name what is not there
├── PrerequisiteCycle    a path in which courses wait for each other
└── PathInvalid
Refused
├── SlugTaken
├── NothingToPublish     a course without modules
└── CourseRetired         the course is deprecated
TooLarge
└── PackageTooLarge
"""

from collections.abc import Mapping

from catalog.packages.refusal import REFUSALS, Refusal
from lyceum_kit.errors import Invalid, Refused, TooLarge


class PackageRefused(Invalid):
    code, title = "package-refused", "The package was refused"


_CAUSES: Mapping[str, type[PackageRefused]] = {
    code: type("PackageRefused", (PackageRefused,), {"code": code, "title": title})
    for code, title in REFUSALS.items()
}


def refused(refusal: Refusal) -> PackageRefused:
    """The problem for a refusal: its own type and title, its sentence, and the entry it is about."""
    extra = {"entry": refusal.entry} if refusal.entry else {}
    return _CAUSES[refusal.code](refusal.detail, **extra)


class PackageTooLarge(TooLarge):
    code, title = "package-too-large", "The package is too large"


class UploadMissing(Invalid):
    code, title = "upload-missing", "The form has no file in it"


class ModulesInvalid(Invalid):
    code, title = "modules-invalid", "The course's modules do not fit"


class PathInvalid(Invalid):
    code, title = "path-invalid", "The path does not fit together"


class PrerequisiteCycle(PathInvalid):
    code, title = "prerequisite-cycle", "Courses of the path wait for each other"


class SlugTaken(Refused):
    code, title = "slug-taken", "Something else of this tenant has this slug"


class NothingToPublish(Refused):
    code, title = "nothing-to-publish", "A course needs at least one module"


class CourseRetired(Refused):
    code, title = "course-deprecated", "The course is deprecated"
