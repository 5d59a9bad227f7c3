"""The tamper-evident log: every record once, proofs that outsiders check alone, and changes that show."""

import asyncio
import json
import random
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import text

from assessment import log, log_store, tlog, verifier
from assessment.credential import Forged
from assessment.keys import Vault
from assessment.merkle import Unproven
from lyceum_kit.db import dsn

MASTER = b"k" * 32


async def stored(world: Any, tenant: UUID) -> list[UUID]:
    """The ids of the tenant's records, as the feed would bring them."""
    types = [kind.DESCRIPTOR.full_name for kind in log.RECORDS]
    async with world.service.ledger.read(tenant) as conn:
        found = await conn.execute(
            text("SELECT id FROM events WHERE type = ANY(:types) ORDER BY at, id"), {"types": types}
        )
        return [row.id for row in found.all()]


async def certified(world: Any, count: int) -> None:
    await world.publish()
    for n in range(count):
        world.people.known[f"p{n}"] = world.people.known["ada"]
        await world.complete(f"e{n}", f"p{n}")


async def entered(world: Any, tenant: UUID) -> None:
    """As the service's consumer of its own feed does, each event twice and in any order between people."""
    ids = await stored(world, tenant)
    ids = [*ids, *ids]
    random.Random(7).shuffle(ids)
    for one in ids:
        await world.service.ledger.run(tenant, log.enter, one)


async def signed(world: Any, tenant: UUID) -> None:
    await world.service.ledger.run(
        tenant, log.sign_checkpoint, None, vault=Vault(MASTER), origin="https://learn.example"
    )


async def audited(world: Any, **more: Any) -> dict[str, Any]:
    answer = await world.call("POST", "/log/audit", by="root", roles=("admin",), json=more)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
async def logged(world: Any, names: Any) -> Any:
    await certified(world, 21)
    await entered(world, names.TENANT)
    await signed(world, names.TENANT)
    return world


async def proof_of(world: Any, number: int = 0) -> tuple[str, str, dict[str, Any], str]:
    """What an outsider fetches: credential, proof, the issuer's keys, the log's key."""
    listed = (await world.call("GET", "/certificates", by=f"p{number}")).json()["items"]
    one = listed[0]["certificate_id"]
    signed = (await world.http.get(f"/verify/{one}/credential.jwt")).text
    proof = await world.http.get(f"/verify/{one}/certificate.tlog-proof")
    assert proof.status_code == 200, proof.text
    issuer = json.loads(verifier_claims(signed))["issuer"]["id"].removeprefix("http://127.0.0.1:8080")
    keys = (await world.http.get(f"{issuer}/jwks")).json()
    return signed, proof.text, keys, (await world.http.get(f"{issuer}/log/key")).text


def verifier_claims(token: str) -> bytes:
    from joserfc.util import urlsafe_b64decode

    return urlsafe_b64decode(token.split(".")[1].encode())


async def test_every_record_is_entered_once_however_often_it_comes(logged: Any, names: Any) -> None:
    found = await audited(logged)
    assert found == {"size": 21, "records": 21, "erased": 0, "checkpoints": 1, "problems": []}
    async with logged.service.ledger.read(names.TENANT) as conn:
        entries = await log_store.entries(conn, names.TENANT)
    assert [e.n for e in entries] == list(range(21))
    assert {e.event_id for e in entries} == set(await stored(logged, names.TENANT))


async def test_entries_made_at_once_stand_in_one_order(world: Any, names: Any) -> None:
    await certified(world, 12)
    ids = await stored(world, names.TENANT)
    await asyncio.gather(*(world.service.ledger.run(names.TENANT, log.enter, one) for one in ids))
    await signed(world, names.TENANT)
    assert (await audited(world))["problems"] == []


async def test_the_consumer_enters_what_the_feed_brings_and_the_first_one_sets_the_timer(
    world: Any, names: Any
) -> None:
    from lyceum.assessment.v1.events_pb2 import CertificateIssued

    await certified(world, 1)
    [one] = await stored(world, names.TENANT)
    async with world.service.ledger.read(names.TENANT) as conn:
        event = await log_store.event(conn, names.TENANT, one)
    assert event
    record = world.deliver.record(
        CertificateIssued.FromString(event.data),
        tenant=names.TENANT,
        stream=event.stream,
        key="p0",
        event_id=one,
    )
    await world.deliver.batch([record])
    await world.deliver.batch([record])
    assert (await audited(world))["size"] == 1
    async with world.service.ledger.engine.connect() as conn:
        timers = (await conn.execute(text("SELECT kind, due_at FROM timers"))).all()
    assert [(t.kind, t.due_at - world.clock()) for t in timers] == [(log.CHECKPOINT, log.CHECKPOINT_AFTER)]


