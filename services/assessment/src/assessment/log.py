"""The tamper-evident log: every record of a tenant, in one Merkle tree that outsiders can hold it to (RFC 6962).

An entry commits to the stored event byte for byte. It is made after the event was committed and numbered, by the
service's own consumer of its own feed, so that writers stay parallel and each event is entered once. Every so often
the tree's root is signed and published; whoever keeps one such checkpoint notices any later change of what it covers.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from assessment import log_store, merkle, tlog
from assessment.errors import UnknownLog
from assessment.keys import Vault
from assessment.merkle import Node, Range, Unproven
from assessment.tlog import Checkpoint, Proof
from lyceum.assessment.v1.events_pb2 import (
    AssessmentFailed,
    AssessmentPassed,
    CertificateIssued,
    CertificateRevoked,
    ModuleCompleted,
)
from lyceum_kit.ledger import Tx
from lyceum_kit.timers import Timer

# What somebody may have to prove one day. Progress and answers are the way there.
RECORDS: tuple[type[Message], ...] = (
    ModuleCompleted,
    AssessmentPassed,
    AssessmentFailed,
    CertificateIssued,
    CertificateRevoked,
)
CHECKPOINT = "log-checkpoint"
CHECKPOINT_AFTER = timedelta(seconds=10)
_SALT = 16


class Tampered(Exception):
    """The log or the ledger was changed behind the service's back: nothing more is signed until a person looked."""


@dataclass(frozen=True)
class Audited:
    """What an audit found. `problems` in words; empty when every entry, record and checkpoint agree."""

    size: int
    records: int
    erased: int
    checkpoints: int
    problems: tuple[str, ...]


async def enter(tx: Tx, event_id: UUID) -> None:
    """Make the stored event the log's next entry, unless it is one already."""
    # From the ledger, not from the wire: what the log proves is what is stored.
    stored = await log_store.event(tx.conn, tx.tenant, event_id)
    if stored is None:
        raise Tampered(f"event {event_id} is on the feed but not in the ledger")
    index = await log_store.lock_size(tx.conn, tx.tenant)
    if await log_store.entry_of(tx.conn, tx.tenant, event_id):
        return
    salt = os.urandom(_SALT)
    nodes = {(0, index): merkle.leaf_hash(tlog.commitment(salt, _content(tx.tenant, stored)))}
    joined = merkle.completed_by(index)
    lefts = await log_store.nodes(tx.conn, tx.tenant, [(level - 1, 2 * i) for level, i in joined])
    for level, i in joined:
        nodes[level, i] = merkle.node_hash(lefts[level - 1, 2 * i], nodes[level - 1, 2 * i + 1])
    await log_store.add_entry(tx.conn, tx.tenant, index, event_id=event_id, salt=salt, nodes=nodes)
    newest = await log_store.checkpoint(tx.conn, tx.tenant)
    if index == (newest.size if newest else 0):  # the first one that no checkpoint covers
        tx.set_timer(CHECKPOINT, "log", tx.now + CHECKPOINT_AFTER)


async def sign_checkpoint(tx: Tx, _timer: Timer, *, vault: Vault, origin: str) -> None:
    """Sign what the log is now, if it still begins with what was signed before."""
    size = await log_store.lock_size(tx.conn, tx.tenant)
    newest = await log_store.checkpoint(tx.conn, tx.tenant)
    if newest and (newest.size > size or await _hash(tx.conn, tx.tenant, (0, newest.size)) != newest.root):
        raise Tampered(f"the log no longer begins with the {newest.size} entries that were signed")
    if size == (newest.size if newest else 0):
        return
    name, key = await vault.log_key(tx, name=log_name(origin, tx.tenant))
    root = await _hash(tx.conn, tx.tenant, (0, size))
    note = tlog.sign(Checkpoint(name, size, root), key)
    await log_store.add_checkpoint(tx.conn, tx.tenant, size=size, root=root, note=note, now=tx.now)


def log_name(origin: str, tenant: UUID) -> str:
    """A log's name is a URL without a scheme (c2sp.org/tlog-checkpoint)."""
    return f"{origin.partition('://')[2]}/badges/issuers/{tenant}/log"


async def proof(conn: AsyncConnection, tenant: UUID, event_id: UUID) -> Proof | None:
    """That the event is in the log, against the newest checkpoint; None while none covers it."""
    entry = await log_store.entry_of(conn, tenant, event_id)
    if entry is None:
        return None
    covering = await log_store.checkpoint(conn, tenant, least=entry.n + 1)
    if covering is None:
        return None
    path = await _hashes(conn, tenant, merkle.inclusion(entry.n, covering.size))
    extra = b""
    if entry.salt is not None:
        stored = await log_store.event(conn, tenant, event_id)
        extra = tlog.opening(entry.salt, _content(tenant, stored))
    return Proof(entry.n, path, covering.note, extra)


async def certificate_proof(conn: AsyncConnection, tenant: UUID, certificate_id: str) -> Proof | None:
    """That the issue of a certificate is in the log; None while no checkpoint covers it."""
    event_id = await log_store.event_of(conn, tenant, f"certificate/{certificate_id}", 1)
    return await proof(conn, tenant, event_id) if event_id else None


