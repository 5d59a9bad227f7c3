"""Secrets at rest: AES-256-GCM under one key from the settings, bound to a place: rows cannot be swapped."""

import base64
import binascii
import hashlib
import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

NONCE = 12


class Vault:
    def __init__(self, key: SecretStr) -> None:
        self._key = key

    def seal(self, plain: bytes, place: str) -> bytes:
        nonce = secrets.token_bytes(NONCE)
        return nonce + self._cipher().encrypt(nonce, plain, place.encode())

    def open(self, sealed: bytes, place: str) -> bytes:
        try:
            return self._cipher().decrypt(sealed[:NONCE], sealed[NONCE:], place.encode())
        except InvalidTag as e:
            raise RuntimeError(
                f"{place!r} cannot be decrypted: LYCEUM_IDENTITY_SECRET_KEY is not what it was"
            ) from e

    def pseudonym(self, text: str) -> str:
        """Always the same for a text, and without the key nobody can tell, or try out, whose it is."""
        return hmac.digest(self._secret(), b"pseudonym|" + text.encode(), hashlib.sha256).hex()

    def _cipher(self) -> AESGCM:
        return AESGCM(self._secret())

    def _secret(self) -> bytes:
        try:
            key = base64.b64decode(self._key.get_secret_value(), validate=True)
        except binascii.Error:
            key = b""
        if len(key) != 32:
            raise RuntimeError("LYCEUM_IDENTITY_SECRET_KEY must be 32 random bytes in base64")
        return key


def hashed(secret: str) -> bytes:
    """For secrets of 256 random bits, which need no slow hash: nobody guesses them."""
    return hashlib.sha256(secret.encode()).digest()
