"""What assessment refuses, as branches of the kit's tree.

LyceumError
├── Unauthenticated
│   └── UnknownToken        401  an attempt token that is not ours, or has expired
├── NotFound
│   ├── UnknownEnrollment   404  also another person's and another tenant's
│   ├── UnknownModule       404
│   ├── UnknownAttempt      404
│   ├── UnknownQuiz         404
│   ├── UnknownCertificate  404
│   └── UnknownLog          404  nothing of this tenant was ever signed, or not that much
├── Refused
│   ├── NotOpen             409  the enrolment is withdrawn or locked, or the person has left
│   ├── WrongKind           409  the module is not taken this way
│   ├── Superseded          409  a newer launch has taken the attempt over
│   ├── StaleAnswer         409  a newer answer is saved already, perhaps from another tab
│   ├── AlreadySubmitted    409
│   ├── NotSubmitted        409  there is no result before
│   ├── TooLate             409  the server's clock has closed the attempt
│   ├── NoAttemptsLeft      409
│   └── AlreadyRevoked      409
├── TooLarge
│   └── CmiTooLarge         413  more than SCORM 1.2 content may store here
└── Invalid
    ├── BadCmi              422  run-time data that breaks SCORM 1.2
    ├── BadQuiz             422  a quiz definition that nobody could take fairly
    └── BadAnswer           422  an answer that does not fit its question
"""

from lyceum_kit.errors import Invalid, NotFound, Refused, TooLarge, Unauthenticated


class UnknownToken(Unauthenticated):
    code, title = "unknown-attempt-token", "This launch is not known or has expired; open the module again"


class UnknownEnrollment(NotFound):
    title = "No such enrolment"


class UnknownModule(NotFound):
    title = "The course version has no such module"


class UnknownAttempt(NotFound):
    title = "No such attempt"


class UnknownQuiz(NotFound):
    title = "No such quiz"


class UnknownCertificate(NotFound):
    title = "No such certificate"


class NotOpen(Refused):
    code, title = "not-open", "The enrolment is not open"


class HolderErased(NotFound):
    code, title = "holder-erased", "The holder was erased; only whoever kept the credential has it"


class UnknownLog(NotFound):
    title = "No such log"


class WrongKind(Refused):
    code, title = "wrong-kind", "The module is not taken this way"


class Superseded(Refused):
    code, title = "superseded", "The module was opened again elsewhere, and goes on there"


class StaleAnswer(Refused):
    code, title = "stale-answer", "A newer answer is saved already, perhaps from another tab"


class AlreadySubmitted(Refused):
    code, title = "already-submitted", "The attempt is submitted already"


class NotSubmitted(Refused):
    code, title = "not-submitted", "The attempt is not submitted yet"


class TooLate(Refused):
    code, title = "too-late", "The time for this attempt is over"


class NoAttemptsLeft(Refused):
    code, title = "no-attempts-left", "No attempts are left"


class AlreadyRevoked(Refused):
    code, title = "already-revoked", "The certificate is revoked already"


class CmiTooLarge(TooLarge):
    code, title = "cmi-too-large", "The package wants to store more than it may"


class BadCmi(Invalid):
    code, title = "bad-cmi", "The run-time data breaks SCORM 1.2"


class BadQuiz(Invalid):
    code, title = "bad-quiz", "The quiz definition breaks a rule"


class BadAnswer(Invalid):
    code, title = "bad-answer", "The answer does not fit the question"
