"""Open Badges 3.0: the signed credential of a certificate, its issuer and its status list. PURE but for
randomness in signatures.

A credential is an OpenBadgeCredential (VC 2.0 data model) secured as a compact ES256 JWT, the "JSON Web
Token Proof Format" of Open Badges 3.0: the claims are the credential's own properties plus iss, jti, nbf and
sub.
"""

import base64
import gzip
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from lyceum_kit.tokens import jwt_header

Json = dict[str, Any]

CONTEXT = [
    "https://www.w3.org/ns/credentials/v2",
    "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.3.json",
]
STATUS_LIST_BITS = 131_072  # the least the specification allows, so that one bit hides in a crowd
STATUS_LIST_VALID = timedelta(hours=24)
MAX_JWT = 32_768


class Forged(ValueError):
    """A credential that its issuer did not sign."""


@dataclass(frozen=True)
class Award:
    """What a certificate says."""

    certificate_id: str
    person_id: str
    recipient_name: str
    course_id: str
    course_title: str
    course_summary: str
    score: float | None
    assurance: str
    issued_at: datetime
    status_index: int


def issuer_url(origin: str, tenant: UUID) -> str:
    return f"{origin}/badges/issuers/{tenant}"


def key_url(origin: str, tenant: UUID, key_id: str) -> str:
    return f"{issuer_url(origin, tenant)}/keys/{key_id}"


def status_url(origin: str, tenant: UUID, number: int) -> str:
    return f"{origin}/badges/status/{tenant}/{number}"


def profile(origin: str, tenant: UUID, name: str) -> Json:
    """The issuer as Open Badges 3.0 describes one."""
    return {
        "@context": CONTEXT,
        "id": issuer_url(origin, tenant),
        "type": ["Profile"],
        "name": name,
        "url": origin,
        "jwks": f"{issuer_url(origin, tenant)}/jwks",
    }


def credential(award: Award, *, origin: str, tenant: UUID, issuer_name: str) -> Json:
    list_number, index = divmod(award.status_index, STATUS_LIST_BITS)
    status_list = status_url(origin, tenant, list_number + 1)
    course = f"{origin}/courses/{award.course_id}"
    how = (
        "graded by the server"
        if award.assurance == "server-graded"
        else "reported by the content in the learner's browser"
    )
    achievement: Json = {
        "id": course,
        "type": ["Achievement"],
        "name": award.course_title,
        "description": award.course_summary or award.course_title,
        "criteria": {"narrative": f"Every module of the course was completed; results were {how}."},
    }
    subject: Json = {
        "id": f"urn:uuid:{award.person_id}",
        "type": ["AchievementSubject"],
        "achievement": achievement,
        "identifier": [
            {
                "type": "IdentityObject",
                "hashed": False,
                "identityHash": award.recipient_name,
                "identityType": "name",
            }
        ],
    }
    if award.score is not None:
        achievement["resultDescription"] = [
            {
                "id": f"{course}#score",
                "type": ["ResultDescription"],
                "name": "Score",
                "resultType": "Percent",
                "valueMin": "0",
                "valueMax": "100",
            }
        ]
        subject["result"] = [
            {
                "type": ["Result"],
                "resultDescription": f"{course}#score",
                "value": f"{round(award.score, 2):g}",
            }
        ]
    return {
        "@context": CONTEXT,
        "id": f"urn:uuid:{award.certificate_id}",
        "type": ["VerifiableCredential", "OpenBadgeCredential"],
        "name": award.course_title,
        "issuer": {"id": issuer_url(origin, tenant), "type": ["Profile"], "name": issuer_name, "url": origin},
        "validFrom": _iso(award.issued_at),
        "credentialSubject": subject,
        "credentialStatus": {
            "id": f"{status_list}#{index}",
            "type": "BitstringStatusListEntry",
            "statusPurpose": "revocation",
            "statusListIndex": str(index),
            "statusListCredential": status_list,
        },
    }


def sign(
    content: Json,
    key: ECKey,
    *,
    kid: str,
    issuer: str,
    issued_at: datetime,
    expires_at: datetime | None = None,
) -> str:
    claims: Json = {
        **content,
        "iss": issuer,
        "jti": content["id"],
        "nbf": int(issued_at.timestamp()),
        "sub": content["credentialSubject"]["id"],
    }
    if expires_at:
        claims["exp"] = int(expires_at.timestamp())
    header = {"alg": "ES256", "typ": "vc+jwt", "kid": kid}
    return jwt.encode(header, claims, key, algorithms=["ES256"])


def open_signed(token: str, public_jwk: Mapping[str, Any]) -> Json:
    """The claims of a JWT that this very key signed. Raises Forged."""
    try:
        return dict(jwt.decode(token, ECKey.import_key(dict(public_jwk)), algorithms=["ES256"]).claims)
    except (JoseError, ValueError, TypeError) as e:
        raise Forged("The signature is not the issuer's") from e


def claimed_id(token: str) -> str:
    """The certificate a JWT says it is, nothing checked yet. Raises Forged."""
    import json

    from joserfc.util import urlsafe_b64decode

    try:
        if len(token) > MAX_JWT or token.count(".") != 2:
            raise ValueError("not a compact JWT")
        jwt_header(token)
        claims: Any = json.loads(urlsafe_b64decode(token.split(".")[1].encode()))
        return str(UUID(str(claims["jti"]).removeprefix("urn:uuid:")))
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise Forged("This is not a credential of ours") from e


def sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def new_issuer_key(key_id: str) -> ECKey:
    return ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256", "kid": key_id})


def status_list(revoked: Iterable[int], *, origin: str, tenant: UUID, number: int, now: datetime) -> Json:
    """One list of STATUS_LIST_BITS bits; `revoked` counts from the list's first."""
    bits = bytearray(STATUS_LIST_BITS // 8)
    for index in revoked:
        bits[index // 8] |= 0x80 >> (index % 8)  # index 0 is the left-most bit
    encoded = base64.urlsafe_b64encode(gzip.compress(bytes(bits), mtime=0)).rstrip(b"=").decode()
    url = status_url(origin, tenant, number)
    return {
        "@context": CONTEXT[:1],
        "id": url,
        "type": ["VerifiableCredential", "BitstringStatusListCredential"],
        "issuer": issuer_url(origin, tenant),
        "validFrom": _iso(now),
        "validUntil": _iso(now + STATUS_LIST_VALID),
        "credentialSubject": {
            "id": f"{url}#list",
            "type": "BitstringStatusList",
            "statusPurpose": "revocation",
            "encodedList": f"u{encoded}",
        },
    }


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
