"""What can go wrong, as one tree. The edges map it to HTTP problems and gRPC statuses in one place each.

LyceumError
├── Malformed         400 INVALID_ARGUMENT     the request cannot be read
├── Unauthenticated   401 UNAUTHENTICATED      no token, or one that does not hold
├── Forbidden         403 PERMISSION_DENIED    a valid caller who may not do this
├── NotFound          404 NOT_FOUND            unknown, or another tenant's: the same answer
├── Refused           409 FAILED_PRECONDITION  understood, but the state of things forbids it
│   └── Conflict      409 ABORTED              somebody else was faster; Ledger.run tries again
├── TooLarge          413 RESOURCE_EXHAUSTED
├── Invalid           422 INVALID_ARGUMENT     readable, but breaks a rule
├── TooMany           429 RESOURCE_EXHAUSTED
└── Unavailable       503 UNAVAILABLE          a dependency is down; try again later

Services subclass these in their own errors.py and set `code`, the last part of the problem's type.
"""

from typing import ClassVar

import grpc


class LyceumError(Exception):
    """`detail` is a sentence for whoever made the request; `extra` becomes members of the problem object."""

    status: ClassVar[int] = 500
    rpc_status: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    code: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str = "", **extra: object) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.extra = extra


class Malformed(LyceumError):
    status, rpc_status = 400, grpc.StatusCode.INVALID_ARGUMENT
    code, title = "malformed", "The request cannot be read"


class Unauthenticated(LyceumError):
    status, rpc_status = 401, grpc.StatusCode.UNAUTHENTICATED
    code, title = "unauthenticated", "A valid token is needed"


class Forbidden(LyceumError):
    status, rpc_status = 403, grpc.StatusCode.PERMISSION_DENIED
    code, title = "forbidden", "Not allowed"


class NotFound(LyceumError):
    status, rpc_status = 404, grpc.StatusCode.NOT_FOUND
    code, title = "not-found", "Not found"


class Refused(LyceumError):
    status, rpc_status = 409, grpc.StatusCode.FAILED_PRECONDITION
    code, title = "refused", "Not possible in this state"


class Conflict(Refused):
    rpc_status = grpc.StatusCode.ABORTED
    code, title = "conflict", "Somebody else changed this at the same time"


class TooLarge(LyceumError):
    status, rpc_status = 413, grpc.StatusCode.RESOURCE_EXHAUSTED
    code, title = "too-large", "Too large"


class Invalid(LyceumError):
    status, rpc_status = 422, grpc.StatusCode.INVALID_ARGUMENT
    code, title = "invalid", "The request breaks a rule"


class TooMany(LyceumError):
    status, rpc_status = 429, grpc.StatusCode.RESOURCE_EXHAUSTED
    code, title = "too-many", "Too many requests"


class Unavailable(LyceumError):
    """Always says when to come again (`retry_after`, seconds): a caller that is not told gives up, or hammers."""

    status, rpc_status = 503, grpc.StatusCode.UNAVAILABLE
    code, title = "unavailable", "A dependency is not available right now"

    def __init__(self, detail: str = "", *, retry_after: float = 1, **extra: object) -> None:
        super().__init__(detail, retry_after=retry_after, **extra)
        self.retry_after = retry_after