async def test_a_certificate_is_proven_without_the_platform(logged: Any) -> None:
    signed_, proof, keys, key = await proof_of(logged, 3)
    found = verifier.certificate(signed_, proof, keys, key)
    assert (found["name"], found["course"], found["log_size"]) == (
        "Ada Łukasz 山田",
        "Security Protocols 101",
        21,
    )
    other, other_proof, *_ = await proof_of(logged, 4)
    with pytest.raises(Forged, match="another credential"):
        verifier.certificate(other, proof, keys, key)
    parsed, foreign = tlog.parse_proof(proof), tlog.parse_proof(other_proof)
    for forged in (
        tlog.proof_text(tlog.Proof(parsed.index, foreign.path, parsed.note, parsed.extra)),
        tlog.proof_text(tlog.Proof(parsed.index, parsed.path, parsed.note, foreign.extra)),
        proof.replace("\n21\n", "\n20\n"),
        proof.replace("index ", "index 1"),
        proof.removesuffix("\n").rpartition("\n")[0],
        "",
        "c2sp.org/tlog-proof@v1\nindex -1\n\n",
        "c2sp.org/tlog-proof@v1\nextra !\nindex 0\n\nx",
    ):
        with pytest.raises(Unproven):
            verifier.certificate(signed_, forged, keys, key)


async def test_a_stolen_issuer_key_forges_nothing_that_is_in_the_log(logged: Any, names: Any) -> None:
    """Whoever has the issuer's key can sign anything, but cannot make the log have held it."""
    signed_, proof, keys, key = await proof_of(logged)
    vault = Vault(MASTER)
    from assessment import credential, store

    async with logged.service.ledger.read(names.TENANT) as conn:
        row = await store.issuer_key(conn, names.TENANT)
    assert row
    stolen = vault.open_issuer_key(names.TENANT, row.key_id, row.sealed_jwk)
    claims = json.loads(verifier_claims(signed_))
    claims["credentialSubject"]["identifier"][0]["identityHash"] = "Mallory"
    forged = credential.sign(
        claims, stolen, kid=claims["iss"] + "/keys/x", issuer=claims["iss"], issued_at=logged.clock()
    )
    with pytest.raises(Forged, match="another credential"):
        verifier.certificate(forged, proof, keys, key)


async def test_a_certificate_waits_for_its_checkpoint(world: Any, names: Any) -> None:
    await certified(world, 1)
    one = (await world.call("GET", "/certificates", by="p0")).json()["items"][0]["certificate_id"]
    for _ in range(2):
        waiting = await world.http.get(f"/verify/{one}/certificate.tlog-proof")
        assert waiting.status_code == 404
        assert "No checkpoint covers" in waiting.text
        await entered(world, names.TENANT)
    await signed(world, names.TENANT)
    assert (await world.http.get(f"/verify/{one}/certificate.tlog-proof")).status_code == 200
    page = await world.http.get(f"/verify/{one}")
    assert "certificate.tlog-proof" in page.text
    for unknown in ("nonsense", str(uuid4())):
        assert (await world.http.get(f"/verify/{unknown}/certificate.tlog-proof")).status_code == 404
    nobody = f"/badges/issuers/{uuid4()}/log"
    for path in ("key", "checkpoint", "consistency?old=1&new=2"):
        assert (await world.http.get(f"{nobody}/{path}")).status_code == 404


