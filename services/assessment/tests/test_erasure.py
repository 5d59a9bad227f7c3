"""The erased leave nothing that names them or that they wrote; what they achieved can still be proven."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import text

from assessment import log, rpc, verifier
from assessment.certifying import verify
from assessment.errors import NotOpen
from assessment.keys import Vault
from assessment.peers import Named
from lyceum.assessment.v1 import assessment_service_pb2 as pb
from lyceum.enrollment.v1.events_pb2 import CourseCompleted
from lyceum.identity.v1.events_pb2 import UserDeactivated, UserErased
from lyceum_kit.delivery import emitted
from lyceum_kit.timers import Timers

MASTER = b"k" * 32


async def written(world: Any, names: Any, scorm: Any) -> str:
    """Something personal by every way into assessment; the certificate's number."""
    world.people.known[names.ADA] = Named("zq-name", names.GRACE)
    await world.publish(scorm)
    token = await world.launch()
    state = await world.open(token)
    assert state["cmi"]["core"]["student_name"] == "zq-name"
    core = {**state["cmi"]["core"], "lesson_status": "passed", "lesson_location": "zq-place"}
    cmi = {
        "core": core,
        "suspend_data": "zq-suspended",
        "comments": "zq-comment",
        "interactions": {"0": {"student_response": "zq-response"}},
    }
    assert (await world.commit(token, 1, 1, finish=True, cmi=cmi)).status_code == 200
    await world.complete()
    await world.quiz()
    attempt = await world.start()
    await world.answer(attempt["attempt_id"], "who", 1, "zq-answer")
    [one] = (await world.call("GET", "/certificates")).json()["items"]
    return str(one["certificate_id"])


async def erased(world: Any, names: Any) -> None:
    where = {"tenant": names.TENANT, "stream": f"person/{names.ADA}"}
    await world.deliver(UserDeactivated(person_id=names.ADA), **where)
    del world.people.known[names.ADA]
    await world.deliver.again(UserErased(person_id=names.ADA, reason="requested"), **where)


async def where(world: Any, names: Any, marker: str) -> set[str]:
    """The tables that have the marker, in the clear or in a JWT's payload."""
    found: set[str] = set()
    async with world.service.ledger.read(names.TENANT) as conn:
        query = text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for table in (await conn.execute(query)).scalars().all():
            if table in ("alembic_version", "ledger_seen"):
                continue
            rows = (await conn.execute(text(f"SELECT * FROM {table}"))).all()
            if any(marker in f"{value!r}" for row in rows for value in row):
                found.add(table)
        jwts = await conn.execute(text("SELECT credential_jwt FROM certificates"))
        if any(token and marker in payload(token) for token in jwts.scalars()):
            found.add("credentials")
    return found


def payload(token: str) -> str:
    from joserfc.util import urlsafe_b64decode

    return urlsafe_b64decode(token.split(".")[1].encode()).decode()


async def test_what_names_the_person_goes_and_what_is_sealed_cannot_be_opened(
    world: Any, names: Any, scorm: Any
) -> None:
    number = await written(world, names, scorm)
    reason = {"reason": "zq-reason"}
    path = f"/certificates/{number}/revoke"
    assert (await world.call("POST", path, by="root", roles=("admin",), json=reason)).status_code == 204
    assert await where(world, names, "zq-") == {"certificates", "credentials"}
    ledger, vault = world.service.ledger, Vault(MASTER)
    async with ledger.read(names.TENANT) as conn:
        assert await vault.known_person_key(conn, names.TENANT, names.ADA)
    before = await emitted(ledger, names.TENANT)

    await erased(world, names)
    assert await where(world, names, "zq-") == set()
    assert await emitted(ledger, names.TENANT) == before
    async with ledger.transaction(names.TENANT) as tx:
        assert await vault.new_person_key(tx, names.ADA) is None
        with pytest.raises(NotOpen):
            await vault.person_key(tx, names.ADA)
    late = await world.answer((await attempts(world, names))[-1], "who", 2, "zq-late")
    assert late.status_code == 409, late.text
    listed = await world.call("GET", "/records", by="root", roles=("admin",), params={"person_id": names.ADA})
    assert len(listed.json()["items"]) == 2


async def attempts(world: Any, names: Any) -> list[str]:
    async with world.service.ledger.read(names.TENANT) as conn:
        query = text("SELECT attempt_id FROM attempts ORDER BY started_at, attempt_id")
        return list((await conn.execute(query)).scalars())


