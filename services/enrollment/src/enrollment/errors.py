"""What callers of enrollment can get wrong.

LyceumError (see lyceum_kit.errors)
├── NotFound
│   └── UnknownEnrollment     also somebody else's: the same answer
├── Refused
│   ├── CourseNotOpen         deprecated: no new enrolment
│   └── NotEmployed           the person has left
└── Invalid
    ├── BadCondition          names the node of the tree
    ├── UnknownTarget         a rule names a course or path that is not published
    └── DueDatePassed
"""

from lyceum_kit.errors import Invalid, NotFound, Refused


class UnknownEnrollment(NotFound):
    pass


class CourseNotOpen(Refused):
    code, title = "course-not-open", "The course takes no new enrolments"


class BadCondition(Invalid):
    code, title = "bad-condition", "The condition cannot be read"


class NotEmployed(Refused):
    code, title = "not-employed", "The person has left"


class UnknownTarget(Invalid):
    code, title = "unknown-target", "Not published"


class DueDatePassed(Invalid):
    code, title = "due-date-passed", "The due date has passed"
