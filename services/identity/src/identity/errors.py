"""What can go wrong in identity, below the kit's tree.

Malformed
├── BadWebhookId         the id would make the signed text ambiguous
├── StaleWebhook         sent more than five minutes ago, or ahead
├── BadJson              not JSON, or JSON that readers disagree on
└── EncodedBody          compressed: the signature covers plain bytes
Unauthenticated
├── BadSignature
├── BadCredentials
└── NotSignedIn
Forbidden
├── ForeignOrigin        a page of another site uses the session's cookie
└── NotLocal             personas are for the local edition, on this machine
Invalid
├── UnknownTimeZone
├── DuplicateInSnapshot
├── SaidInTheFuture
└── BadMapping           an org unit under itself, or headed by nobody here
Refused
├── SlugTaken
├── SnapshotDecided
├── StillHere            somebody who works here, or is about to, cannot be erased
└── LinkUsed
"""

from lyceum_kit.errors import Forbidden, Invalid, Malformed, Refused, Unauthenticated


class BadWebhookId(Malformed):
    code, title = "bad-webhook-id", "The webhook-id is missing, too long or has a dot"


class StaleWebhook(Malformed):
    code, title = "stale-webhook", "The webhook's time is more than five minutes from now"


class BadJson(Malformed):
    code, title = "bad-json", "The body is not JSON that every reader understands alike"


class EncodedBody(Malformed):
    code, title = "encoded-body", "Send the body without Content-Encoding"


class BadSignature(Unauthenticated):
    """One answer for a wrong signature, a missing one and an address that is none: strangers learn nothing."""

    code, title = "bad-signature", "No valid signature"

    def __init__(self) -> None:
        super().__init__(
            "The address is unknown, or the message is not signed with its secret: webhook-id, webhook-timestamp"
            " and webhook-signature, or X-BambooHR-Timestamp and X-BambooHR-Signature"
        )


class BadCredentials(Unauthenticated):
    code, title = "bad-credentials", "Unknown client, or the wrong secret"


class NotSignedIn(Unauthenticated):
    code, title = "not-signed-in", "Sign in first"


class ForeignOrigin(Forbidden):
    code, title = "foreign-origin", "Only pages of this site may use its session"


class NotLocal(Forbidden):
    code, title = "not-local", "Personas are for the local edition, on this machine"


class UnknownTimeZone(Invalid):
    code, title = "unknown-time-zone", "No such time zone"


class DuplicateInSnapshot(Invalid):
    code, title = "duplicate-in-snapshot", "A snapshot lists somebody twice"


class SaidInTheFuture(Invalid):
    code, title = "said-in-the-future", "The event's timestamp lies ahead"


class BadMapping(Invalid):
    code, title = "bad-mapping", "The unit cannot be mapped so"


class SlugTaken(Refused):
    code, title = "slug-taken", "Another tenant has this slug"


class SnapshotDecided(Refused):
    code, title = "snapshot-decided", "Somebody decided on this snapshot before"


class StillHere(Refused):
    code, title = "still-here", "By HR's word this person works here, or is about to"


class LinkUsed(Refused):
    code, title = "link-used", "The link was used before, or is too old"
