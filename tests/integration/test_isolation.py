"""A package is written by strangers: in the learner's browser its script gets nothing of the app."""

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from zipfile import ZipFile

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Request

from lyceum_local.testing import Platform
from lyceum_local.testing.school import School, open_school

pytestmark = pytest.mark.browser

SCRIPT = (Path(__file__).parent / "hostile.js").read_text(encoding="utf-8")
MANIFEST = """<?xml version="1.0"?>
<manifest identifier="hostile" version="1.0" xmlns="http://www.imsproject.org/xsd/imscp_rootv1p1p2"
    xmlns:adlcp="http://www.adlnet.org/xsd/adlcp_rootv1p2">
  <metadata><schema>ADL SCORM</schema><schemaversion>1.2</schemaversion></metadata>
  <organizations default="o"><organization identifier="o"><title>Hostile</title>
    <item identifier="i" identifierref="r"><title>Hostile</title></item></organization></organizations>
  <resources><resource identifier="r" type="webcontent" adlcp:scormtype="sco" href="index.html">
    <file href="index.html"/><file href="hostile.js"/></resource></resources>
</manifest>"""


def page_with_script(app: str) -> str:
    return f'<!doctype html><title>Hostile</title><body><script src="hostile.js" data-app="{app}"></script>'


@pytest.fixture
def same_host() -> Iterator[tuple[str, list[str]]]:
    """The control: the script on the app's host, another port, with something to read on its own origin under
    /app. The address, and the cookies that the browser sent there."""
    cookies: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            cookies.append(self.headers.get("cookie", ""))
            page = page_with_script(f"http://{self.headers['host']}/app")
            kind, body = {"/": ("html", page), "/hostile.js": ("javascript", SCRIPT)}.get(
                self.path, ("html", "<body>secret</body>")
            )
            self.send_response(200)
            self.send_header("content-type", f"text/{kind}")
            self.end_headers()
            self.wfile.write(body.encode())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", cookies
    server.shutdown()


async def test_a_hostile_package_gets_nothing(
    platform: Platform, browser: Browser, same_host: tuple[str, list[str]]
) -> None:
    app = platform.config.app_origin
    async with open_school(platform) as school:
        page = await sign_in_and_open(school, browser, await hostile_course(school))
        sent = cookies_sent(page.context, ".localhost:")
        await page.reload()  # now we see all that the player and the package ask for
        findings, token = await findings_in_the_package(page)
        assert findings == dict.fromkeys(findings, "refused")
        assert len(findings) == 18
        assert sent
        assert set(sent) == {""}
        assert page.url.startswith(f"{app}/learn/")
        assert await page.evaluate("localStorage.getItem('mine')") == "yes"
        # What it does get is the token of its own attempt, which opens nothing else.
        async with platform.http() as client:
            client.headers["authorization"] = f"Bearer {token}"
            for path in ("identity/me", "assessment/records", "enrollment/today", "catalog/courses"):
                assert (await client.get(f"/api/{path}")).status_code == 401

        url, received = same_host
        control = await page.context.new_page()
        await control.goto(url)
        await control.locator("body.done").wait_for(timeout=30_000)
        assert "lyceum_session=" in received[0]
        control_findings = await control.evaluate("findings")
        assert "readable=yes" in control_findings["cookies of the app"]
        for way in ("me by fetch", "token by fetch", "app as a frame", "app as a popup", "session by a form"):
            assert "secret" in control_findings[way], way
        await page.context.close()


async def hostile_course(school: School) -> str:
    """Slug of a course whose only module is the hostile package."""
    archive = io.BytesIO()
    with ZipFile(archive, "w") as made:
        made.writestr("imsmanifest.xml", MANIFEST)
        made.writestr("index.html", page_with_script(school.platform.config.app_origin))
        made.writestr("hostile.js", SCRIPT)
    package = await school.upload(archive.getvalue())
    module = {"title": "Hostile", "kind": "scorm12", "package_id": package, "launch_path": "index.html"}
    course = {"slug": "hostile", "title": "Hostile", "duration_minutes": 1, "modules": [module]}
    made = await school.ask("POST", "catalog/courses", course)
    await school.ask("POST", f"catalog/courses/{made['course_id']}/publish")
    school.courses["hostile"] = made["course_id"]
    return "hostile"


async def sign_in_and_open(school: School, browser: Browser, slug: str) -> Page:
    """A learner who has secrets to lose opens the module."""
    app = school.platform.config.app_origin
    person = await school.hire("Vera Victim", "Nursing")
    mine = await school.enrol(person, slug)
    context = await browser.new_context(base_url=app)
    await context.add_cookies([{"name": "readable", "value": "yes", "url": app}])
    page = await context.new_page()
    await page.goto(f"/sign-in?return=/learn/{mine['enrollment_id']}/{mine['modules'][0]['module_id']}")
    await page.evaluate("localStorage.setItem('mine', 'yes')")
    await page.get_by_label("Find a person").fill(school.tenant.slug)
    await page.get_by_role("button", name="Vera Victim").click()
    await page.wait_for_url(f"{app}/learn/**")
    session = next(c for c in await context.cookies(app) if c.get("name") == "lyceum_session")
    assert session.get("httpOnly")
    return page


def cookies_sent(context: BrowserContext, host: str) -> list[str]:
    """The cookie header of each request to the host, as the browser sends it."""
    seen: list[str] = []

    async def note(request: Request) -> None:
        if host in request.url:
            seen.append((await request.all_headers()).get("cookie", ""))

    context.on("requestfinished", note)
    return seen


async def findings_in_the_package(page: Page) -> tuple[dict[str, str], str]:
    """What the package's script found, and the attempt's token, which it may read: it is on its own origin."""
    done = page.frame_locator("iframe").frame_locator("iframe").locator("body.done")
    await done.wait_for(timeout=30_000)
    return await done.evaluate("() => [window.findings, parent.history.state.token]")
