"""The player in a real Chromium: a probe package on its own origin, suspended, resumed, finished, shut in every way."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.async_api import Browser, Frame, Page
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lyceum_local.testing import free_port

pytestmark = pytest.mark.browser

PACKAGE_PAGE = """<!doctype html><title>Probe</title><script>
  let api = null, w = window;
  while (w && !(api = w.API) && w.parent !== w) w = w.parent;
  window.probe = api;
  window.began = api.LMSInitialize("");
  addEventListener("unload", () => {
    if (window.lastWords) { api.LMSSetValue("cmi.suspend_data", window.lastWords); api.LMSFinish(""); }
  });
</script><h1>Probe</h1>"""
APP_PAGE = """<!doctype html><title>App</title><script>
  window.notes = [];
  addEventListener("message", (e) => notes.push({ origin: e.origin, ...e.data }));
</script><iframe id="player" allow="unload"
  sandbox="allow-scripts allow-same-origin allow-forms allow-modals allow-popups allow-downloads"></iframe>"""


class Origins:
    """The app on 127.0.0.1, each package on a name of its own, as the platform's gateway does."""

    def __init__(self, assessment: ASGIApp) -> None:
        self._assessment = assessment

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        host = dict(scope["headers"])[b"host"].decode().partition(":")[0]
        answer: ASGIApp
        if scope["path"].startswith(("/__lms/", "/api/", "/verify", "/badges")):
            answer = self._assessment
        elif host.endswith(".localhost"):
            headers = {"permissions-policy": "unload=(self)"}
            answer = HTMLResponse(PACKAGE_PAGE, headers=headers)
        elif scope["path"] == "/":
            answer = HTMLResponse(APP_PAGE, headers={"permissions-policy": "unload=*"})
        else:
            answer = Response(status_code=404)
        await answer(scope, receive, send)


@pytest.fixture
def origins(web_build: Path) -> dict[str, str]:
    port = free_port()
    return {
        "app_origin": f"http://127.0.0.1:{port}",
        "content_origin": f"http://{{package}}.localhost:{port}",
        "assessment_player_dir": str(web_build / "lms"),
    }


