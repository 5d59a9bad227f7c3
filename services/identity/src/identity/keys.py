"""The keys that sign access tokens: made at the first start, sealed at rest, rotated without a break."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from joserfc.jwk import ECKey

from identity import sign_in_store
from identity.vault import Vault
from lyceum_kit.ledger import Ledger
from lyceum_kit.tokens import Jwks, Keys

# A new key is published for a while before it signs: verifiers ask for unknown keys once a minute at most.
ANNOUNCED = timedelta(minutes=2)
KEPT = timedelta(seconds=30)


class SigningKeys:
    """Kept in memory for half a minute; another process may rotate them."""

    def __init__(self, ledger: Ledger, vault: Vault, *, overlap: timedelta) -> None:
        self._ledger = ledger
        self._vault = vault
        self._overlap = overlap
        self._keys: Keys | None = None
        self._read_at = datetime.min.replace(tzinfo=UTC)

    async def current(self) -> Keys:
        """The key that signs now, and all that verify."""
        now = self._ledger.clock()
        if self._keys is None or now - self._read_at > KEPT:
            self._keys, self._read_at = await self._read(now), now
        return self._keys

    async def public(self) -> Jwks:
        return (await self.current()).public()

    async def rotate(self) -> str:
        """Announce a new key, which signs in two minutes; those before it verify until the overlap ends."""
        now = self._ledger.clock()
        async with self._ledger.engine.begin() as conn:
            await sign_in_store.lock_keys(conn)
            kid = await self._add(conn, now)
            await sign_in_store.retire_keys(conn, but=kid, now=now)
        self._keys = None
        return kid

    async def _read(self, now: datetime) -> Keys:
        async with self._ledger.engine.begin() as conn:
            rows = await sign_in_store.keys(conn, now - self._overlap)
            if not rows:
                await sign_in_store.lock_keys(conn)
                rows = await sign_in_store.keys(conn, now - self._overlap)
            if not rows:
                await self._add(conn, now)
                rows = await sign_in_store.keys(conn, now - self._overlap)
        settled = [row for row in rows if row.created_at <= now - ANNOUNCED]
        signing = settled[-1] if settled else rows[0]
        return Keys(self._open(signing), retired=[self._open(row) for row in rows if row.kid != signing.kid])

    async def _add(self, conn: Any, now: datetime) -> str:
        key = Keys.generate()
        private = json.dumps(key.signing.as_dict(private=True)).encode()
        await sign_in_store.add_key(
            conn,
            kid=key.kid,
            private=self._vault.seal(private, f"signing-key/{key.kid}"),
            public=dict(key.signing.as_dict(private=False)),
            now=now,
        )
        return key.kid

    def _open(self, row: Any) -> ECKey:
        return ECKey.import_key(json.loads(self._vault.open(row.private, f"signing-key/{row.kid}")))
