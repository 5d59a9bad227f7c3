"""PURE: who signed a webhook. Standard Webhooks signs id.timestamp.body, BambooHR body + timestamp.

Works on the raw bytes as received; a body is parsed only after this. Comparisons take constant time.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from identity.errors import BadSignature, BadWebhookId, StaleWebhook
from lyceum_kit.errors import Malformed

TOLERANCE = timedelta(minutes=5)
PREFIX = "whsec_"
MAX_ID = 256
MAX_SIGNATURES = 10


def new_secret(form: str) -> str:
    if form == "standard":
        return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_hex(32)


def verify_standard(headers: Mapping[str, str], body: bytes, keys: Sequence[str], now: datetime) -> str:
    """The webhook's id. `keys` are all secrets valid now: two while they rotate."""
    webhook_id, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    offered = [
        part.removeprefix("v1,")
        for part in headers.get("webhook-signature", "").split(" ")[:MAX_SIGNATURES]
        if part.startswith("v1,")
    ]
    if not (webhook_id and sent and offered):
        raise BadSignature
    signed = f"{webhook_id}.{sent}.".encode() + body
    expected = [base64.b64encode(hmac.digest(_key(key), signed, "sha256")) for key in keys]
    if not _any_equal(offered, expected):
        raise BadSignature
    if "." in webhook_id or len(webhook_id) > MAX_ID or not webhook_id.isascii():
        # A dot would let two different messages have the same signed text.
        raise BadWebhookId
    _check_age(sent, now)
    return webhook_id


def verify_bamboohr(headers: Mapping[str, str], body: bytes, keys: Sequence[str], now: datetime) -> str:
    """An id for this delivery: BambooHR sends none, so the signed text is its own."""
    offered, sent = headers.get("x-bamboohr-signature", ""), headers.get("x-bamboohr-timestamp", "")
    if not (offered and sent):
        raise BadSignature
    signed = body + sent.encode()
    expected = [hmac.digest(key.encode(), signed, "sha256").hex().encode() for key in keys]
    if not _any_equal([offered.lower()], expected):
        raise BadSignature
    _check_age(sent, now)
    return hashlib.sha256(signed).hexdigest()


def sign_standard(secret: str, webhook_id: str, sent_at: datetime, body: bytes) -> dict[str, str]:
    """The headers of a signed message, as an HR system would make them."""
    sent = str(int(sent_at.timestamp()))
    mac = hmac.digest(_key(secret), f"{webhook_id}.{sent}.".encode() + body, "sha256")
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": sent,
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def sign_bamboohr(secret: str, sent_at: datetime, body: bytes) -> dict[str, str]:
    sent = str(int(sent_at.timestamp()))
    mac = hmac.digest(secret.encode(), body + sent.encode(), "sha256")
    return {"X-BambooHR-Timestamp": sent, "X-BambooHR-Signature": mac.hex()}


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as e:
        raise RuntimeError("a stored webhook secret is not base64") from e


def _any_equal(offered: Sequence[str], expected: Sequence[bytes]) -> bool:
    # No early exit: how long this takes says nothing of which one was nearly right.
    return any([hmac.compare_digest(o.encode(), e) for o in offered for e in expected])  # noqa: C419


def _check_age(sent: str, now: datetime) -> None:
    if not (sent.isascii() and sent.isdigit() and len(sent) <= 11):
        raise Malformed("The timestamp is not a number of seconds")
    if abs(datetime.fromtimestamp(int(sent), UTC) - now) > TOLERANCE:
        raise StaleWebhook
