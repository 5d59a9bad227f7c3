"""Deny by default: no route and no RPC answers a stranger, a forger, or somebody who has no right to it."""

import base64
import hashlib
import hmac
import importlib
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import grpc
import grpc.aio
import httpx
import pytest
from fastapi.routing import iter_route_contexts
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from pydantic import SecretStr

from identity.vault import Vault
from lyceum_kit.http import public
from lyceum_kit.tokens import AUDIENCE, TYPE
from lyceum_local import postgres
from lyceum_local.config import Config
from lyceum_local.paths import SERVICES
from lyceum_local.surface import PLACEHOLDER, Rpc, operations, rpcs
from lyceum_local.testing import Platform

NOBODY = "01990000-0000-7000-8000-00000000dead"

# What answers without a token. Adding to this list is a decision: say in review what the answer gives away.
PUBLIC = {
    "POST /api/identity/token",  # gives tokens, for a secret or a session
    "GET /api/identity/jwks",  # public keys
    "POST /api/identity/webhooks/{}/{}",  # the signature is the credential
    "GET /api/identity/sessions/link",  # the link is
    "DELETE /api/identity/sessions",  # ends the caller's own
    "GET /api/identity/personas",  # of the local edition, on this machine only
    "POST /api/identity/sessions",
    # Whoever has a certificate's number may check it, and anybody what its issuer published.
    "GET /verify",
    "GET /verify/style.css",
    "GET /verify/cjk.otf",
    "GET /verify/{}",
    "GET /verify/{}/certificate.pdf",
    "GET /verify/{}/credential.jwt",
    "GET /verify/{}/certificate.tlog-proof",
    "GET /badges/issuers/{}",
    "GET /badges/issuers/{}/jwks",
    "GET /badges/issuers/{}/keys/{}",
    "GET /badges/status/{}/{}",
    "GET /badges/issuers/{}/log/key",
    "GET /badges/issuers/{}/log/checkpoint",
    "GET /badges/issuers/{}/log/consistency",
    # The player's page; its data need the token of one attempt.
    "GET /__lms/run",
    "GET /__lms/run.js",
    "GET /__lms/run.css",
    "GET /__lms/scorm12.js",
    "GET /__lms/state",
    "POST /__lms/commit",
    # Probes, and the documents themselves.
    *(f"GET /api/{s}/{p}" for s in SERVICES for p in ("livez", "readyz", "metrics", "openapi.json")),
}
# What every caller may ask, since each gets an own view: themselves, their reports, what is published.
EVERYBODY = {
    "GET /api/identity/me",
    "GET /api/identity/me/team",
    "GET /api/identity/people",
    "GET /api/identity/people/{}",
    "GET /api/identity/org-units",
    "GET /api/catalog/courses",
    "GET /api/catalog/courses/{}",
    "GET /api/catalog/paths",
    "GET /api/catalog/paths/{}",
    "GET /api/enrollment/enrollments",
    "GET /api/enrollment/enrollments/{}",
    "POST /api/enrollment/enrollments",
    "GET /api/enrollment/today",
    "GET /api/enrollment/paths/mine",
    "POST /api/assessment/launches",
    "POST /api/assessment/readings",
    "GET /api/assessment/quizzes/{}/rules",
    "POST /api/assessment/attempts",
    "GET /api/assessment/attempts/{}",
    "PUT /api/assessment/attempts/{}/answers/{}",
    "POST /api/assessment/attempts/{}/submit",
    "GET /api/assessment/attempts/{}/result",
    "GET /api/assessment/records",
    "GET /api/assessment/certificates",
    "GET /api/assessment/certificates/{}.pdf",
    "GET /api/assessment/certificates/{}.jwt",
}
PUBLIC_RPCS = {"/lyceum.assessment.v1.AssessmentService/VerifyCertificate"}
EVERYBODYS_RPCS = {
    "/lyceum.catalog.v1.CatalogService/GetCourse",
    "/lyceum.catalog.v1.CatalogService/ListCourses",
    "/lyceum.catalog.v1.CatalogService/GetPath",
    "/lyceum.enrollment.v1.EnrollmentService/GetEnrollment",
    "/lyceum.enrollment.v1.EnrollmentService/ListEnrollments",
    "/lyceum.enrollment.v1.EnrollmentService/GetCourseProgress",
    "/lyceum.enrollment.v1.EnrollmentService/ExplainEnrollment",
    "/lyceum.assessment.v1.AssessmentService/ListCertificates",
    "/lyceum.assessment.v1.AssessmentService/ListAttempts",
}


