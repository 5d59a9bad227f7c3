"""A completed certifying course earns one certificate; anybody can check it, and nobody can forge it."""

import asyncio
import base64
import gzip
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

import assessment
from assessment import credential, glyphs, rpc, store
from assessment.certifying import verify
from assessment.keys import Vault
from assessment.peers import Named
from lyceum.assessment.v1 import assessment_service_pb2 as pb
from lyceum.assessment.v1.events_pb2 import CertificateIssued, CertificateRevoked
from lyceum.enrollment.v1.events_pb2 import CourseCompleted
from lyceum_kit.delivery import emitted
from lyceum_kit.envelope import Record
from lyceum_kit.errors import Unavailable


async def certified(world: Any, **course: Any) -> dict[str, Any]:
    await world.publish(**course)
    await world.complete()
    return (await world.call("GET", "/certificates")).json()["items"][0]


async def issued(world: Any, names: Any) -> list[CertificateIssued]:
    return [e for e in await emitted(world.service.ledger, names.TENANT) if isinstance(e, CertificateIssued)]


async def test_a_completed_course_is_certified_exactly_once(world: Any, names: Any) -> None:
    await world.publish()
    event = CourseCompleted(
        enrollment_id="e-ada",
        person_id=names.ADA,
        course_id=names.COURSE,
        course_version=1,
        assurance="server-graded",
    )
    event.completed_at.FromDatetime(world.clock())
    where = {"tenant": names.TENANT, "stream": "enrollment/e-ada", "key": names.ADA}
    await world.deliver.twice(event, **where)
    await world.deliver.again(event, **where)
    [one] = await issued(world, names)
    assert (one.person_id, one.enrollment_id, one.status_index) == (names.ADA, "e-ada", 0)
    assert b"Ada" not in one.SerializeToString().replace(names.ADA.encode(), b"")
    listed = (await world.call("GET", "/certificates")).json()["items"]
    assert [c["certificate_id"] for c in listed] == [one.certificate_id]
    assert listed[0]["verify_url"] == f"{names.ORIGIN}/verify/{one.certificate_id}"


async def test_the_score_is_the_quizs_not_the_packages(world: Any, scorm: Any, names: Any) -> None:
    await world.quiz()
    attempt = await world.start()
    for n, (question, answer) in enumerate({**names.RIGHT, "port": 80}.items(), 1):
        await world.answer(attempt["attempt_id"], question, n, answer)
    assert (await world.submit(attempt["attempt_id"])).json()["score"] == 75
    await world.complete()
    assert [e.score for e in await issued(world, names)] == [75]


async def test_a_course_that_certifies_nothing_issues_nothing(world: Any, names: Any) -> None:
    await world.publish(certifying=False)
    await world.complete()
    assert await issued(world, names) == []


async def test_a_completion_that_arrives_before_its_course_waits_for_it(world: Any, names: Any) -> None:
    await world.complete()
    assert await issued(world, names) == []
    await world.publish()
    await world.publish()
    assert len(await issued(world, names)) == 1


async def test_many_completions_doubled_and_shuffled_certify_each_person_once(world: Any, names: Any) -> None:
    await world.publish()
    records: list[Record] = []
    for n in range(12):
        world.people.known[f"p{n}"] = world.people.known[names.ADA]
        event = CourseCompleted(
            enrollment_id=f"e{n}",
            person_id=f"p{n}",
            course_id=names.COURSE,
            course_version=1,
            assurance="self-reported",
        )
        event.completed_at.FromDatetime(world.clock())
        records.append(
            world.deliver.record(event, tenant=names.TENANT, stream=f"enrollment/e{n}", key=f"p{n}")
        )
    await world.deliver.shuffled(records, seed=3)
    events = await issued(world, names)
    assert sorted(e.enrollment_id for e in events) == sorted(f"e{n}" for n in range(12))
    assert sorted(e.status_index for e in events) == list(range(12))


