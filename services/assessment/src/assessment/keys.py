"""Keys in the database: one per person for what they write, one or more per tenant for what it issues."""

import json
from dataclasses import dataclass
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import ECKey
from sqlalchemy.ext.asyncio import AsyncConnection

from assessment import credential, log_store, sealing, store
from assessment.errors import NotOpen
from lyceum_kit.ledger import Tx


@dataclass(frozen=True)
class Vault:
    """Opens keys with the master key. Created once, in app.py."""

    master: bytes

    async def person_key(self, tx: Tx, person_id: str) -> bytes:
        """The person's key; made at the first word of them, or about them. Raises NotOpen when they were erased."""
        key = await self.new_person_key(tx, person_id)
        if key is None:
            raise NotOpen("The person was erased")
        return key

    async def new_person_key(self, tx: Tx, person_id: str) -> bytes | None:
        """As `person_key`, and None when the person was erased."""
        if found := await self.known_person_key(tx.conn, tx.tenant, person_id):
            return found
        sealed = sealing.seal(self.master, sealing.new_key(), _of_person(tx.tenant, person_id))
        await store.add_person_key(tx.conn, tx.tenant, person_id, sealed)
        return await self.known_person_key(tx.conn, tx.tenant, person_id)

    async def known_person_key(self, conn: AsyncConnection, tenant: UUID, person_id: str) -> bytes | None:
        """None when the person never wrote anything, or was erased."""
        sealed = await store.person_key(conn, tenant, person_id)
        return sealing.unseal(self.master, sealed, _of_person(tenant, person_id)) if sealed else None

    async def issuer_key(self, tx: Tx) -> ECKey:
        """The key the tenant signs with; made at its first certificate."""
        row = await store.issuer_key(tx.conn, tx.tenant)
        if row:
            return self.open_issuer_key(tx.tenant, row.key_id, row.sealed_jwk)
        key_id = str(tx.new_id())
        key = credential.new_issuer_key(key_id)
        private = json.dumps(key.as_dict(private=True)).encode()
        await store.add_issuer_key(
            tx.conn,
            {
                "tenant": tx.tenant,
                "key_id": key_id,
                "public_jwk": key.as_dict(private=False),
                "sealed_jwk": sealing.seal(self.master, private, _of_issuer(tx.tenant, key_id)),
                "created_at": tx.now,
            },
        )
        return key

    async def log_key(self, tx: Tx, *, name: str) -> tuple[str, Ed25519PrivateKey]:
        """The log's name and the key that signs its checkpoints; made, with that name, at the first one."""
        row = await log_store.key(tx.conn, tx.tenant)
        if row is None:
            key = Ed25519PrivateKey.generate()
            await log_store.add_key(
                tx.conn,
                tx.tenant,
                name=name,
                public_key=key.public_key().public_bytes_raw(),
                sealed_key=sealing.seal(self.master, key.private_bytes_raw(), _of_log(tx.tenant, name)),
            )
            return name, key
        private = sealing.unseal(self.master, row.sealed_key, _of_log(tx.tenant, row.name))
        return row.name, Ed25519PrivateKey.from_private_bytes(private)

    def open_issuer_key(self, tenant: UUID, key_id: str, sealed_jwk: bytes) -> ECKey:
        return ECKey.import_key(
            json.loads(sealing.unseal(self.master, sealed_jwk, _of_issuer(tenant, key_id)))
        )


def _of_person(tenant: UUID, person_id: str) -> str:
    return sealing.place(tenant, f"person/{person_id}", "key")


def _of_issuer(tenant: UUID, key_id: str) -> str:
    return sealing.place(tenant, f"issuer/{key_id}", "jwk")


def _of_log(tenant: UUID, name: str) -> str:
    return sealing.place(tenant, f"log/{name}", "key")
