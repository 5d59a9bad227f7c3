"""Texts of a transparency log that outsiders read: signed checkpoints, keys and proofs. PURE.

Sources: c2sp.org/signed-note, c2sp.org/tlog-checkpoint, c2sp.org/tlog-proof. An entry is a commitment to one stored
event, salted so that nobody can guess what was erased: leaf data = SHA-256(salt ‖ canonical JSON of the record).
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from assessment.merkle import Unproven

_ED25519 = b"\x01"
_PROOF = "c2sp.org/tlog-proof@v1"
MAX_TEXT = 64 * 1024


@dataclass(frozen=True)
class Checkpoint:
    """What a log was: its name, its number of entries, its root hash."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True)
class Proof:
    """That an entry is in the log. `extra` opens the entry; it counts only once its hash has been compared."""

    index: int
    path: tuple[bytes, ...]
    note: str
    extra: bytes = b""


def record(
    *, tenant: UUID, id: UUID, type: str, stream: str, version: int, at: datetime, data: bytes
) -> Mapping[str, Any]:
    """What an entry commits to: the stored event, byte for byte."""
    return {
        "at": at.astimezone(UTC).isoformat(timespec="microseconds"),
        "data": base64.b64encode(data).decode(),
        "id": str(id),
        "stream": stream,
        "tenant": str(tenant),
        "type": type,
        "version": version,
    }


def commitment(salt: bytes, content: Mapping[str, Any]) -> bytes:
    """The leaf's data: RFC 8785 JSON, which for our ASCII strings and small integers is this."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(salt + canonical).digest()


def opening(salt: bytes, content: Mapping[str, Any]) -> bytes:
    """What turns an entry's commitment back into the record; erasing the salt takes that away."""
    return json.dumps({"record": content, "salt": base64.b64encode(salt).decode()}, sort_keys=True).encode()


def opened(extra: bytes) -> tuple[bytes, Mapping[str, Any]]:
    """(leaf data, record) of an opening. Raises Unproven."""
    try:
        content = json.loads(extra)
        salt = base64.b64decode(content["salt"], validate=True)
        return commitment(salt, content["record"]), content["record"]
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise Unproven("the proof does not say what its entry holds") from e


def verifier_key(name: str, public: Ed25519PublicKey) -> str:
    """A key as one line, `name+id+base64`, for whoever verifies notes."""
    raw = _ED25519 + public.public_bytes_raw()
    return f"{name}+{_key_id(name, public).hex()}+{base64.b64encode(raw).decode()}"


def parse_verifier_key(line: str) -> tuple[str, Ed25519PublicKey]:
    """Raises Unproven."""
    try:
        name, key_id, encoded = line.strip().split("+", 2)
        raw = base64.b64decode(encoded, validate=True)
        public = Ed25519PublicKey.from_public_bytes(raw[1:])
    except ValueError as e:
        raise Unproven("this is no verifier key") from e
    if raw[:1] != _ED25519 or key_id != _key_id(name, public).hex():
        raise Unproven("this is no verifier key")
    return name, public


def sign(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """The checkpoint as a signed note. The key's name is the log's origin."""
    text = f"{checkpoint.origin}\n{checkpoint.size}\n{base64.b64encode(checkpoint.root).decode()}\n"
    signature = _key_id(checkpoint.origin, key.public_key()) + key.sign(text.encode())
    return f"{text}\n— {checkpoint.origin} {base64.b64encode(signature).decode()}\n"


def open_note(note: str, name: str, public: Ed25519PublicKey) -> Checkpoint:
    """The checkpoint that this key signed. Raises Unproven."""
    text, separator, signatures = note.rpartition("\n\n")
    if not separator or len(note) > MAX_TEXT:
        raise Unproven("this is no signed checkpoint")
    text += "\n"
    wanted = f"— {name} "
    for line in signatures.splitlines():
        if not line.startswith(wanted):
            continue  # a witness's or a later key's, which this key says nothing about
        try:
            raw = base64.b64decode(line.removeprefix(wanted), validate=True)
        except binascii.Error as e:
            raise Unproven("the checkpoint's signature cannot be read") from e
        if raw[:4] != _key_id(name, public):
            continue
        try:
            public.verify(raw[4:], text.encode())
        except InvalidSignature as e:
            raise Unproven("the checkpoint's signature is not the log's") from e
        return _checkpoint(text, name)
    raise Unproven("the checkpoint is not signed by the log's key")


def proof_text(proof: Proof) -> str:
    extra = f"extra {base64.b64encode(proof.extra).decode()}\n" if proof.extra else ""
    path = "".join(f"{base64.b64encode(h).decode()}\n" for h in proof.path)
    return f"{_PROOF}\n{extra}index {proof.index}\n{path}\n{proof.note}"


def parse_proof(text: str) -> Proof:
    """Raises Unproven."""
    try:
        if len(text) > MAX_TEXT:
            raise ValueError("too long")
        head, note = text.split("\n\n", 1)
        kind, *lines = head.split("\n")
        if kind != _PROOF:
            raise ValueError("another format")
        extra = b""
        if lines[0].startswith("extra "):
            extra = base64.b64decode(lines.pop(0).removeprefix("extra "), validate=True)
        number = lines.pop(0)
        if not number.startswith("index "):
            raise ValueError("no index")
        path = tuple(base64.b64decode(line, validate=True) for line in lines)
        return Proof(_decimal(number.removeprefix("index ")), path, note, extra)
    except (ValueError, IndexError) as e:
        raise Unproven("this is no proof of a transparency log") from e


def _checkpoint(text: str, name: str) -> Checkpoint:
    lines: Sequence[str] = text.split("\n")
    try:
        origin, size, root = lines[0], _decimal(lines[1]), base64.b64decode(lines[2], validate=True)
    except (ValueError, IndexError) as e:
        raise Unproven("the checkpoint cannot be read") from e
    if origin != name or len(root) != hashlib.sha256().digest_size:
        raise Unproven("the checkpoint is another log's")
    return Checkpoint(origin, size, root)


def _decimal(text: str) -> int:
    if not text.isascii() or not text.isdigit() or (text.startswith("0") and text != "0") or len(text) > 18:
        raise ValueError(f"{text!r} is no number")
    return int(text)


def _key_id(name: str, public: Ed25519PublicKey) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public.public_bytes_raw()).digest()[:4]