async def test_the_certificate_still_verifies_and_the_holders_copy_is_proven(
    world: Any, names: Any, scorm: Any
) -> None:
    number = await written(world, names, scorm)
    ledger = world.service.ledger
    await entered(world, names)
    held = (await world.http.get(f"/verify/{number}/credential.jwt")).text
    issuer = json.loads(payload(held))["issuer"]["id"].removeprefix(names.ORIGIN)
    await erased(world, names)

    page = (await world.http.get(f"/verify/{number}")).text
    assert "Valid" in page
    assert "whose name was erased" in page
    assert "zq-name" not in page
    for file in ("credential.jwt", "certificate.pdf"):
        gone = await world.http.get(f"/verify/{number}/{file}")
        assert (gone.status_code, gone.json()["type"]) == (404, "urn:lyceum:problem:holder-erased")
    context: Any = None
    answer = await rpc.AssessmentRpc(ledger, world.people).VerifyCertificate(
        pb.VerifyCertificateRequest(certificate_id=number), context
    )
    assert (answer.status, answer.recipient_name) == (pb.CERTIFICATE_STATUS_VALID, "")
    assert "erased" in answer.reason

    assert (await verify(ledger, "", held)).status == "valid"
    head, body, signature = held.split(".")
    assert (await verify(ledger, "", f"{head}.{body}.{signature[::-1]}")).status == "unknown"
    proof = (await world.http.get(f"/verify/{number}/certificate.tlog-proof")).text
    keys = (await world.http.get(f"{issuer}/jwks")).json()
    log_key = (await world.http.get(f"{issuer}/log/key")).text
    assert verifier.certificate(held, proof, keys, log_key)["name"] == "zq-name"
    audit = await world.call("POST", "/log/audit", by="root", roles=("admin",), json={})
    assert audit.json()["problems"] == []

    revoke = {"reason": "Issued twice"}
    path = f"/certificates/{number}/revoke"
    assert (await world.call("POST", path, by="root", roles=("admin",), json=revoke)).status_code == 204
    assert "Revoked" in (await world.http.get(f"/verify/{number}")).text
    assert (await verify(ledger, "", held)).status == "revoked"


async def entered(world: Any, names: Any) -> None:
    types = [kind.DESCRIPTOR.full_name for kind in log.RECORDS]
    ledger = world.service.ledger
    async with ledger.read(names.TENANT) as conn:
        query = text("SELECT id FROM events WHERE type = ANY(:types) ORDER BY at, id")
        ids = (await conn.execute(query, {"types": types})).scalars().all()
    for one in ids:
        await ledger.run(names.TENANT, log.enter, one)
    await ledger.run(
        names.TENANT, log.sign_checkpoint, None, vault=Vault(MASTER), origin="https://learn.example"
    )


async def test_a_running_quiz_has_no_deadline_any_more(world: Any, names: Any, scorm: Any) -> None:
    await written(world, names, scorm)
    timers = Timers(world.service.ledger, world.service.timers)
    assert (await timers.status())["pending"] > 0
    await erased(world, names)
    world.clock.forward(hours=1)
    await timers.run_due()
    assert await timers.status() == {"pending": 0, "late": 0, "failed": 0}


async def test_a_certificate_that_is_being_issued_meanwhile_names_nobody(
    world: Any, names: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Identity told the name just before it forgot it; the erasure waits for whoever asked."""
    await world.publish()
    asked, told = asyncio.Event(), asyncio.Event()
    world.people.known[names.ADA] = Named("zq-name")

    async def slow(*_args: Any) -> Named:
        asked.set()
        await told.wait()
        return Named("zq-name")

    monkeypatch.setattr(world.people, "get", slow)
    completed = CourseCompleted(
        enrollment_id="e-ada", person_id=names.ADA, course_id=names.COURSE, course_version=1
    )
    completed.completed_at.FromDatetime(world.clock())
    completed.assurance = "server-graded"
    ledger = world.service.ledger
    consume = world.service.consumes
    issuing = asyncio.create_task(
        ledger.run(names.TENANT, consume["enrollment"][CourseCompleted], completed, None)
    )
    await asked.wait()
    event = UserErased(person_id=names.ADA, reason="requested")
    meta = world.deliver.record(event, tenant=names.TENANT, stream=f"person/{names.ADA}").meta
    erasing = asyncio.create_task(ledger.run(names.TENANT, consume["identity"][UserErased], event, meta))
    done, _ = await asyncio.wait([erasing], timeout=0.3)
    assert not done
    told.set()
    await asyncio.gather(issuing, erasing)
    async with ledger.read(names.TENANT) as conn:
        row = (await conn.execute(text("SELECT recipient_name, credential_jwt FROM certificates"))).one()
    assert tuple(row) == ("", "")
