"""Composition root: settings become a service. Does no I/O; tests pass fakes here."""

from datetime import timedelta
from functools import partial

from fastapi import APIRouter

from identity import bamboohr, erasure, handlers, http, intake, rpc, setup_http, sign_in_http
from identity.administration import Breaker
from identity.keys import SigningKeys
from identity.settings import Settings
from identity.sign_in import Tokens
from identity.tenancy import Tenancy
from identity.vault import Vault
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
    hris_client: bamboohr.Client = bamboohr.make_client,
) -> Service:
    engine = make_engine(
        settings.database_url.get_secret_value(), pool=settings.database_pool, application="identity"
    )
    ledger = Ledger(engine, feeds()["identity"], clock=clock, new_id=new_id)
    vault = Vault(settings.identity_secret_key)
    tenancy = Tenancy(ledger)
    keys = SigningKeys(ledger, vault, overlap=timedelta(hours=settings.identity_signing_key_overlap_hours))
    tokens = Tokens(ledger, keys, issuer=settings.issuer, service_clients=settings.identity_service_clients)
    breaker = Breaker(settings.identity_deactivation_share, settings.identity_deactivation_floor)
    verifier = verifier or Verifier.from_source(
        keys.public, settings.issuer, clock=lambda: clock().timestamp()
    )

    router = APIRouter()
    # Looked through in this order, which took a tenth of a message's time: first where HR's messages come, behind what has
    # a path of the same form.
    router.include_router(setup_http.webhook_routes(ledger, tenancy, vault, settings))
    router.include_router(intake.webhook_routes(ledger, tenancy, vault))
    router.include_router(sign_in_http.session_routes(ledger, tenancy, settings))
    router.include_router(sign_in_http.token_routes(keys, tokens, settings))
    router.include_router(http.routes(ledger, tenancy, vault))
    router.include_router(
        setup_http.tenant_routes(ledger, tenancy, keys, settings, vault=vault, new_id=new_id)
    )
    router.include_router(setup_http.client_routes(ledger, tenancy))
    router.include_router(intake.snapshot_routes(ledger, tenancy, vault, breaker))

    async def first_key() -> None:
        await keys.current()

    return Service(
        name="identity",
        settings=settings,
        http=make_app(
            "identity", settings, router=router, verifier=verifier, checks={"database": ledger.check}
        ),
        rpc=[rpc.service(ledger)],
        verifier=verifier,
        ledger=ledger,
        peers=peers or Peers(settings),
        timers={
            handlers.PERSON_DAY: handlers.on_person_day,
            handlers.READ_AGAIN: partial(bamboohr.on_read_again, vault=vault, client=hris_client),
            erasure.MENTIONS: partial(erasure.on_mentions, vault=vault),
        },
        on_start=[first_key],
    )