async def consistency(conn: AsyncConnection, tenant: UUID, old: int, new: int) -> tuple[bytes, ...]:
    """That the log of `new` entries begins with that of `old`. Raises UnknownLog beyond what is signed."""
    newest = await log_store.checkpoint(conn, tenant)
    if newest is None or not 0 < old <= new <= newest.size:
        raise UnknownLog("The log has no two such sizes")
    return await _hashes(conn, tenant, merkle.consistency(old, new))


async def verifier_key(conn: AsyncConnection, tenant: UUID) -> str:
    """Raises UnknownLog for a tenant that nothing was ever signed for."""
    row = await log_store.key(conn, tenant)
    if row is None:
        raise UnknownLog
    return tlog.verifier_key(row.name, Ed25519PublicKey.from_public_bytes(row.public_key))


async def audit(conn: AsyncConnection, tenant: UUID, *, external: str = "") -> Audited:
    """Compute the whole log anew from the ledger and hold it against every checkpoint that was signed.

    `external`: a checkpoint that was kept elsewhere. Against somebody who can write to the database, it alone proves
    something. A record that is not entered yet is no problem as long as it is new: see `records` and `size`.
    """
    names = [kind.DESCRIPTOR.full_name for kind in RECORDS]
    stored = await log_store.records(conn, tenant, names)
    entries = await log_store.entries(conn, tenant)
    kept = await log_store.leaf_hashes(conn, tenant)
    problems: list[str] = []
    leaves: list[bytes] = []
    for position, entry in enumerate(entries):
        if entry.n != position:
            problems.append(f"entry {position} is missing")
            break
        row = stored.get(entry.event_id)
        if entry.salt is None:
            leaves.append(kept.get(position, b""))
            continue
        if row is None:
            problems.append(f"entry {position}: event {entry.event_id} is gone from the ledger")
            leaves.append(kept.get(position, b""))
            continue
        leaf = merkle.leaf_hash(tlog.commitment(entry.salt, _content(tenant, row)))
        if leaf != kept.get(position):
            problems.append(f"entry {position}: event {entry.event_id} is not what was entered")
        leaves.append(leaf)
    tree = _tree(leaves)
    signed = await log_store.checkpoints(conn, tenant)
    for row in signed:
        problems += _against(leaves, tree, row.size, row.root, f"checkpoint {row.size}")
    if external:
        problems += await _external(conn, tenant, leaves, tree, external)
    erased = sum(entry.salt is None for entry in entries)
    return Audited(len(entries), len(stored), erased, len(signed), tuple(problems))


async def _external(
    conn: AsyncConnection, tenant: UUID, leaves: list[bytes], tree: Mapping[Node, bytes], note: str
) -> list[str]:
    row = await log_store.key(conn, tenant)
    if row is None:
        return ["this log never signed a checkpoint"]
    try:
        found = tlog.open_note(note, row.name, Ed25519PublicKey.from_public_bytes(row.public_key))
    except Unproven as e:
        return [f"the checkpoint that was kept elsewhere: {e}"]
    return _against(leaves, tree, found.size, found.root, "the checkpoint that was kept elsewhere")


def _against(leaves: list[bytes], tree: Mapping[Node, bytes], size: int, root: bytes, what: str) -> list[str]:
    if size > len(leaves):
        return [f"{what} covers {size} entries, but the log has {len(leaves)}"]
    if merkle.range_hash((0, size), tree.__getitem__) != root:
        return [f"{what} does not fit the ledger: something it covers was changed"]
    return []


def _tree(leaves: list[bytes]) -> dict[Node, bytes]:
    nodes: dict[Node, bytes] = {}
    for index, leaf in enumerate(leaves):
        nodes[0, index] = leaf
        for level, i in merkle.completed_by(index):
            nodes[level, i] = merkle.node_hash(nodes[level - 1, 2 * i], nodes[level - 1, 2 * i + 1])
    return nodes


async def _hash(conn: AsyncConnection, tenant: UUID, leaves: Range) -> bytes:
    return (await _hashes(conn, tenant, [leaves]))[0]


async def _hashes(conn: AsyncConnection, tenant: UUID, ranges: list[Range]) -> tuple[bytes, ...]:
    wanted = {node for leaves in ranges for node in merkle.nodes_of(leaves)}
    nodes = await log_store.nodes(conn, tenant, wanted) if wanted else {}
    if missing := wanted - nodes.keys():
        raise Tampered(f"nodes of the log are gone: {sorted(missing)[:3]}")
    return tuple(merkle.range_hash(leaves, nodes.__getitem__) for leaves in ranges)


def _content(tenant: UUID, stored: log_store.Found | None) -> Mapping[str, object]:
    if stored is None:
        raise Tampered("an entry's event is gone from the ledger")
    return tlog.record(
        tenant=tenant,
        id=stored.id,
        type=stored.type,
        stream=stored.stream,
        version=stored.version,
        at=stored.at,
        data=stored.data,
    )
