"""Composition root: settings in, a Service out. Does no I/O; tests bring their own clock, ids, verifier and
peers.
"""

from functools import partial

from assessment import consumers, http, lms, log, log_http, pages, quiz_http, quizzing, rpc
from assessment.keys import Vault
from assessment.peers import EnrollmentPeer, Enrollments, IdentityPeer, People
from assessment.settings import Settings, master_key
from lyceum_kit import db
from lyceum_kit.http import make_app
from lyceum_kit.ids import Clock, NewId, new_id, utc_now
from lyceum_kit.ledger import Ledger
from lyceum_kit.peers import Peers
from lyceum_kit.service import Service
from lyceum_kit.tokens import Verifier
from lyceum_kit.topics import feeds


def build(
    settings: Settings,
    *,
    clock: Clock = utc_now,
    new_id: NewId = new_id,
    verifier: Verifier | None = None,
    peers: Peers | None = None,
    enrollments: Enrollments | None = None,
    people: People | None = None,
) -> Service:
    verifier = verifier or Verifier(settings.jwks_url, settings.issuer)
    peers = peers or Peers(settings)
    enrollments = enrollments or EnrollmentPeer(peers)
    people = people or IdentityPeer(peers)
    vault = Vault(master_key(settings.assessment_master_key))
    engine = db.make_engine(
        settings.database_url.get_secret_value(), pool=settings.database_pool, application="assessment"
    )
    ledger = Ledger(engine, feeds()["assessment"], clock=clock, new_id=new_id)

    router = http.routes(ledger, settings, vault, enrollments=enrollments, people=people)
    router.include_router(quiz_http.routes(ledger, vault, enrollments))
    app = make_app(
        "assessment",
        settings,
        router=router,
        verifier=verifier,
        checks={"database": ledger.check},
    )
    app.include_router(lms.routes(ledger, settings, vault, people=people))
    app.include_router(pages.routes(ledger, settings, vault))
    app.include_router(log_http.public_routes(ledger))
    app.include_router(log_http.routes(ledger))
    return Service(
        name="assessment",
        settings=settings,
        http=app,
        rpc=[rpc.assessment_service(ledger, people)],
        verifier=verifier,
        ledger=ledger,
        peers=peers,
        consumes=consumers.consumes(vault=vault, people=people, origin=settings.app_origin),
        timers={
            quizzing.DEADLINE: partial(quizzing.on_deadline, vault=vault),
            log.CHECKPOINT: partial(log.sign_checkpoint, vault=vault, origin=settings.app_origin),
        },
    )