async def test_the_public_page_says_valid_then_revoked_and_needs_no_script(world: Any, names: Any) -> None:
    one = await certified(world)
    page = await world.http.get(f"/verify/{one['certificate_id']}")
    assert page.status_code == 200
    for text in (
        "Valid",
        "Ada Łukasz 山田",
        "Security Protocols 101",
        "Analytical Engines",
        "24 November 2026",
    ):
        assert text in page.text
    assert "<script" not in page.text
    assert "script-src" not in page.headers["content-security-policy"]

    revoke = f"/certificates/{one['certificate_id']}/revoke"
    assert (await world.call("POST", revoke, json={"reason": "no"})).status_code == 403
    done = await world.call(
        "POST", revoke, by="root", roles=("admin",), json={"reason": "Taken by <b>another</b>"}
    )
    assert done.status_code == 204
    again = await world.call("POST", revoke, by="root", roles=("admin",), json={"reason": "Twice"})
    assert again.status_code == 409
    page = await world.http.get(f"/verify/{one['certificate_id']}")
    assert "Revoked" in page.text
    assert "&lt;b&gt;another" in page.text
    events = await emitted(world.service.ledger, names.TENANT)
    assert sum(isinstance(e, CertificateRevoked) for e in events) == 1


async def test_what_others_wrote_is_text_on_the_page_and_on_paper(world: Any, names: Any) -> None:
    named = '<img src=x onerror=alert(1)> #panic("x") $x^2$ \\u{41} \x1b[2J'
    world.people.known[names.ADA] = Named(named)
    one = await certified(world)
    page = await world.http.get(f"/verify/{one['certificate_id']}")
    assert "&lt;img src=x onerror=alert(1)&gt; #panic(" in page.text
    assert "<img" not in page.text
    paper = await world.http.get(f"/verify/{one['certificate_id']}/certificate.pdf")
    assert (paper.status_code, paper.content[:5]) == (200, b"%PDF-")
    assert paper.headers["x-content-type-options"] == "nosniff"


async def test_an_unknown_number_is_unknown_whatever_it_looks_like(world: Any) -> None:
    for number in ("01990000-0000-7000-8000-0000000000ff", "nonsense", "<script>alert(1)</script>"):
        page = await world.http.get(f"/verify/{number}".replace("</", "%3C%2F"))
        assert page.status_code == 404
        assert "<script" not in page.text
    asked = await world.http.get("/verify", params={"id": "<script>"})
    assert (asked.status_code, "<script>" in asked.text) == (404, False)
    assert (await world.http.get("/verify")).status_code == 200
    one = await certified(world)
    led = await world.http.get("/verify", params={"id": f" {one['verify_url']} "})
    assert led.headers["location"] == f"/verify/{one['certificate_id']}"


async def test_the_credential_is_an_open_badge_signed_by_the_published_key(world: Any, names: Any) -> None:
    one = await certified(world)
    token = (await world.call("GET", f"/certificates/{one['certificate_id']}.jwt")).text
    jwks = (await world.http.get(f"/badges/issuers/{names.TENANT}/jwks")).json()
    assert "d" not in jwks["keys"][0]
    decoded = jwt.decode(token, ECKey.import_key(jwks["keys"][0]), algorithms=["ES256"])
    assert decoded.header == {"alg": "ES256", "typ": "vc+jwt", "kid": jwks["keys"][0]["kid"]}
    path = jwks["keys"][0]["kid"].removeprefix(names.ORIGIN)
    assert (await world.http.get(path)).json() == jwks["keys"][0]
    claims = decoded.claims
    assert claims["type"] == ["VerifiableCredential", "OpenBadgeCredential"]
    assert claims["credentialSubject"]["identifier"][0]["identityHash"] == "Ada Łukasz 山田"
    assert claims["iss"] == claims["issuer"]["id"] == f"{names.ORIGIN}/badges/issuers/{names.TENANT}"
    assert claims["jti"] == claims["id"] == f"urn:uuid:{one['certificate_id']}"
    profile = (await world.http.get(f"/badges/issuers/{names.TENANT}")).json()
    assert (profile["type"], profile["name"]) == (["Profile"], "Analytical Engines")
    [event] = await issued(world, names)
    assert event.credential_sha256 == credential.sha256(token)