@pytest.fixture
async def served(world: Any, origins: dict[str, str]) -> AsyncIterator[Any]:
    port = int(origins["app_origin"].rpartition(":")[2])
    config = uvicorn.Config(Origins(world.service.http), port=port, log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # pyright: ignore[reportAttributeAccessIssue]
    running = asyncio.create_task(server.serve())
    async with asyncio.timeout(30):
        while not server.started:
            await asyncio.sleep(0.02)
    yield world
    server.should_exit = True
    await running


async def play(world: Any, page: Page, origins: dict[str, str]) -> Frame:
    """Open the module in the app's frame, and give the package's own window."""
    token = await world.launch()
    url = origins["content_origin"].replace("{package}", "01990000-0000-7000-8000-0000000000aa")
    await page.goto(origins["app_origin"])
    await page.evaluate(
        "(url) => { document.getElementById('player').src = url }", f"{url}/__lms/run#{token}"
    )
    await told(page, "ready")
    async with asyncio.timeout(30):
        while True:
            for frame in page.frames:
                if frame.url.endswith("launch.html") and await frame.evaluate("window.began === 'true'"):
                    return frame
            await asyncio.sleep(0.02)


async def told(page: Page, what: str) -> None:
    """The app hears it: from another process, so a little after the package has its answer."""
    await page.wait_for_function(f"notes.some((n) => n.type === 'lyceum:{what}')")


async def saved_cmi(world: Any, until: Callable[[Any], bool]) -> dict[str, Any]:
    """What the server has, once `until` holds: what was sent while a page went away arrives a little later."""
    async with asyncio.timeout(30):
        while True:
            record = (await world.call("GET", "/records")).json()["items"][0]
            if until(record):
                break
            await asyncio.sleep(0.05)
    return (await world.open(await world.launch()))["cmi"]


async def call(frame: Frame, script: str) -> Any:
    return await frame.evaluate(f"(() => {{ const api = window.probe; return {script}; }})()")


async def test_a_package_is_suspended_resumed_and_finished(
    served: Any, browser: Browser, scorm: Any, origins: dict[str, str]
) -> None:
    await served.publish(scorm)
    page = await browser.new_page()
    frame = await play(served, page, origins)
    assert await call(frame, "api.LMSGetValue('cmi.core.entry')") == "ab-initio"
    assert await call(frame, "api.LMSGetValue('cmi.core.student_name')") == "Ada Łukasz 山田"
    assert await call(frame, "api.LMSGetValue('cmi.launch_data')") == "lang=en"
    assert await call(frame, "api.LMSSetValue('cmi.core.lesson_status', 'nonsense')") == "false"
    for name, value in {
        "core.lesson_status": "incomplete",
        "core.lesson_location": "page 4",
        "suspend_data": "x" * 5000,
        "core.exit": "suspend",
        "core.session_time": "00:05:00",
    }.items():
        assert await call(frame, f"api.LMSSetValue('cmi.{name}', '{value}')") == "true"
    assert await call(frame, "api.LMSCommit('')") == "true"
    assert await call(frame, "api.LMSFinish('')") == "true"
    await told(page, "saved")

    frame = await play(served, page, origins)
    assert await call(frame, "api.LMSGetValue('cmi.core.entry')") == "resume"
    assert await call(frame, "api.LMSGetValue('cmi.core.lesson_location')") == "page 4"
    assert await call(frame, "api.LMSGetValue('cmi.suspend_data').length") == 5000
    assert await call(frame, "api.LMSGetValue('cmi.core.total_time')") == "00:05:00"
    await call(frame, "api.LMSSetValue('cmi.core.score.raw', '88')")
    await call(frame, "api.LMSSetValue('cmi.core.lesson_status', 'passed')")
    for n in range(18):
        assert await call(frame, f"api.LMSSetValue('cmi.interactions.{n}.id', 'i{n}')") == "true"
    assert await call(frame, "api.LMSFinish('')") == "true"
    await told(page, "completed")
    cmi = await saved_cmi(served, lambda r: r["state"] == "passed")
    assert len(cmi["interactions"]) == 18


async def test_a_package_hears_false_when_the_server_says_no(
    served: Any, browser: Browser, scorm: Any, origins: dict[str, str]
) -> None:
    await served.publish(scorm)
    first = await browser.new_page()
    old = await play(served, first, origins)
    second = await browser.new_page()
    await play(served, second, origins)
    await call(old, "api.LMSSetValue('cmi.suspend_data', 'too late')")
    assert await call(old, "api.LMSCommit('')") == "false"
    assert await call(old, "api.LMSGetLastError()") == "391"
    await told(first, "not-saved")


@pytest.mark.parametrize("way", ["close the tab", "reload", "leave"])
async def test_the_last_words_of_a_page_that_goes_away_are_kept(
    served: Any, browser: Browser, scorm: Any, origins: dict[str, str], way: str
) -> None:
    await served.publish(scorm)
    # A context of its own: it lives on when the tab is gone, as a person's browser does.
    page = await (await browser.new_context()).new_page()
    frame = await play(served, page, origins)
    await call(frame, "api.LMSSetValue('cmi.core.lesson_status', 'incomplete')")
    await call(frame, "api.LMSSetValue('cmi.core.session_time', '00:00:07')")
    await frame.evaluate("window.lastWords = 'remember me'")
    match way:
        case "close the tab":
            await page.close(run_before_unload=True)
        case "reload":
            await page.reload()
        case _:
            await page.goto("about:blank")
    cmi = await saved_cmi(served, lambda r: r["seconds"] >= 7)
    assert cmi["suspend_data"] == "remember me"


async def test_the_app_closes_the_player_and_hears_when_all_is_said(
    served: Any, browser: Browser, scorm: Any, origins: dict[str, str]
) -> None:
    await served.publish(scorm)
    page = await browser.new_page()
    frame = await play(served, page, origins)
    await call(frame, "api.LMSSetValue('cmi.core.lesson_status', 'incomplete')")
    await frame.evaluate("window.lastWords = 'closed properly'")
    close = "document.getElementById('player').contentWindow.postMessage({type: 'lyceum:close'}, '*')"
    await page.evaluate(close)
    await told(page, "closed")
    cmi = await saved_cmi(served, lambda r: r["state"] == "started")
    assert cmi["suspend_data"] == "closed properly"


async def test_a_package_reaches_neither_the_app_nor_its_token(
    served: Any, browser: Browser, scorm: Any, origins: dict[str, str]
) -> None:
    await served.publish(scorm)
    page = await browser.new_page()
    app = origins["app_origin"]
    await page.context.add_cookies(
        [{"name": "session", "value": "secret", "url": app, "httpOnly": True, "sameSite": "Lax"}]
    )
    frame = await play(served, page, origins)
    assert await frame.evaluate("document.cookie") == ""
    assert await frame.evaluate("parent.location.hash") == ""
    reach = "(() => { try { return String(parent.parent.document.title) } catch { return 'refused' } })()"
    assert await frame.evaluate(reach) == "refused"
    fetched = f"fetch('{app}/api/assessment/records', {{credentials: 'include'}}).then(() => 'read', () => 'refused')"
    assert await frame.evaluate(fetched) == "refused"


async def test_the_public_page_needs_no_script(
    served: Any, browser: Browser, origins: dict[str, str]
) -> None:
    await served.publish()
    await served.complete()
    one = (await served.call("GET", "/certificates")).json()["items"][0]
    context = await browser.new_context(java_script_enabled=False, viewport={"width": 320, "height": 700})
    page = await context.new_page()
    async with page.expect_response("**/verify/cjk.otf") as font:  # this machine may have no font for 山田
        await page.goto(f"{origins['app_origin']}/verify/{one['certificate_id']}", wait_until="networkidle")
    assert (await font.value).ok
    assert await page.get_by_text("Valid").is_visible()
    folder = os.environ.get("LYCEUM_SCREENSHOTS")
    if folder:
        for scheme in ("light", "dark"):
            await page.emulate_media(color_scheme=scheme)  # pyright: ignore[reportArgumentType]
            await page.screenshot(path=f"{folder}/verify-320-{scheme}.png", full_page=True)
