"""What a route declares: who may call it, and how large a body it takes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant

from lyceum_kit.errors import Forbidden, Unauthenticated
from lyceum_kit.tokens import Caller, Verifier

MIB = 1024 * 1024


@dataclass(frozen=True)
class _Allow:
    roles: frozenset[str]

    async def __call__(self, request: Request) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated()
        verifier: Verifier = request.app.state.verifier
        who = await verifier.verify(token.strip())
        if self.roles and not who.has(*self.roles):
            raise Forbidden(f"One of these roles is needed: {', '.join(sorted(self.roles))}")
        return who


async def _public() -> None:
    """Marks a route that needs no token."""


def allow(*roles: str) -> Any:
    """`who: Annotated[Caller, allow("admin", "author")]`. Without roles: any authenticated caller."""
    return Depends(_Allow(frozenset(roles)))


public: Any = Depends(_public)


@dataclass(frozen=True)
class _BodyLimit:
    size: int

    async def __call__(self) -> None:
        """Read by the app when it is built; nothing happens per request."""


def body_limit(size: int) -> Any:
    """`dependencies=[body_limit(500 * MIB)]` on a route that takes more, or less, than 1 MiB."""
    return Depends(_BodyLimit(size))


@dataclass(frozen=True)
class Declared:
    """By a route, or by a router that it is in."""

    guarded: bool
    public: bool
    body_limit: int | None


def declared(dependant: Dependant) -> Declared:
    calls = list(_calls(dependant))
    return Declared(
        guarded=any(isinstance(c, _Allow) for c in calls),
        public=any(c is _public for c in calls),
        body_limit=next((c.size for c in calls if isinstance(c, _BodyLimit)), None),
    )


def _calls(dependant: Dependant) -> Iterable[Any]:
    for inner in dependant.dependencies:
        yield inner.call
        yield from _calls(inner)
