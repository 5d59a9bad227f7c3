"""Signing in and out, access tokens, and the public keys that verify them."""

import ipaddress
from typing import Annotated, Any
from urllib.parse import parse_qsl
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from identity import sign_in, store
from identity.errors import BadCredentials, ForeignOrigin, LinkUsed, NotLocal, NotSignedIn
from identity.keys import SigningKeys
from identity.settings import Settings
from identity.sign_in import Tokens
from identity.tenancy import Tenancy
from lyceum_kit.errors import Malformed, NotFound
from lyceum_kit.http import Model, public
from lyceum_kit.ledger import Ledger

LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")


class Persona(Model):
    person_id: UUID


def session_routes(ledger: Ledger, tenancy: Tenancy, settings: Settings) -> APIRouter:
    router = APIRouter()
    cookie, secure = _cookie(settings), _secure(settings)

    def _set_cookie(response: Response, value: str) -> None:
        response.set_cookie(
            cookie,
            value,
            max_age=settings.identity_session_hours * 3600,
            path="/",
            secure=secure,
            httponly=True,
            samesite="lax",
        )

    @router.get("/personas", dependencies=[public], responses={403: {}})
    async def personas(
        request: Request, search: str = "", limit: Annotated[int, Query(ge=1, le=200)] = 40
    ) -> dict[str, Any]:
        """People one may try the local edition as."""
        _only_local(request, settings)
        items: list[dict[str, Any]] = []
        for tenant in await tenancy.all():
            async with ledger.read(tenant.tenant_id) as conn:
                rows = await store.personas(conn, tenant.tenant_id, search=search, limit=limit)
            items += [
                {
                    "person_id": str(row.person_id),
                    "tenant_id": str(tenant.tenant_id),
                    "tenant_slug": tenant.slug,
                    "display_name": row.display_name,
                    "roles": list(row.roles),
                    "department": row.department,
                    "job_title": row.job_title,
                    "note": _note(row.roles),
                }
                for row in rows
            ]
        return {"items": items, "next": None}

    @router.post("/sessions", dependencies=[public], status_code=204, responses={403: {}})
    async def sign_in_as(persona: Persona, request: Request, response: Response) -> None:
        """Sign in as a persona: on this machine only."""
        _only_local(request, settings)
        _same_origin(request, settings, missing=True)
        for tenant in await tenancy.all():
            try:
                value = await ledger.run(
                    tenant.tenant_id,
                    sign_in.start_session,
                    persona.person_id,
                    settings.identity_session_hours,
                )
            except NotFound:
                continue
            _set_cookie(response, value)
            return
        raise NotFound

    @router.get(
        "/sessions/link",
        dependencies=[public],
        status_code=303,
        response_class=RedirectResponse,
        responses={409: {}},
    )
    async def follow_link(token: str) -> RedirectResponse:
        """Sign in by a one-time link."""
        tenant = sign_in.tenant_of(token)
        if tenant is None:
            raise LinkUsed
        value = await ledger.run(tenant, sign_in.follow_link, token, settings.identity_session_hours)
        response = RedirectResponse("/", 303)
        _set_cookie(response, value)
        return response

    @router.delete("/sessions", dependencies=[public], status_code=204, responses={403: {}})
    async def sign_out(request: Request, response: Response) -> None:
        """End the browser's session."""
        _same_origin(request, settings)
        value = request.cookies.get(cookie, "")
        if tenant := sign_in.tenant_of(value):
            await ledger.run(tenant, sign_in.end_session, value)
        response.delete_cookie(cookie, path="/", secure=secure, httponly=True, samesite="lax")

    _ = personas, sign_in_as, follow_link, sign_out
    return router


def token_routes(keys: SigningKeys, tokens: Tokens, settings: Settings) -> APIRouter:
    router = APIRouter()
    cookie = _cookie(settings)

    credentials = ("grant_type", "client_id", "client_secret", "tenant")
    form = {"type": "object", "properties": {name: {"type": "string"} for name in credentials}}

    @router.post(
        "/token",
        dependencies=[public],
        responses={401: {}, 403: {}},
        openapi_extra={"requestBody": {"content": {"application/x-www-form-urlencoded": {"schema": form}}}},
    )
    async def token(request: Request) -> JSONResponse:
        """A short access token for the session's cookie, or for an API client's secret (RFC 6749 §4.4)."""
        sent = _form(await request.body(), request.headers.get("content-type", ""))
        if sent:
            if sent.get("grant_type") != "client_credentials":
                raise Malformed("grant_type must be client_credentials", error="unsupported_grant_type")
            client_id, secret = sent.get("client_id", ""), sent.get("client_secret", "")
            if not (client_id and secret):
                raise BadCredentials(error="invalid_client")
            made = await tokens.of_client(client_id, secret, sent.get("tenant", ""))
        else:
            value = request.cookies.get(cookie, "")
            if not value:
                raise NotSignedIn
            _same_origin(request, settings)
            made = await tokens.of_session(value)
        return JSONResponse(
            {"access_token": made.access_token, "token_type": "Bearer", "expires_in": made.expires_in}
        )

    @router.get("/jwks", dependencies=[public])
    async def jwks() -> JSONResponse:
        """The public keys of access tokens."""
        return JSONResponse(await keys.public(), headers={"cache-control": "public, max-age=60"})

    _ = token, jwks
    return router


def _cookie(settings: Settings) -> str:
    # __Host- pins the cookie to this host and to https; browsers refuse it without.
    return "__Host-lyceum_session" if _secure(settings) else "lyceum_session"


def _secure(settings: Settings) -> bool:
    return settings.app_origin.startswith("https://")


def _note(roles: Any) -> str:
    if "admin" in roles:
        return "administers the platform"
    if "author" in roles:
        return "makes courses"
    return "leads a team" if "manager" in roles else "learns"


def _form(body: bytes, content_type: str) -> dict[str, str]:
    if not body or content_type.partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return {}
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True, max_num_fields=20)
    except ValueError as e:
        raise Malformed("The form cannot be read", error="invalid_request") from e
    form = dict(pairs)
    if len(form) != len(pairs):
        raise Malformed("A parameter stands twice", error="invalid_request")
    return form


def _only_local(request: Request, settings: Settings) -> None:
    """The local edition, from this machine, by a name of this machine: other names are DNS rebinding."""
    if settings.edition != "local":
        raise NotLocal
    peer = request.client.host if request.client else ""
    forwarded = ",".join(request.headers.getlist("x-forwarded-for"))
    host = request.headers.get("host", "")
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if not came_from_here(peer, forwarded, settings.identity_proxies) or name not in LOCAL_NAMES:
        raise NotLocal


def came_from_here(peer: str, forwarded: str, proxies: str) -> bool:
    """Whether each hop was on this machine. One of `proxies` counts for nothing itself: it says who came to it."""
    hops = [hop.strip() for hop in forwarded.split(",") if hop]
    if not (hops and _within(peer, proxies)):
        hops.append(peer)
    return all(_loopback(hop) for hop in hops)


def _within(address: str, networks: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(ip in ipaddress.ip_network(network) for network in networks.split(",") if network)


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _same_origin(request: Request, settings: Settings, *, missing: bool = False) -> None:
    """A page of another site may make the browser send the cookie; it cannot forge these headers.

    `missing`: also let through who sends neither, which no browser does; for routes that need no cookie.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is None and missing:
        return
    own = {settings.app_origin}
    if settings.edition == "local":
        own.add(f"{request.url.scheme}://{request.headers.get('host', '')}")
    if site is not None and site != "same-origin":
        raise ForeignOrigin
    if site is None and origin not in own:
        raise ForeignOrigin