async def test_the_status_list_is_signed_bounded_and_sets_the_bit_of_what_is_revoked(
    world: Any, names: Any
) -> None:
    one = await certified(world)
    path = f"/badges/status/{names.TENANT}/1"
    key = ECKey.import_key((await world.http.get(f"/badges/issuers/{names.TENANT}/jwks")).json()["keys"][0])

    async def bits() -> bytes:
        answer = await world.http.get(path)
        claims = jwt.decode(answer.text, key, algorithms=["ES256"]).claims
        encoded = claims["credentialSubject"]["encodedList"]
        assert encoded[0] == "u"
        return gzip.GzipFile(fileobj=io.BytesIO(base64.urlsafe_b64decode(encoded[1:] + "==="))).read()

    assert (len(await bits()), any(await bits())) == (16_384, False)
    await world.call(
        "POST",
        f"/certificates/{one['certificate_id']}/revoke",
        by="root",
        roles=("admin",),
        json={"reason": "x"},
    )
    assert (await bits())[0] == 0b1000_0000
    assert (await world.http.get(f"/badges/status/{names.TENANT}/2")).status_code == 404
    assert (await world.http.get(f"/badges/status/{names.OTHER_TENANT}/1")).status_code == 404
    assert (await world.http.get(f"/badges/issuers/{names.OTHER_TENANT}")).status_code == 404


async def test_a_brought_credential_must_be_the_very_one_that_was_issued(world: Any, names: Any) -> None:
    one = await certified(world)
    number = one["certificate_id"]
    token = (await world.call("GET", f"/certificates/{number}.jwt")).text
    ledger = world.service.ledger
    assert (await verify(ledger, "", token)).status == "valid"

    header, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "==="))
    claims["credentialSubject"]["achievement"]["name"] = "Rocket Science"
    edited = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    own = credential.new_issuer_key("mine")
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    forged = {
        "edited": f"{header}.{edited}.{signature}",
        "another key, the real issuer's id": jwt.encode({"alg": "ES256", "typ": "vc+jwt"}, claims, own),
        "no algorithm": f"{unsigned}.{payload}.",
        "nonsense": "a.b.c",
        "huge": "x" * 100_000,
    }
    for name, jwt_text in forged.items():
        verdict = await verify(ledger, "", jwt_text)
        assert (verdict.status, verdict.certificate) == ("unknown", None), name
    other = await verify(ledger, "01990000-0000-7000-8000-0000000000ff", token)
    assert other.reason == "The credential belongs to another certificate"

    async with ledger.read(names.TENANT) as conn:
        row = await store.issuer_key(conn, names.TENANT)
    assert row
    stolen = Vault(b"k" * 32).open_issuer_key(names.TENANT, row.key_id, row.sealed_jwk)
    resigned = jwt.encode({"alg": "ES256", "typ": "vc+jwt"}, claims, stolen)
    assert (
        await verify(ledger, "", resigned)
    ).reason == "It is signed, but not the credential that was issued"

    await world.call(
        "POST", f"/certificates/{number}/revoke", by="root", roles=("admin",), json={"reason": "Error"}
    )
    assert (await verify(ledger, "", token)).status == "revoked"


async def test_verification_answers_over_grpc_without_a_token(world: Any) -> None:
    one = await certified(world)
    service = rpc.AssessmentRpc(world.service.ledger, world.people)
    assert rpc.assessment_service(world.service.ledger, world.people).access["VerifyCertificate"] is None
    context: Any = None
    answer = await service.VerifyCertificate(
        pb.VerifyCertificateRequest(certificate_id=one["certificate_id"]), context
    )
    assert (answer.status, answer.recipient_name) == (pb.CERTIFICATE_STATUS_VALID, "Ada Łukasz 山田")
    unknown = await service.VerifyCertificate(pb.VerifyCertificateRequest(certificate_id="nope"), context)
    assert (unknown.status, unknown.recipient_name) == (pb.CERTIFICATE_STATUS_UNKNOWN, "")


