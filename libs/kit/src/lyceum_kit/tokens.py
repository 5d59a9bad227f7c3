"""Access tokens: ES256 JWTs that identity signs and every edge verifies. Who calls is a `Caller`.

Header exactly alg, kid, typ=at+jwt. Claims iss, aud=lyceum, sub, kind, tenant, roles, iat, exp, jti.
"""

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, NamedTuple, Protocol, cast, get_args
from uuid import UUID, uuid4

import httpx
import structlog
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet
from joserfc.util import urlsafe_b64decode
from pydantic import SecretStr

from lyceum_kit.errors import Unauthenticated, Unavailable

log = structlog.get_logger()

AUDIENCE = "lyceum"
TYPE = "at+jwt"  # RFC 9068: an ID token or a launch token cannot pass for an access token
EVERY_TENANT = UUID(int=0)  # `tenant` "*": services and operators. Row-level security finds nothing under it
REMEMBERED = 2000  # tokens whose signature needs no second check
_TIMES = ("exp", "nbf", "iat")
LEEWAY = 5  # seconds that clocks of two machines may differ

Kind = Literal["person", "client", "service"]
_KINDS: frozenset[str] = frozenset(get_args(Kind))
_HEADER = {"alg", "kid", "typ"}
_MAX_TOKEN = 8192

Jwks = dict[str, Any]
KeySource = Callable[[], Awaitable[Jwks]]


@dataclass(frozen=True)
class Caller:
    """Who makes a request, as a token says."""

    tenant: UUID
    subject: str
    roles: frozenset[str]
    kind: Kind

    @property
    def every_tenant(self) -> bool:
        return self.tenant == EVERY_TENANT

    def has(self, *roles: str) -> bool:
        return not self.roles.isdisjoint(roles)


class Keys:
    """Identity's signing key, and the public keys that still verify (the one before, during rotation)."""

    def __init__(self, signing: ECKey, *, retired: Sequence[ECKey] = ()) -> None:
        signing.ensure_kid()
        self._signing = signing
        self._all = [signing, *retired]

    @classmethod
    def generate(cls) -> "Keys":
        return cls(ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}))

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> "Keys":
        """From what `private()` gave; the first key signs."""
        keys = [ECKey.import_key(key) for key in stored["keys"]]
        return cls(keys[0], retired=keys[1:])

    @property
    def kid(self) -> str:
        return str(self._signing.kid)

    @property
    def signing(self) -> ECKey:
        return self._signing

    def private(self) -> Jwks:
        """Everything, to be stored encrypted."""
        return cast("Jwks", KeySet(list(self._all)).as_dict(private=True))

    def public(self) -> Jwks:
        """What `GET /jwks` answers."""
        return cast("Jwks", KeySet(list(self._all)).as_dict(private=False))


def sign_token(
    keys: Keys,
    caller: Caller,
    *,
    issuer: str,
    lifetime: timedelta,
    now: float | None = None,
    jti: str | None = None,
) -> str:
    """A token that says: the bearer is `caller`."""
    issued = int(time.time() if now is None else now)
    claims = {
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": caller.subject,
        "kind": caller.kind,
        "tenant": "*" if caller.every_tenant else str(caller.tenant),
        "roles": sorted(caller.roles),
        "iat": issued,
        "exp": issued + int(lifetime.total_seconds()),
        "jti": jti or str(uuid4()),
    }
    header = {"alg": "ES256", "kid": keys.kid, "typ": TYPE}
    return jwt.encode(header, claims, keys.signing, algorithms=["ES256"])


class _Checked(NamedTuple):
    """A token whose signature and claims hold, under the key it was checked with."""

    kid: str
    key: ECKey
    caller: Caller
    times: dict[str, Any]


