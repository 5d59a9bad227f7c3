"""Tokens: what verifies, and everything that must not."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry
from pydantic import SecretStr

from lyceum_kit.errors import Unauthenticated, Unavailable
from lyceum_kit.testing import TestKeys
from lyceum_kit.tokens import EVERY_TENANT, Caller, Jwks, Keys, ServiceCredential, Verifier, sign_token

TENANT = UUID("01990000-0000-7000-8000-000000000001")
ADA = Caller(TENANT, "ada", frozenset({"learner", "author"}), "person")
Claims = dict[str, Any]

KEYS = TestKeys()


def claims(**changes: object) -> Claims:
    now = int(time.time())
    made: Claims = {
        "iss": "lyceum",
        "aud": "lyceum",
        "sub": "ada",
        "kind": "person",
        "tenant": str(TENANT),
        "roles": ["learner"],
        "iat": now,
        "exp": now + 60,
        "jti": "1",
    }
    return {k: v for k, v in {**made, **changes}.items() if v is not None}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(payload: Claims, **header: object) -> str:
    full = {"alg": "ES256", "kid": KEYS.keys.kid, "typ": "at+jwt", **header}
    return ".".join(b64(json.dumps(part).encode()) for part in (full, payload))


def signed(payload: Claims, **header: object) -> str:
    """By the right key, so that nothing but the claim or the header under test is wrong."""
    text = unsigned(payload, **header)
    signature = JWSRegistry.algorithms["ES256"].sign(text.encode(), KEYS.keys.signing)
    return f"{text}.{b64(signature)}"


async def test_a_signed_token_names_its_caller() -> None:
    token = sign_token(KEYS.keys, ADA, issuer="lyceum", lifetime=timedelta(minutes=5))
    assert await KEYS.verifier.verify(token) == ADA


async def test_a_star_is_every_tenant() -> None:
    who = await KEYS.verifier.verify(KEYS.token(tenant="*", roles=["service"], kind="service"))
    assert who.every_tenant
    assert who.tenant == EVERY_TENANT


async def test_the_tests_own_signing_makes_valid_tokens() -> None:
    """The control for every refusal below."""
    assert (await KEYS.verifier.verify(signed(claims()))).subject == "ada"


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("exp", timedelta(minutes=-1)),
        ("exp", None),
        ("exp", "tomorrow"),
        ("iat", timedelta(hours=1)),
        ("iat", None),
        ("nbf", timedelta(hours=1)),
        ("aud", "somebody-else"),
        ("aud", None),
        ("iss", "https://evil.example"),
        ("iss", None),
        ("sub", None),
        ("sub", ""),
        ("tenant", None),
        ("tenant", "all"),
        ("tenant", 7),
        ("roles", "admin"),
        ("roles", [1]),
        ("roles", None),
        ("kind", "root"),
        ("kind", ["person"]),
    ],
)
async def test_a_wrong_or_missing_claim_is_refused(change: str, value: object) -> None:
    """A moment is given as its distance from now."""
    if isinstance(value, timedelta):
        value = int(time.time() + value.total_seconds())
    with pytest.raises(Unauthenticated):
        await KEYS.verifier.verify(signed(claims(**{change: value})))


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": Keys.generate().public()["keys"][0]},
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/cert"},
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": False},
        {"typ": "JWT"},  # an ID token
        {"alg": "ES384"},
        {"kid": "unknown"},
        {"kid": None},
        {"kid": ["a"]},
    ],
    ids=lambda header: next(iter(header)),
)
async def test_a_header_that_asks_for_more_is_refused(header: Claims) -> None:
    with pytest.raises(Unauthenticated):
        await KEYS.verifier.verify(signed(claims(), **header))


@pytest.mark.parametrize("alg", ["none", "None", ""])
async def test_an_unsigned_token_is_refused(alg: str) -> None:
    for signature in ("", "AA"):
        with pytest.raises(Unauthenticated):
            await KEYS.verifier.verify(f"{unsigned(claims(), alg=alg)}.{signature}")


async def test_hs256_keyed_with_the_public_key_is_refused() -> None:
    text = unsigned(claims(), alg="HS256")
    mac = hmac.new(KEYS.keys.signing.as_pem(private=False), text.encode(), hashlib.sha256).digest()
    with pytest.raises(Unauthenticated):
        await KEYS.verifier.verify(f"{text}.{b64(mac)}")


async def test_another_issuers_key_under_our_kid_is_refused() -> None:
    other = ECKey.generate_key("P-256")
    header = {"alg": "ES256", "kid": KEYS.keys.kid, "typ": "at+jwt"}
    with pytest.raises(Unauthenticated):
        await KEYS.verifier.verify(jwt.encode(header, claims(), other, algorithms=["ES256"]))


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "ü.ü.ü", "x" * 10_000, "e30.e30.e30", "W10.e30.AA"]
)
async def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(Unauthenticated):
        await KEYS.verifier.verify(token)


@settings(max_examples=200)
@given(data=st.data())
async def test_no_mutated_token_is_accepted(data: st.DataObject) -> None:
    token = KEYS.token(tenant=TENANT, roles=["learner"])
    place = data.draw(st.integers(0, len(token) - 1))
    what = data.draw(st.sampled_from("ABCxyz019-_.=+/ \n"))
    how = data.draw(st.sampled_from(["replace", "insert", "delete", "cut"]))
    mutated = {
        "replace": token[:place] + what + token[place + 1 :],
        "insert": token[:place] + what + token[place:],
        "delete": token[:place] + token[place + 1 :],
        "cut": token[:place],
    }[how]
    if mutated == token:
        return
    with pytest.raises(Unauthenticated):
        await KEYS.verifier.verify(mutated)


class Issuer:
    """A JWKS endpoint that can be down, and counts."""

    def __init__(self) -> None:
        self.keys = Keys.generate()
        self.up = True
        self.asked = 0
        self.time = 1000.0
        self.verifier = Verifier("", "lyceum", source=self.answer, ticks=lambda: self.time)

    async def answer(self) -> Jwks:
        self.asked += 1
        if not self.up:
            raise httpx.ConnectError("refused")
        return self.keys.public()

    def token(self) -> str:
        return sign_token(self.keys, ADA, issuer="lyceum", lifetime=timedelta(minutes=5))


async def test_keys_are_asked_for_once() -> None:
    issuer = Issuer()
    for _ in range(3):
        assert await issuer.verifier.verify(issuer.token()) == ADA
    assert issuer.asked == 1


async def test_unknown_kids_reach_the_issuer_once_a_minute_at_most() -> None:
    issuer = Issuer()
    await issuer.verifier.verify(issuer.token())
    issuer.keys = Keys.generate()
    for _ in range(50):
        with pytest.raises(Unauthenticated):
            await issuer.verifier.verify(issuer.token())
    assert issuer.asked == 1
    issuer.time += 61
    assert await issuer.verifier.verify(issuer.token()) == ADA
    assert issuer.asked == 2


async def test_an_issuer_that_starts_late_is_asked_again_soon() -> None:
    issuer = Issuer()
    issuer.up = False
    with pytest.raises(Unavailable):
        await issuer.verifier.verify(issuer.token())
    issuer.up = True
    issuer.time += 1
    assert await issuer.verifier.verify(issuer.token()) == ADA


async def test_known_keys_outlive_an_issuer_that_is_down() -> None:
    issuer = Issuer()
    token = issuer.token()
    await issuer.verifier.verify(token)
    issuer.up = False
    issuer.time += 3600
    assert await issuer.verifier.verify(token) == ADA


async def test_a_withdrawn_key_dies_within_ten_minutes() -> None:
    issuer = Issuer()
    token = issuer.token()
    await issuer.verifier.verify(token)
    issuer.keys = Keys.generate()
    issuer.time += 601
    with pytest.raises(Unauthenticated):
        await issuer.verifier.verify(token)


async def test_a_token_that_was_good_ends_with_its_time() -> None:
    keys, ahead = Keys.generate(), 0.0
    verifier = Verifier.from_keys(keys, "lyceum", clock=lambda: time.time() + ahead)
    token = sign_token(keys, ADA, issuer="lyceum", lifetime=timedelta(minutes=5))
    assert await verifier.verify(token) == ADA
    ahead = 320
    with pytest.raises(Unauthenticated):
        await verifier.verify(token)


async def test_a_retired_key_still_verifies_after_rotation() -> None:
    before = Keys.generate()
    token = sign_token(before, ADA, issuer="lyceum", lifetime=timedelta(minutes=5))
    rotated = Keys.load({"keys": Keys.generate().private()["keys"] + before.private()["keys"]})
    assert rotated.kid != before.kid
    assert await Verifier.from_keys(rotated, "lyceum").verify(token) == ADA


def test_the_published_keys_hold_no_private_part() -> None:
    keys = Keys.generate()
    assert "d" in keys.private()["keys"][0]
    assert "d" not in keys.public()["keys"][0]


def credential(
    answer: Callable[[httpx.Request], httpx.Response], clock: Callable[[], float]
) -> ServiceCredential:
    return ServiceCredential(
        "http://identity/token",
        "enrollment",
        SecretStr("s"),
        transport=httpx.MockTransport(answer),
        clock=clock,
    )


async def test_a_service_token_is_kept_per_tenant_until_shortly_before_it_expires() -> None:
    asked: list[str] = []
    now = 0.0

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.content.decode())
        return httpx.Response(200, json={"access_token": f"t{len(asked)}", "expires_in": 300})

    own = credential(answer, lambda: now)
    assert [await own.token(None), await own.token(TENANT), await own.token(None)] == ["t1", "t2", "t1"]
    assert "tenant" not in asked[0]
    assert f"tenant={TENANT}" in asked[1]
    now = 291.0
    assert await own.token(None) == "t3"
    await own.close()


@pytest.mark.parametrize(
    "answer", [httpx.Response(401), httpx.Response(500), httpx.Response(200, text="<html>")]
)
async def test_no_service_token_is_unavailable(answer: httpx.Response) -> None:
    own = credential(lambda _: answer, lambda: 0.0)
    with pytest.raises(Unavailable):
        await own.token(None)
    await own.close()