async def test_a_managers_report_may_be_read_by_the_manager_and_by_nobody_else(
    world: Any, names: Any
) -> None:
    one = await certified(world)
    paths = [f"/certificates/{one['certificate_id']}.jwt", f"/certificates/{one['certificate_id']}.pdf"]
    for path in paths:
        assert (await world.call("GET", path, by=names.LINUS)).status_code == 404
        headers = world.headers("root", "admin", tenant=names.OTHER_TENANT)
        assert (await world.http.get(f"/api/assessment{path}", headers=headers)).status_code == 404
    assert (await world.call("GET", paths[0], by=names.GRACE, roles=("manager",))).status_code == 200
    for path in ("/certificates", "/records"):
        params = {"person_id": names.ADA}
        assert (
            await world.call("GET", path, by=names.LINUS, roles=("manager",), params=params)
        ).status_code == 403
        assert (
            await world.call("GET", path, by=names.GRACE, roles=("manager",), params=params)
        ).status_code == 200
        assert (await world.call("GET", path, by="root", roles=("admin",), params=params)).status_code == 200


async def test_while_identity_is_away_the_certificate_waits(
    world: Any, names: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.publish()
    event = CourseCompleted(
        enrollment_id="e-ada",
        person_id=names.ADA,
        course_id=names.COURSE,
        course_version=1,
        assurance="self-reported",
    )
    event.completed_at.FromDatetime(world.clock())
    record = world.deliver.record(event, tenant=names.TENANT, stream="enrollment/e-ada", key=names.ADA)

    async def away(*_args: Any) -> Any:
        raise Unavailable("identity does not answer")

    with monkeypatch.context() as during:
        during.setattr(world.people, "get", away)
        with pytest.raises(Unavailable):
            await world.deliver.batch([record])
    assert await issued(world, names) == []
    await world.deliver.batch([record])
    assert len(await issued(world, names)) == 1


async def test_the_pdf_is_tagged_and_shows_names_of_any_bundled_script(world: Any, tmp_path: Path) -> None:
    one = await certified(world)
    answer = await world.http.get(f"/verify/{one['certificate_id']}/certificate.pdf")
    assert answer.headers["content-type"] == "application/pdf"
    pdf = answer.content
    assert pdf.startswith(b"%PDF-")
    assert b"pdfuaid" in pdf
    assert b"/Lang" in pdf
    if shutil.which("pdftotext"):
        file = tmp_path / "certificate.pdf"
        file.write_bytes(pdf)
        text = await asyncio.to_thread(subprocess.check_output, ["pdftotext", str(file), "-"], text=True)
        assert "Ada Łukasz 山田" in text
        assert one["certificate_id"] in text
        assert "could not be printed" not in text


@pytest.mark.parametrize("name", ["محمد", "שרה", "สมชาย", "🎉", "\x1b[2J"])
async def test_a_name_that_no_font_has_still_gets_its_certificate(
    world: Any, names: Any, tmp_path: Path, name: str
) -> None:
    world.people.known[names.ADA] = Named(f"Ada {name}")
    one = await certified(world)
    assert name in (await world.http.get(f"/verify/{one['certificate_id']}")).text
    paper = await world.http.get(f"/verify/{one['certificate_id']}/certificate.pdf")
    assert (paper.status_code, paper.content[:5]) == (200, b"%PDF-")
    if shutil.which("pdftotext"):
        file = tmp_path / "certificate.pdf"
        file.write_bytes(paper.content)
        text = await asyncio.to_thread(subprocess.check_output, ["pdftotext", str(file), "-"], text=True)
        assert "Ada" in text
        assert "could not be printed here are shown there" in " ".join(text.split())


def test_glyphs_are_read_from_both_kinds_of_font() -> None:
    fonts = Path(assessment.__file__).parent / "fonts"
    latin = glyphs.coverage((fonts / "NotoSans-Regular.ttf").read_bytes())
    east = glyphs.coverage((fonts / "NotoSansCJK-Regular.otf").read_bytes())
    assert {ord(c) for c in "AzŁłΩЖ é"} <= latin
    assert ord("山") not in latin
    assert {ord(c) for c in "山田韓"} <= east
    assert glyphs.shown("Ł 山 م", latin | east) == "Ł 山 ?"
