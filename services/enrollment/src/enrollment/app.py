"""Composition root: settings → ledger, HTTP, gRPC, handlers. Tests pass a clock, ids, a verifier and names."""

from functools import partial

from fastapi import APIRouter

from enrollment import consumers, handlers, http, rpc, rules_http
from enrollment.peers import IdentityNames, Names
from enrollment.settings import Settings
from enrollment.store.book import Books
from lyceum_kit.db import make_engine
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
    names: Names | None = None,
) -> Service:
    """Does no I/O."""
    verifier = verifier or Verifier(settings.jwks_url, settings.issuer)
    peers = peers or Peers(settings)
    engine = make_engine(
        settings.database_url.get_secret_value(), pool=settings.database_pool, application="enrollment"
    )
    ledger = Ledger(engine, feeds()["enrollment"], clock=clock, new_id=new_id)
    books = Books()
    router = APIRouter()
    router.include_router(http.routes(ledger, books))
    router.include_router(rules_http.routes(ledger, books, names or IdentityNames(peers)))
    return Service(
        name="enrollment",
        settings=settings,
        http=make_app(
            "enrollment",
            settings,
            router=router,
            verifier=verifier,
            checks={"database": ledger.check},
        ),
        rpc=[rpc.service(ledger, books)],
        verifier=verifier,
        ledger=ledger,
        peers=peers,
        consumes=consumers.consumes(books),
        timers={
            handlers.OVERDUE: handlers.on_overdue,
            handlers.EVERYBODY: partial(handlers.on_rule_pass, books=books, chunk=settings.enrollment_chunk),
        },
    )