def unnamed(operation: str) -> str:
    """Without the names of its placeholders."""
    return PLACEHOLDER.sub("{}", operation)


@asynccontextmanager
async def channels(config: Config) -> AsyncGenerator[Any]:
    """The channel to an RPC's address, by RPC."""
    opened: dict[str, grpc.aio.Channel] = {}

    def channel(rpc: Rpc) -> grpc.aio.Channel:
        return opened.setdefault(rpc.address, grpc.aio.insecure_channel(rpc.address))

    yield channel
    for one in opened.values():
        await one.close(None)


def test_what_is_public_is_on_the_list_and_nothing_else(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also of the routes that no document tells of."""
    found: set[str] = set()
    for name in SERVICES:
        for variable, value in platform.config.service_env(name).items():
            monkeypatch.setenv(variable, value)
        settings = importlib.import_module(f"{name}.settings").Settings()
        app = importlib.import_module(f"{name}.app").build(settings).http
        for route in iter_route_contexts(app.routes):
            dependant: Any = route.dependant
            if public.dependency in _calls(dependant):
                found |= {unnamed(f"{method} {route.path}") for method in route.methods or ()}
    assert found == PUBLIC


def _calls(dependant: Any) -> list[Any]:
    return [call for inner in dependant.dependencies for call in (inner.call, *_calls(inner))]


async def test_every_route_wants_a_token(platform: Platform) -> None:
    asked = 0
    async with platform.http() as http:
        for operation in await operations(platform):
            if unnamed(operation.name) in PUBLIC:
                continue
            answer = await http.request(
                operation.method, operation.url(NOBODY), json=operation.example(NOBODY)
            )
            assert (answer.status_code, answer.json()["type"]) == (
                401, "urn:lyceum:problem:unauthenticated",
            ), operation.name  # fmt: skip
            assert answer.headers["www-authenticate"] == "Bearer"
            asked += 1
    assert asked > 60


@pytest.fixture
async def learner(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who has nothing but an account."""
    tenant = platform.tenant()
    async with platform.api(tenant) as api:
        eve = {"external_id": "1", "display_name": "Eve Only-Learns"}
        taken = await api.put("/api/identity/hris/snapshot", json={"complete": False, "people": [eve]})
        taken.raise_for_status()
        found = (await api.get("/api/identity/people", params={"search": "Eve"})).json()["items"]
    async with platform.as_person(found[0]["person_id"]) as client:
        assert (await client.get("/api/identity/me")).json()["roles"] == ["learner"]
        yield client


async def test_every_route_wants_the_right_to_it(platform: Platform, learner: httpx.AsyncClient) -> None:
    everything = await operations(platform)
    guarded = [o for o in everything if unnamed(o.name) not in PUBLIC | EVERYBODY]
    assert len(guarded) == len(everything) - len(EVERYBODY) - len(
        PUBLIC & {unnamed(o.name) for o in everything}
    )
    for operation in guarded:
        answer = await learner.request(
            operation.method, operation.url(NOBODY), json=operation.example(NOBODY)
        )
        assert (answer.status_code, answer.json()["type"]) == (
            403, "urn:lyceum:problem:forbidden",
        ), operation.name  # fmt: skip


async def test_every_rpc_wants_a_token_and_the_right_to_it(
    platform: Platform, learner: httpx.AsyncClient
) -> None:
    found = await rpcs(platform.config)
    assert {r.name.split("/")[1] for r in found} == {
        *(f"lyceum.{s}.v1.{s.title()}Service" for s in SERVICES),
        "lyceum.feed.v1.EventFeed",
    }
    weak = learner.headers["authorization"].removeprefix("Bearer ")
    async with channels(platform.config) as channel:
        for rpc in found:
            expected: dict[str, grpc.StatusCode] = dict.fromkeys(
                ("", "a.b.c"), grpc.StatusCode.UNAUTHENTICATED
            )
            if rpc.name in PUBLIC_RPCS:
                del expected[""]
            if rpc.name not in EVERYBODYS_RPCS | PUBLIC_RPCS:
                expected[weak] = grpc.StatusCode.PERMISSION_DENIED
            for token, code in expected.items():
                answered = await rpc.call(channel(rpc), rpc.request(NOBODY), token)
                assert (answered[0], answered[2]) == (code, []), rpc.name


async def signing_key(config: Config) -> ECKey:
    """The platform's own, as nobody but identity should ever have it."""
    connection = await asyncpg.connect(postgres.with_database(config.postgres_url, "identity"))
    row = await connection.fetchrow("SELECT kid, private FROM signing_keys ORDER BY created_at LIMIT 1")
    await connection.close()
    assert row
    sealed = Vault(SecretStr(config.secrets.identity_key))
    return ECKey.import_key(json.loads(sealed.open(row["private"], f"signing-key/{row['kid']}")))


def forgeries(key: ECKey, tenant: str) -> dict[str, str]:
    """Each wrong in one thing; `right` in none."""
    now = int(time.time())
    good: dict[str, Any] = {
        "iss": "lyceum", "aud": AUDIENCE, "sub": "eve", "kind": "client", "tenant": tenant, "roles": ["admin"],
        "iat": now, "exp": now + 60, "jti": "1",
    }  # fmt: skip
    head: dict[str, Any] = {"alg": "ES256", "kid": key.kid, "typ": TYPE}
    own = ECKey.generate_key("P-256")
    rsa = RSAKey.generate_key(2048)
    public_pem = key.as_pem(private=False)

    def made(claims: dict[str, Any], signer: Any = key, **header: Any) -> str:
        kept = {k: v for k, v in ({**good, **claims}).items() if v is not None}
        return jwt.encode({**head, **header}, kept, signer, algorithms=["ES256", "RS256"])

    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    def hs256(secret: bytes) -> str:
        signed = f"{part({**head, 'alg': 'HS256'})}.{part(good)}"
        mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"

    right = made({})
    return {
        "right": right,
        "expired": made({"iat": now - 120, "exp": now - 60}),
        "never expires": made({"exp": None}),
        "not yet valid": made({"nbf": now + 60}),
        "issued tomorrow": made({"iat": now + 86_400, "exp": now + 86_460}),
        "another issuer": made({"iss": "https://evil.example"}),
        "another audience": made({"aud": "elsewhere"}),
        "nobody": made({"sub": None}),
        "an unknown kind": made({"kind": "root"}),
        "no tenant": made({"tenant": None}),
        "a tenant that is none": made({"tenant": "acme"}),
        "roles as a text": made({"roles": "admin"}),
        "an ID token": made({}, typ="JWT"),
        "alg none": f"{part({**head, 'alg': 'none'})}.{part(good)}.",
        "no signature": right.rpartition(".")[0] + ".",
        "the signature of another": right.rpartition(".")[0] + "." + made({"sub": "bob"}).rpartition(".")[2],
        "other claims under the signature": ".".join(
            [right.split(".")[0], part({**good, "tenant": "*", "roles": ["operator"]}), right.split(".")[2]]
        ),
        "HS256 by the public key": hs256(public_pem),
        "HS256 by the public key, trimmed": hs256(public_pem.strip()),
        "another key under our kid": made({}, own),
        "an unknown kid": made({}, own, kid="mine"),
        "a key that it brings": made({}, own, jwk=own.as_dict(private=False)),
        "a key at an address": made({}, own, jku="http://127.0.0.1:1/jwks"),
        "RS256": made({}, rsa, alg="RS256"),
        "a critical extension": made({}, crit=["b64"], b64=True),
        "too long": right + "A" * 8192,
        "not ASCII": "é.é.é",
        "empty": "..",
    }


async def test_a_forged_token_opens_nothing(platform: Platform) -> None:
    tokens = forgeries(await signing_key(platform.config), platform.tenant().tenant_id)
    routes = (
        "identity/people", "catalog/packages", "enrollment/rules", "assessment/quizzes", "analytics/definitions",
    )  # fmt: skip
    one_of_each = {r.name.split("/")[1]: r for r in await rpcs(platform.config) if r.name not in PUBLIC_RPCS}
    async with platform.http() as http, channels(platform.config) as channel:
        for name, token in tokens.items():
            headers = {b"authorization": f"Bearer {token}".encode()}
            for route in routes:
                answer = await http.get(f"/api/{route}", headers=headers)
                assert answer.status_code == (200 if name == "right" else 401), (name, route)
            for rpc in one_of_each.values():
                if not token.isascii() or len(token) > 8192:
                    continue  # gRPC's metadata cannot even carry it
                code, _, _ = await rpc.call(channel(rpc), rpc.request(NOBODY), token)
                assert (code == grpc.StatusCode.UNAUTHENTICATED) is (name != "right"), (name, rpc.name)
