"""Composition root: settings → ledger, content store, HTTP, gRPC. Tests pass a clock, ids and a verifier."""

from uuid import uuid4

from catalog import http, rpc
from catalog.content import ContentApp, HostSplit
from catalog.importer import Importer
from catalog.settings import Settings
from catalog.storage import ContentStore
from lyceum_kit.db import make_engine
from lyceum_kit.http import make_app
from lyceum_kit.ids import Clock, NewId, new_id, utc_now
from lyceum_kit.ledger import Ledger
from lyceum_kit.peers import Peers
from lyceum_kit.service import Service
from lyceum_kit.tokens import Verifier
from lyceum_kit.topics import feeds


def content_app(settings: Settings, store: ContentStore) -> ContentApp:
    """The packages' origins as an ASGI app. `Service.http` hands hosts of packages to it; see README."""
    return ContentApp(store, app_origin=settings.app_origin)


def build(
    settings: Settings,
    *,
    clock: Clock = utc_now,
    new_id: NewId = new_id,
    new_package_id: NewId = uuid4,
    verifier: Verifier | None = None,
    peers: Peers | None = None,
) -> Service:
    """Does no I/O."""
    engine = make_engine(
        settings.database_url.get_secret_value(), pool=settings.database_pool, application="lyceum catalog"
    )
    ledger = Ledger(engine, feeds()["catalog"], clock=clock, new_id=new_id)
    content = ContentStore(settings.content_url)
    importer = Importer(
        ledger,
        content,
        new_package_id,
        folder=settings.catalog_upload_folder,
        max_bytes=settings.catalog_upload_bytes,
        seconds=settings.catalog_inspection_seconds,
    )
    verifier = verifier or Verifier(settings.jwks_url, settings.issuer)
    router = http.routes(ledger, importer, max_upload=settings.catalog_upload_bytes)
    checks = {"database": ledger.check, "content": content.check}
    app = make_app("catalog", settings, router=router, verifier=verifier, checks=checks)
    # Outermost, so that a package's host never meets an API, nor an API's host a package.
    app.add_middleware(
        HostSplit, content=content_app(settings, content), content_origin=settings.content_origin
    )
    return Service(
        name="catalog",
        settings=settings,
        http=app,
        rpc=[rpc.service(ledger)],
        verifier=verifier,
        ledger=ledger,
        peers=peers or Peers(settings),
    )
