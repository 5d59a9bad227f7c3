"""Who may come in: sessions of browsers, one-time links, API clients and services; and the tokens they get.

Session ids, links and client ids name their tenant, so that row-level security can be set before they are
looked up. What is stored of a secret is its SHA-256. Each token is asked of the tables: who left gets none.
"""

import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from identity import sign_in_store, store
from identity.errors import BadCredentials, LinkUsed, NotSignedIn
from identity.keys import SigningKeys
from identity.vault import hashed
from lyceum.identity.v1 import events_pb2 as pb
from lyceum_kit.errors import Malformed, NotFound
from lyceum_kit.ledger import Ledger, Tx
from lyceum_kit.tokens import EVERY_TENANT, Caller, sign_token

PERSON_TOKEN = timedelta(minutes=10)
CLIENT_TOKEN = timedelta(minutes=10)
SERVICE_TOKEN = timedelta(seconds=60)
OPERATOR = "operator"

_BEARER = re.compile(r"([0-9a-f]{32})\.([A-Za-z0-9_-]{43})")
_CLIENT_ID = re.compile(r"lyc_([0-9a-f]{32})_[0-9a-f]{16}")


@dataclass(frozen=True)
class Token:
    access_token: str
    expires_in: int


def new_secret() -> str:
    return secrets.token_urlsafe(32)


def tenant_of(value: str) -> UUID | None:
    """The tenant that a session id or link names; None when it is neither."""
    found = _BEARER.fullmatch(value)
    return UUID(found[1]) if found else None


async def start_session(tx: Tx, person_id: UUID, hours: int) -> str:
    """The cookie of a new session of somebody who works here."""
    person = await store.person(tx.conn, tx.tenant, person_id)
    if person is None or not person.active:
        raise NotFound
    value = f"{tx.tenant.hex}.{new_secret()}"
    await sign_in_store.add_session(
        tx.conn, tx.tenant, hashed(value), person_id, now=tx.now, expires_at=tx.now + timedelta(hours=hours)
    )
    return value


async def end_session(tx: Tx, value: str) -> None:
    await sign_in_store.end_session(tx.conn, tx.tenant, hashed(value))


async def make_link(tx: Tx, person_id: UUID, hours: int) -> str:
    """A link's token: signs its person in, once."""
    value = f"{tx.tenant.hex}.{new_secret()}"
    await sign_in_store.add_link(
        tx.conn, tx.tenant, hashed(value), person_id, tx.now + timedelta(hours=hours)
    )
    return value


async def follow_link(tx: Tx, value: str, hours: int) -> str:
    person_id = await sign_in_store.use_link(tx.conn, tx.tenant, hashed(value), tx.now)
    if person_id is None:
        raise LinkUsed
    return await start_session(tx, person_id, hours)


async def create_client(tx: Tx, name: str, roles: Sequence[str]) -> tuple[str, str]:
    """A client's id and its secret, which is never shown again."""
    client_id, secret = f"lyc_{tx.tenant.hex}_{secrets.token_hex(8)}", f"lys_{new_secret()}"
    await sign_in_store.add_client(
        tx.conn,
        tx.tenant,
        client_id=client_id,
        name=name,
        roles=sorted(set(roles)),
        hash=hashed(secret),
        now=tx.now,
    )
    event = pb.ApiClientCreated(client_id=client_id, name=name, roles=sorted(set(roles)))
    tx.append(f"api-client/{client_id}", [event], expected=0)
    return client_id, secret


async def revoke_client(tx: Tx, client_id: str) -> None:
    if not await sign_in_store.revoke_client(tx.conn, tx.tenant, client_id, tx.now):
        raise NotFound


class Tokens:
    """Exchanges a session or a client's secret for a short token."""

    def __init__(
        self, ledger: Ledger, keys: SigningKeys, *, issuer: str, service_clients: Mapping[str, str]
    ) -> None:
        self._ledger = ledger
        self._keys = keys
        self._issuer = issuer
        self._services = service_clients

    async def of_session(self, value: str) -> Token:
        tenant = tenant_of(value)
        if tenant is None:
            raise NotSignedIn
        async with self._ledger.read(tenant) as conn:
            person_id = await sign_in_store.session_person(conn, tenant, hashed(value), self._ledger.clock())
            person = await store.person(conn, tenant, person_id) if person_id else None
        if person is None or not person.active:
            raise NotSignedIn
        who = Caller(tenant, str(person.person_id), frozenset(person.roles), "person")
        return await self._sign(who, PERSON_TOKEN)

    async def of_client(self, client_id: str, secret: str, tenant: str) -> Token:
        if found := _CLIENT_ID.fullmatch(client_id):
            own = UUID(found[1])
            async with self._ledger.read(own) as conn:
                client = await sign_in_store.client(conn, own, client_id)
            if client is None or not hmac.compare_digest(client.hash, hashed(secret)):
                raise BadCredentials(error="invalid_client")
            return await self._sign(Caller(own, client_id, frozenset(client.roles), "client"), CLIENT_TOKEN)
        expected = self._services.get(client_id, "")
        if not hmac.compare_digest(expected.lower(), hashed(secret).hex()):
            raise BadCredentials(error="invalid_client")
        where = _tenant(tenant)
        if client_id != OPERATOR:
            return await self._sign(
                Caller(where, client_id, frozenset({"service"}), "service"), SERVICE_TOKEN
            )
        # The operator acts for a tenant as its administrator would, and says so in the events' actor.
        roles = {OPERATOR} if where == EVERY_TENANT else {OPERATOR, "admin"}
        return await self._sign(Caller(where, OPERATOR, frozenset(roles), "service"), CLIENT_TOKEN)

    async def _sign(self, who: Caller, lifetime: timedelta) -> Token:
        now = self._ledger.clock().timestamp()
        token = sign_token(await self._keys.current(), who, issuer=self._issuer, lifetime=lifetime, now=now)
        return Token(token, int(lifetime.total_seconds()))


def _tenant(value: str) -> UUID:
    if value in ("", "*"):
        return EVERY_TENANT
    try:
        return UUID(value)
    except ValueError as e:
        raise Malformed("`tenant` is neither a tenant's id nor *", error="invalid_request") from e
