"""Encryption at rest: what people write is sealed with a key of their own, and their keys with the master
key.

Erasing a person destroys their key; what is sealed with it, in events and in backups, can never be read
again. AES-256-GCM; the tenant, the stream and the field are authenticated, so a sealed value cannot be moved
elsewhere.
"""

import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12


class Broken(ValueError):
    """A sealed value that was altered, moved, or sealed with another key."""


def new_key() -> bytes:
    return AESGCM.generate_key(256)


def place(tenant: UUID, stream: str, field: str) -> str:
    """Where a value belongs; sealing and opening must name the same."""
    return f"{tenant}|{stream}|{field}"


def seal(key: bytes, plain: bytes, where: str) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plain, where.encode())


def unseal(key: bytes, sealed: bytes, where: str) -> bytes:
    """Raises Broken."""
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], where.encode())
    except (InvalidTag, ValueError) as e:
        raise Broken(f"The sealed value does not belong at {where!r}, or was altered") from e