async def test_a_monitor_sees_the_log_grow(logged: Any, names: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://x/badges/issuers/{names.TENANT}/log"
    answers: dict[str, str] = {}

    def answered(address: str) -> str:
        return answers[address.removeprefix("http://x")]

    monkeypatch.setattr(verifier, "_fetch", answered)
    path = f"/badges/issuers/{names.TENANT}/log"

    async def fetch(*names_: str) -> None:
        for name in names_:
            answers[f"{path}/{name}"] = (await logged.http.get(f"{path}/{name}")).text

    await fetch("key", "checkpoint")
    first = verifier.watch(url, None)
    assert verifier.watch(url, first)["size"] == 21
    for n in range(21, 26):
        logged.people.known[f"p{n}"] = logged.people.known["ada"]
        await logged.complete(f"e{n}", f"p{n}")
    await entered(logged, names.TENANT)
    await signed(logged, names.TENANT)
    await fetch("checkpoint", "consistency?old=21&new=26")
    assert verifier.watch(url, first)["size"] == 26
    proof = answers[f"{path}/consistency?old=21&new=26"]
    answers[f"{path}/consistency?old=21&new=26"] = proof.replace(proof[:4], "AAAA", 1)
    with pytest.raises(Unproven):
        verifier.watch(url, first)


CHANGES = {
    "a byte of a record": "UPDATE events SET data = set_byte(data, length(data) - 1,"
    " (get_byte(data, length(data) - 1) + 1) % 256) WHERE id = {third}",
    "its time": "UPDATE events SET at = at - interval '1 day' WHERE id = {third}",
    "a record deleted": "DELETE FROM events WHERE id = {third}",
    "a record and its entry deleted": "DELETE FROM log_entries WHERE event_id = {third};"
    " DELETE FROM events WHERE id = {third}",
    "two entries swapped": "UPDATE log_entries SET event_id = gen_random_uuid() WHERE event_id = {third}",
    "the tail cut off": "DELETE FROM log_entries WHERE n >= 18; DELETE FROM log_nodes WHERE level = 0 AND n >= 18;"
    " UPDATE log_sizes SET size = 18",
    "everything of the log but its key": "DELETE FROM log_entries; DELETE FROM log_nodes; DELETE FROM log_checkpoints;"
    " UPDATE log_sizes SET size = 0",
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_a_superuser_changes_shows_against_a_kept_checkpoint(
    logged: Any, names: Any, postgres_url: str, change: str
) -> None:
    kept = (await logged.http.get(f"/badges/issuers/{names.TENANT}/log/checkpoint")).text
    assert (await audited(logged, checkpoint=kept))["problems"] == []  # the control: nothing was changed yet
    third = f"'{(await stored(logged, names.TENANT))[2]}'"
    database = dsn(logged.service.settings.database_url.get_secret_value()).rpartition("/")[2]
    connection = await asyncpg.connect(postgres_url.rpartition("/")[0] + f"/{database}")
    await connection.execute(
        "SET session_replication_role = replica"
    )  # append_only stops nobody who may do this
    await connection.execute(CHANGES[change].format(third=third))
    await connection.close()
    found = await audited(logged, checkpoint=kept)
    assert found["problems"], found


async def test_a_log_that_was_changed_is_signed_no_more(logged: Any, names: Any, postgres_url: str) -> None:
    database = dsn(logged.service.settings.database_url.get_secret_value()).rpartition("/")[2]
    connection = await asyncpg.connect(postgres_url.rpartition("/")[0] + f"/{database}")
    await connection.execute("UPDATE log_nodes SET hash = sha256(hash) WHERE level = 4")
    await connection.close()
    with pytest.raises(log.Tampered, match="no longer begins"):
        await signed(logged, names.TENANT)


async def test_a_log_that_was_forked_and_signed_again_does_not_fit_what_was_kept(
    logged: Any, names: Any
) -> None:
    """With the log's own key, another history can be signed; but not one that begins with the kept checkpoint."""
    kept = (await logged.http.get(f"/badges/issuers/{names.TENANT}/log/checkpoint")).text
    async with logged.service.ledger.transaction(names.TENANT) as tx:
        name, key = await Vault(MASTER).log_key(tx, name="")
    fork = tlog.sign(tlog.Checkpoint(name, 21, b"\x01" * 32), key)
    found = await audited(logged, checkpoint=fork)
    assert found["problems"] == [
        "the checkpoint that was kept elsewhere does not fit the ledger: something it covers was changed"
    ]
    stranger = tlog.sign(tlog.Checkpoint(name, 21, b"\x01" * 32), Ed25519PrivateKey.generate())
    assert (await audited(logged, checkpoint=stranger))["problems"] == [
        "the checkpoint that was kept elsewhere: the checkpoint is not signed by the log's key"
    ]
    assert (await audited(logged, checkpoint=kept))["problems"] == []


async def test_erasing_a_salt_keeps_every_proof(logged: Any, names: Any) -> None:
    gone = (await stored(logged, names.TENANT))[4]
    async with logged.service.ledger.transaction(names.TENANT) as tx:
        await tx.conn.execute(text("UPDATE log_entries SET salt = NULL WHERE event_id = :id"), {"id": gone})
    found = await audited(logged)
    assert (found["erased"], found["problems"]) == (1, [])
    async with logged.service.ledger.read(names.TENANT) as conn:
        proof = await log.proof(conn, names.TENANT, gone)
    assert proof
    assert proof.extra == b""


async def test_only_admins_audit_and_only_their_own(logged: Any, names: Any) -> None:
    assert (await logged.call("POST", "/log/audit", json={})).status_code == 403
    headers = logged.headers("root", "admin", tenant=names.OTHER_TENANT)
    other = await logged.http.post("/api/assessment/log/audit", headers=headers, json={})
    assert other.json()["size"] == 0
