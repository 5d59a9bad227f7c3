"""The player on a package's own origin: the wrapper page, the SCORM run-time, the attempt's state and
commits.

The package runs on this origin too and can do whatever the token of its own attempt allows: forge its own
values, as SCORM always let it. It reaches nothing else: no cookie, no other attempt, no API of the app.
"""

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import FileResponse
from pydantic import Field

import assessment
from assessment import playing
from assessment.errors import UnknownToken
from assessment.keys import Vault
from assessment.peers import People
from assessment.playing import Bearer
from assessment.settings import Settings
from lyceum_kit.errors import NotFound, Unavailable
from lyceum_kit.group import Group
from lyceum_kit.http import Model, body_limit, public
from lyceum_kit.ledger import Ledger

RUNTIME = "scorm12.js"  # of scorm-again, put there by the web build
_PLAYER = Path(assessment.__file__).parent / "player"


class CommitBody(Model):
    session: int = Field(ge=1, lt=2**31)
    sequence: int = Field(ge=1, lt=2**31)
    finish: bool = False
    same_suspend_data: bool = False
    cmi: dict[str, Any]


def routes(ledger: Ledger, settings: Settings, vault: Vault, *, people: People) -> APIRouter:
    router = APIRouter(prefix="/__lms", dependencies=[public], include_in_schema=False)
    group = Group(ledger)
    headers = {
        "content-security-policy": (
            "default-src 'none'; script-src 'self'; connect-src 'self'; frame-src 'self'; style-src 'self';"
            f" base-uri 'none'; form-action 'none'; frame-ancestors {settings.app_origin}"
        ),
        "permissions-policy": "unload=(self), camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    }

    async def who(request: Request, authorization: Annotated[str, Header()] = "") -> Bearer:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise UnknownToken
        async with ledger.engine.connect() as conn:
            return await playing.bearer(conn, token, package_id=_package(request), now=ledger.clock())

    @router.get("/run")
    async def run() -> Response:
        # The app's origin is told to the script as data: an inline script would need a hole in the policy.
        page = (_PLAYER / "run.html").read_text().replace("{{app_origin}}", settings.app_origin)
        return Response(page, media_type="text/html; charset=utf-8", headers=headers)

    @router.get("/run.js")
    async def script() -> Response:
        return FileResponse(_PLAYER / "run.js", media_type="text/javascript", headers=headers)

    @router.get("/run.css")
    async def style() -> Response:
        return FileResponse(_PLAYER / "run.css", media_type="text/css", headers=headers)

    @router.get("/scorm12.js")
    async def runtime() -> Response:
        file = runtime_file(settings)
        if file is None:
            raise Unavailable(f"{RUNTIME} is missing: build web/, or set LYCEUM_ASSESSMENT_PLAYER_DIR")
        return FileResponse(file, media_type="text/javascript", headers=headers)

    @router.get("/state")
    async def state(request: Request, authorization: Annotated[str, Header()] = "") -> dict[str, Any]:
        """Take the attempt over: what an older page of it still sends is refused from now on."""
        bearer = await who(request, authorization)
        person = await people.get(bearer.tenant, bearer.person_id)
        return await ledger.run(
            bearer.tenant,
            playing.open_state,
            bearer,
            vault=vault,
            learner_name=person.display_name if person else "",
            actor=bearer.person_id,
        )

    @router.post("/commit", dependencies=[body_limit(512 * 1024)])
    async def commit(
        body: CommitBody, request: Request, authorization: Annotated[str, Header()] = ""
    ) -> dict[str, Any]:
        """True only once the data is durable; every refusal has a 4xx or 5xx status, on which the API says
        false.
        """
        bearer = await who(request, authorization)
        completed = await group.run(
            bearer.tenant,
            playing.commit,
            bearer,
            vault=vault,
            session=body.session,
            sequence=body.sequence,
            finish=body.finish,
            cmi=body.cmi,
            same_suspend_data=body.same_suspend_data,
            actor=bearer.person_id,
        )
        return {"result": True, "errorCode": 0, "completed": completed}

    _ = run, script, style, runtime, state, commit
    return router


def runtime_file(settings: Settings) -> Path | None:
    """scorm-again's run-time: in the folder set, beside our wrapper in a release, or in a checkout's web
    build.
    """
    folders = (
        [settings.assessment_player_dir] if settings.assessment_player_dir else [_PLAYER, *_web_builds()]
    )
    return next((folder / RUNTIME for folder in folders if (folder / RUNTIME).is_file()), None)


def _web_builds() -> list[Path]:
    return [parent / "web" / "dist" / "lms" for parent in _PLAYER.parents]


def _package(request: Request) -> str:
    """The package whose origin this is: the first label of the host."""
    host = request.headers.get("host", "").partition(":")[0]
    package, dot, _ = host.partition(".")
    if not dot:
        raise NotFound
    return package
