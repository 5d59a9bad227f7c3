"""A service over the kit alone, as an operating-system process that may be killed, frozen and started again.

`python node.py identity` produces, `python node.py enrollment` consumes; settings come from LYCEUM_*, what this
process is to do wrong from FAULTS_*. An event's `code` says which of its stream it is and, after a colon, what it
does to its handler.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import TextClause, text

from lyceum.identity.v1.events_pb2 import OrgUnitCreated
from lyceum_kit import db, intake, progress
from lyceum_kit.envelope import Meta, Record
from lyceum_kit.http import Model, allow, make_app
from lyceum_kit.ledger import Ledger, Tx
from lyceum_kit.peers import Peers
from lyceum_kit.service import Service, run_services
from lyceum_kit.settings import KitSettings
from lyceum_kit.testing import FixedToken
from lyceum_kit.tokens import Caller, Keys, Verifier
from lyceum_kit.topics import feeds

Writer = Annotated[Caller, allow("service")]


class Behaviour(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="FAULTS_", frozen=True)

    keys: Path  # of the issuer
    token: str  # to call other nodes with
    seen: Path  # one line for every record that came, kept also when this process is killed
    slow: float = 0.0  # seconds in each handler
    mended: bool = False  # the handler's bugs are fixed
    unguarded: bool = False  # the control: nobody locks `progress`, nobody looks whether it moved


class Unit(Model):
    key: str
    seq: int
    deed: str = ""


async def append(tx: Tx, key: str, units: Sequence[Unit]) -> int:
    """The units of one stream that are not there yet: who did not hear the answer may ask again."""
    stream = f"org-unit/{key}"
    version = (await tx.load(stream)).version
    fresh = [u for u in units if u.seq > version]
    assert not fresh or fresh[0].seq == version + 1, f"{key} is at {version}, not before {fresh[0].seq}"
    events = [OrgUnitCreated(org_unit_id=key, code=f"{u.seq}:{u.deed}") for u in fresh]
    tx.append(stream, events, expected=version)
    return version + len(fresh)


def build(name: str) -> Service:
    settings, behaviour = KitSettings(), Behaviour()  # type: ignore[call-arg] - from the environment
    verifier = Verifier.from_keys(Keys.load(json.loads(behaviour.keys.read_text())), settings.issuer)
    ledger = Ledger(db.make_engine(settings.database_url.get_secret_value()), feeds()[name])
    router = APIRouter()

    @router.post("/units", status_code=201)
    async def create(unit: Unit, who: Writer) -> dict[str, int]:
        tenant = who.tenant
        return {"version": await ledger.run(tenant, append, unit.key, [unit])}

    async def effect(tx: Tx, event: OrgUnitCreated, meta: Meta) -> None:
        seq, _, deed = event.code.partition(":")
        # By the driver: what is tried here is what is around a handler, and not how long it takes.
        await db.driver(tx.conn).execute(
            "INSERT INTO effects (tenant, key, seq, event) VALUES ($1, $2, $3, $4)",
            tx.tenant,
            event.org_unit_id,
            int(seq),
            meta.id,
        )
        await asyncio.sleep(
            float(deed.removeprefix("sleep ")) if deed.startswith("sleep") else behaviour.slow
        )
        if deed == "die" and not behaviour.mended:
            os.kill(os.getpid(), signal.SIGKILL)
        if deed == "fail" and not behaviour.mended:
            raise ValueError(f"the handler cannot take {event.code!r}")

    _ = create
    return Service(
        name=name,
        settings=settings,
        http=make_app(
            name, settings, router=router, verifier=verifier, checks={"database": lambda: _answers(ledger)}
        ),
        rpc=(),
        verifier=verifier,
        ledger=ledger,
        peers=Peers(settings, FixedToken(behaviour.token)),
        consumes={"identity": {OrgUnitCreated: effect}} if name == "enrollment" else {},
    )


async def _answers(ledger: Ledger) -> None:
    async with ledger.engine.connect() as conn:
        await conn.execute(text("SELECT 1"))


def watch(behaviour: Behaviour) -> None:
    """Write down every record that reaches the intake, before anything is done with it."""
    seen = os.open(behaviour.seen, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    process = intake.Intake.process

    async def watched(self: intake.Intake, records: Sequence[Record]) -> None:
        os.write(seen, "".join(f"{r.partition} {r.position}\n" for r in records).encode())
        await process(self, records)

    intake.Intake.process = watched


def unguard() -> None:
    """The control: architecture §5.4 without its lock and without its WHERE."""
    progress._LOCK = _without(progress._LOCK, " FOR UPDATE")  # type: ignore[reportPrivateUsage]
    progress._ADVANCE = _without(progress._ADVANCE, " AND p.next = m.before")  # type: ignore[reportPrivateUsage]


def _without(statement: TextClause, guard: str) -> TextClause:
    assert guard in str(statement), f"{guard!r} is no guard any more"
    return text(str(statement).replace(guard, ""))


if __name__ == "__main__":
    how = Behaviour()  # type: ignore[call-arg] - from the environment
    watch(how)
    if how.unguarded:
        unguard()
    asyncio.run(run_services([build(sys.argv[1])]))
