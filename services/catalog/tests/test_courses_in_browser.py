"""The demo's courses in a real browser, over a SCORM API that only remembers."""

import os
import runpy
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from playwright.async_api import Browser, Page

pytestmark = pytest.mark.browser
CONTENT = Path(__file__).resolve().parents[3] / "content"
# The player's part: remembers values, counts interactions, and fails to commit when told to.
PLAYER = """<!doctype html><script>
window.values = Object.assign({"cmi.core.lesson_status": "not attempted", "cmi.student_data.mastery_score": "80"},
  JSON.parse(localStorage.getItem("values") || "{}"));
window.calls = [];
window.broken = false;
const keep = () => localStorage.setItem("values", JSON.stringify(window.values));
window.API = {
  LMSInitialize: () => "true",
  LMSGetValue: (n) => n.endsWith("interactions._count")
    ? String(new Set(Object.keys(values).map((k) => /interactions\\.(\\d+)/.exec(k)?.[1]).filter(Boolean)).size)
    : values[n] ?? "",
  LMSSetValue: (n, v) => { values[n] = v; return "true"; },
  LMSCommit: () => { if (window.broken) return "false"; keep(); return "true"; },
  LMSFinish: () => { calls.push("finish"); keep(); return "true"; },
  LMSGetLastError: () => (window.broken ? "391" : "0"), LMSGetErrorString: () => "Commit failed",
};
</script><iframe src="%s" style="border:0;width:100%%;height:95vh"></iframe>"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The packed courses, unpacked, each with a player."""
    for file in runpy.run_path(str(CONTENT / "pack.py"))["pack_all"](tmp_path):
        folder = tmp_path / file.name.removesuffix(".zip")
        ZipFile(file).extractall(folder)
        for page in folder.glob("*.html"):
            (folder / f"play-{page.name}").write_text(PLAYER % page.name)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
async def page(browser: Browser) -> Page:
    page = await browser.new_page()
    page.set_default_timeout(15_000)
    return page


RIGHT = {"phishing": "c", "sign-in": "b", "devices": "b", "data": "c", "incidents": "a"}


async def play(page: Page, url: str) -> Any:
    await page.goto(url)
    frame = page.frames[1]
    await frame.wait_for_function("document.getElementById('saved').textContent !== 'Loading …'")
    return frame


async def answer(frame: Any, check: str, value: str) -> None:
    form = frame.locator(f'form[data-check="{check}"]')
    await form.locator(f'input[value="{value}"]').check()
    await form.get_by_role("button", name="Check answer").click()
    await form.locator(".verdict:not(:empty)").wait_for()


async def test_a_learner_stops_comes_back_and_passes(page: Page, site: str) -> None:
    url = f"{site}/security-protocols-101-scorm12/play-index.html"
    frame = await play(page, url)
    assert await page.evaluate("values['cmi.core.lesson_status']") == "incomplete"
    await frame.get_by_role("button", name="Next").press("Enter")
    await answer(frame, "phishing", "a")
    await answer(frame, "phishing", "c")
    assert await frame.locator("#saved").get_attribute("data-state") == "saved"
    frame = await play(page, url)
    assert await frame.locator("h2:visible").text_content() == "Phishing: the message that wants you to hurry"
    assert await frame.locator("form:visible input:checked").get_attribute("value") == "c"
    for name, value in list(RIGHT.items())[1:]:
        await frame.get_by_role("button", name="Next").click()
        await answer(frame, name, "a" if name == "data" else value)
    await frame.get_by_role("button", name="Next").click()
    finish = frame.get_by_role("button", name="Finish")
    assert "80 %" in str(await frame.locator("#result").text_content())
    await finish.click()
    values = await page.evaluate("values")
    assert (values["cmi.core.lesson_status"], values["cmi.core.score.raw"]) == ("passed", "80")
    assert values["cmi.core.exit"] == ""
    assert values["cmi.core.session_time"].startswith("0000:00:")
    results = [values[f"cmi.interactions.{n}.result"] for n in range(6)]
    assert results == ["wrong", "correct", "correct", "correct", "wrong", "correct"]
    await frame.goto("about:blank")
    assert await page.evaluate("calls") == ["finish"]


async def test_too_few_right_answers_do_not_pass(page: Page, site: str) -> None:
    frame = await play(page, f"{site}/security-protocols-101-scorm12/play-index.html")
    for name in RIGHT:
        await frame.get_by_role("button", name="Next").click()
        await answer(frame, name, "d")
    await frame.get_by_role("button", name="Next").click()
    assert await frame.get_by_role("button", name="Finish").is_disabled()
    assert "80 % are needed" in str(await frame.locator("#result").text_content())
    assert await page.evaluate("values['cmi.core.lesson_status']") == "incomplete"
    assert await page.evaluate("values['cmi.core.exit']") == "suspend"


async def test_what_the_platform_did_not_keep_is_shown_as_not_saved(page: Page, site: str) -> None:
    frame = await play(page, f"{site}/security-protocols-101-scorm12/play-index.html")
    await page.evaluate("broken = true")
    await frame.get_by_role("button", name="Next").click()
    assert await frame.locator("#saved").text_content() == "Not saved: Commit failed (391)"
    await page.goto(f"{site}/security-protocols-101-scorm12/index.html")
    assert await page.locator("#saved").text_content() == "Preview: nothing is saved"


@pytest.mark.parametrize("part", ["how-we-work", "shipping-safely"])
async def test_a_part_of_the_handbook_is_completed_by_reading_it(page: Page, site: str, part: str) -> None:
    frame = await play(page, f"{site}/engineering-handbook-scorm12/play-{part}.html")
    while await frame.get_by_role("button", name="Next").is_visible():
        form = frame.locator("form.check:visible")
        if await form.count():
            check = str(await form.get_attribute("data-check"))
            await answer(frame, check, str(await form.get_attribute("data-right")))
        await frame.get_by_role("button", name="Next").click()
    await frame.get_by_role("button", name="Finish").click()
    assert await page.evaluate("values['cmi.core.lesson_status']") == "completed"
    assert await page.evaluate("'cmi.core.score.raw' in values") is False


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_pages_fit_320_pixels_and_axe_finds_nothing(
    page: Page, site: str, scheme: Any, axe: Callable[[Page], Any]
) -> None:
    await page.emulate_media(color_scheme=scheme)
    for name in ("security-protocols-101-scorm12/index", "engineering-handbook-scorm12/how-we-work",
                 "engineering-handbook-scorm12/shipping-safely"):  # fmt: skip
        await page.goto(f"{site}/{name}.html")
        steps = page.locator(".steps button")
        for n in range(await steps.count()):
            await steps.nth(n).click()
            for width in (320, 1440):
                await page.set_viewport_size({"width": width, "height": 800})
                over = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
                assert over <= 0, (name, n, width)
                if folder := os.environ.get("LYCEUM_SCREENSHOTS"):
                    shot = f"{folder}/{name.replace('/', '-')}-{n}-{width}-{scheme}.png"
                    await page.screenshot(path=shot, full_page=True)
            assert await axe(page) == []


@pytest.fixture
def axe() -> Callable[[Page], Any]:
    """The ids of serious and critical faults that axe finds."""
    from axe_playwright_python.async_playwright import Axe

    async def run(page: Page) -> list[str]:
        checker: Any = Axe()
        found: dict[str, Any] = (await checker.run(page)).response
        return [v["id"] for v in found["violations"] if v["impact"] in ("serious", "critical")]

    return run