class Verifier:
    """Checks tokens against the issuer's published keys, kept here and asked for again when one is unknown.

    A new key must be published a minute before it signs.
    """

    def __init__(
        self,
        jwks_url: str,
        issuer: str,
        *,
        source: KeySource | None = None,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source or (lambda: _fetch(jwks_url))
        self._ticks = ticks

        def now() -> int:
            return int(clock())

        self._in_time = jwt.JWTClaimsRegistry(now, LEEWAY)
        self._claims = jwt.JWTClaimsRegistry(
            now,
            LEEWAY,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": AUDIENCE},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        )
        self._keys: dict[str, ECKey] = {}
        self._checked: dict[str, _Checked] = {}
        self._asked_at = float("-inf")
        self._answered_at = float("-inf")
        self._asking: asyncio.Lock | None = None

    @classmethod
    def from_source(
        cls, source: KeySource, issuer: str, *, clock: Callable[[], float] = time.time
    ) -> "Verifier":
        """For the issuer itself, which needs no HTTP to know its keys."""
        return cls("", issuer, source=source, clock=clock)

    @classmethod
    def from_keys(cls, keys: Keys, issuer: str, *, clock: Callable[[], float] = time.time) -> "Verifier":
        async def source() -> Jwks:
            return keys.public()

        return cls("", issuer, source=source, clock=clock)

    async def verify(self, token: str) -> Caller:
        """Raises Unauthenticated, or Unavailable while the issuer's keys have never been seen.

        A token comes with each call. What its signature covers is looked at once for each key as read; the time, and
        whether the key still holds, each time.
        """
        try:
            checked = self._checked.get(token)
            kid = checked.kid if checked else _kid_of(token)
            key = await self._key(kid)
            if checked is None or checked.key is not key:
                checked = self._checked[token] = self._check(token, kid, key)
            self._in_time.validate(checked.times)
        except (JoseError, ValueError, KeyError, TypeError) as e:
            raise Unauthenticated("The token does not hold") from e
        return checked.caller

    def _check(self, token: str, kid: str, key: ECKey) -> _Checked:
        claims = jwt.decode(token, key, algorithms=["ES256"]).claims
        self._claims.validate(claims)
        times = {name: claims[name] for name in _TIMES if name in claims}
        if len(self._checked) >= REMEMBERED:
            self._checked.clear()
        return _Checked(kid, key, _caller(claims), times)

    async def _key(self, kid: str) -> ECKey:
        # Known keys are good for ten minutes, so that a withdrawn one dies. Unknown ones are asked for once a
        # minute: a flood of made-up kids must not become a flood at the issuer. Until there is any key, at
        # once: the issuer is starting, as we are.
        good_for = 600 if kid in self._keys else 60 if self._keys else 0
        if self._ticks() - self._answered_at >= good_for:
            await self._refresh()
        if not self._keys:
            raise Unavailable("The issuer of tokens has not answered yet")
        if kid not in self._keys:
            raise ValueError("unknown key")
        return self._keys[kid]

    async def _refresh(self) -> None:
        called = self._ticks()
        self._asking = self._asking or asyncio.Lock()
        async with self._asking:
            pause = 5.0 if self._keys else 0.5
            if self._asked_at >= called or called - self._asked_at < pause:
                return  # another call asked while this one waited, or a moment ago
            self._asked_at = self._ticks()
            try:
                answer = await self._source()
                self._keys = {
                    str(k["kid"]): ECKey.import_key(k) for k in answer["keys"] if k.get("crv") == "P-256"
                }
                self._answered_at = self._ticks()
            except (httpx.HTTPError, OSError, JoseError, ValueError, KeyError, TypeError) as e:
                # Old keys go on: an issuer that restarts must not sign everybody out.
                log.warning("keys of the issuer not read", error=f"{type(e).__name__}: {e}")


async def _fetch(url: str) -> Jwks:
    async with httpx.AsyncClient(timeout=5) as client:
        answer = await client.get(url)
        answer.raise_for_status()
        return cast("Jwks", answer.json())


def _kid_of(token: str) -> str:
    if len(token) > _MAX_TOKEN or not token.isascii():
        raise ValueError("not a token")
    header = jwt_header(token)
    # An allow-list: jwk, jku, x5u, x5c would bring their own key, crit asks for what we do not know.
    if header.keys() != _HEADER or header["alg"] != "ES256" or header["typ"] != TYPE:
        raise ValueError("header")
    if not isinstance(header["kid"], str):
        raise ValueError("kid")
    return header["kid"]


def jwt_header(token: str) -> dict[str, Any]:
    """The protected header of a compact JWS, unverified. Raises ValueError."""
    try:
        header: Any = json.loads(urlsafe_b64decode(token.partition(".")[0].encode()))
    except RecursionError as e:
        raise ValueError("header") from e
    if not isinstance(header, dict):
        raise ValueError("header")
    return cast("dict[str, Any]", header)


def _caller(claims: Mapping[str, Any]) -> Caller:
    roles, kind, tenant, subject = claims["roles"], claims["kind"], claims["tenant"], claims["sub"]
    if not isinstance(roles, list) or not all(isinstance(r, str) for r in cast("list[Any]", roles)):
        raise ValueError("roles")
    if not isinstance(subject, str) or not subject or kind not in _KINDS or not isinstance(tenant, str):
        raise ValueError("claims")
    return Caller(
        tenant=EVERY_TENANT if tenant == "*" else UUID(tenant),
        subject=subject,
        roles=frozenset(cast("list[str]", roles)),
        kind=cast("Kind", kind),
    )


class TokenSource(Protocol):
    """Where a service gets its own token from; None asks for one over all tenants."""

    async def token(self, tenant: UUID | None) -> str: ...

    async def close(self) -> None: ...


class ServiceCredential:
    """A service's own client, exchanged for tokens that are kept per tenant until 10 s before they expire."""

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: SecretStr,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = token_url
        self._id = client_id
        self._secret = client_secret
        self._clock = clock
        self._transport = transport
        self._http: httpx.AsyncClient | None = None
        self._kept: OrderedDict[UUID | None, tuple[str, float]] = OrderedDict()
        self._asking: asyncio.Lock | None = None

    async def token(self, tenant: UUID | None) -> str:
        if found := self._valid(tenant):
            return found
        self._asking = self._asking or asyncio.Lock()
        async with self._asking:
            if found := self._valid(tenant):  # another task asked meanwhile
                return found
            token, lifetime = await self._exchange(tenant)
            self._kept[tenant] = (token, self._clock() + lifetime - 10)
            while len(self._kept) > 1000:
                self._kept.popitem(last=False)
            return token

    def _valid(self, tenant: UUID | None) -> str | None:
        token, until = self._kept.get(tenant, ("", 0.0))
        return token if token and self._clock() < until else None

    async def _exchange(self, tenant: UUID | None) -> tuple[str, float]:
        self._http = self._http or httpx.AsyncClient(timeout=5, transport=self._transport)
        form = {
            "grant_type": "client_credentials",
            "client_id": self._id,
            "client_secret": self._secret.get_secret_value(),
            **({"tenant": str(tenant)} if tenant else {}),
        }
        try:
            answer = await self._http.post(self._url, data=form)
            answer.raise_for_status()
            body = answer.json()
            return str(body["access_token"]), float(body["expires_in"])
        except httpx.HTTPStatusError as e:
            raise Unavailable(f"The issuer of tokens answered {e.response.status_code}") from e
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as e:
            raise Unavailable("The issuer of tokens does not answer") from e

    async def close(self) -> None:
        if self._http:
            await self._http.aclose()
            self._http = None
