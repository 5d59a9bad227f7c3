"""Every page of the web app, in every width and colour scheme: axe finds nothing serious and nothing is cut off.

`LYCEUM_SCREENSHOTS=<folder>` also keeps a picture of each, `LYCEUM_SCENES=<name>,<name>` looks at some only.
"""

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, Request, Route, expect

from lyceum_local.testing import Platform
from lyceum_local.testing.school import open_school
from tests.integration.pages.keyboard import Keyboard
from tests.integration.pages.scenes import COURSE, COURSES, SCENES, WAITING, Scene
from tests.integration.pages.stage import Stage, newcomer, populate

pytestmark = pytest.mark.browser
expect.set_options(timeout=30_000)

AXE = Axe().axe_script
WIDTHS = {320: 720, 1440: 900}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


@pytest.fixture(scope="module")
async def stage(platform: Platform) -> AsyncIterator[Stage]:
    async with open_school(platform) as school, open_school(platform) as empty:
        made = Stage(platform, school)
        await asyncio.gather(populate(made), newcomer(made, empty))
        yield made


async def test_every_page_in_every_width_and_scheme(stage: Stage, browser: Browser) -> None:
    """Two people look at once, each at one page after the other: what they do to it stays in order."""
    chosen = os.environ.get("LYCEUM_SCENES", "").split(",")
    people: dict[str, list[Scene]] = defaultdict(list)
    for scene in SCENES:
        if chosen == [""] or scene.name in chosen:
            people[scene.person].append(scene)
    at_once = asyncio.Semaphore(2)

    async def all_of(scenes: list[Scene]) -> list[str]:
        async with at_once:
            return [fault for scene in scenes for fault in await look(stage, browser, scene)]

    faults = await asyncio.gather(*(all_of(scenes) for scenes in people.values()))
    assert [fault for of_one in faults for fault in of_one] == []


async def look(stage: Stage, browser: Browser, scene: Scene) -> list[str]:
    faults: list[str] = []
    async with stage.page(browser, scene.person) as page:
        for pattern, answer in scene.routes:
            await page.route(pattern, answer)
        await page.set_viewport_size({"width": 1440, "height": 900})
        await page.goto(scene.path.format(**stage.links, **stage.people))
        await page.get_by_text(scene.shows).or_(page.get_by_label(scene.shows)).first.wait_for()
        if scene.steps:
            await scene.steps(page)
        if not scene.routes:
            await expect(page.locator(".mantine-Skeleton-root")).to_have_count(0)
        await page.evaluate("document.fonts.ready")
        await page.evaluate("scrollTo(0, 0)")
        for scheme in SCHEMES:
            await page.emulate_media(color_scheme=scheme)
            for width, height in WIDTHS.items():
                await page.set_viewport_size({"width": width, "height": height})
                await page.evaluate(SETTLED, scheme)
                if not await fits(page):
                    faults.append(f"{scene.name} is wider than {width} px")
                await keep(page, f"{scene.name}-{width}-{scheme}")
                if KEPT or (width, scheme) in ((1440, "light"), (320, "dark")):
                    faults += [f"{scene.name} {width} {scheme}: {f}" for f in await axe(page)]
        for route in [r for r in WAITING if r.request.frame.page is page]:
            WAITING.remove(route)
            await route.abort()
    return faults


# The app has taken the scheme, and whatever moves has arrived, or went away with what it moved; placeholders pulse for ever.
SETTLED = """async (scheme) => {
  const frame = () => new Promise(requestAnimationFrame);
  const taken = () => [undefined, scheme].includes(document.documentElement.dataset.mantineColorScheme);
  const moving = () => document.getAnimations().filter((a) => a.effect.getTiming().iterations !== Infinity);
  do {
    await Promise.allSettled(moving().map((a) => a.finished));
    await frame();
    await frame();
  } while (!taken() || moving().length);
}"""


async def fits(page: Page) -> bool:
    """Nothing to scroll sideways, once the page has taken its new width."""
    end = asyncio.get_running_loop().time() + 2
    while await page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        if asyncio.get_running_loop().time() > end:
            return False
        await asyncio.sleep(0.05)
    return True


KEPT = os.environ.get("LYCEUM_SCREENSHOTS", "")


async def keep(page: Page, name: str) -> None:
    if KEPT:
        dialog = await page.get_by_role("dialog").count()
        await page.screenshot(path=Path(KEPT) / f"{name}.png", full_page=not dialog)


async def axe(page: Page) -> list[str]:
    await page.evaluate(AXE)
    found = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{v['id']} ({v['impact']}): {node['target']} {node['html'][:200]} {node['failureSummary'][:300]}"
        for v in found["violations"]
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"]
    ]


async def test_the_first_page_is_light_and_stands_still(stage: Stage, browser: Browser) -> None:
    async with stage.page(browser, "Ada") as page:
        finished: list[Request] = []
        page.on("requestfinished", lambda request: finished.append(request))  # noqa: PLW0108 - Playwright marks what it calls
        await page.goto("/")
        await page.get_by_role("heading", name="Recently completed").wait_for()
        await page.wait_for_load_state("networkidle")
        sizes: Counter[str] = Counter()
        for request in finished:
            sizes[request.resource_type] += (await request.sizes())["responseBodySize"]
        assert sizes["script"] < 190_000
        assert sizes["stylesheet"] < 40_000
        assert sizes["font"] < 60_000
        assert await page.evaluate(SHIFTED) < 0.1


# Cumulative Layout Shift until now.
SHIFTED = """new Promise((done) => {
  let sum = 0;
  const add = (list) => list.getEntries().forEach((shift) => { sum += shift.value; });
  new PerformanceObserver(add).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => done(sum), 100);
})"""


async def test_a_learner_needs_no_mouse(stage: Stage, browser: Browser) -> None:
    async with stage.page(browser) as page:
        keys = Keyboard(page)
        await page.goto("/")
        await keys.to("Find a person")
        await keys.write(stage.school.tenant.slug)
        await keys.to("Omar Khan")
        await keys.press("Enter")
        await page.get_by_role("heading", name="Hello, Omar Khan").wait_for()

        await keys.to("Skip to the content")
        await keys.press("Enter")
        await keys.to("Code of Conduct")
        await keys.press("Enter")
        # Today has a Start of its own, and stays there until the course is.
        await page.get_by_role("heading", name="Code of Conduct", level=1).wait_for()
        await keys.to("Start")
        await keys.press("Enter")
        await keys.to("Mark as read")
        await keys.press("Enter")
        await keys.to("Next: Code of conduct quiz")
        await keys.press("Enter")
        await keys.to("Start")
        await keys.press("Enter")
        await page.locator("fieldset.question").first.wait_for()
        for kind in await page.locator("fieldset.question").evaluate_all(
            "(cards) => cards.map((c) => c.querySelector('input, textarea').type)"
        ):
            await keys.to_control(kind)
            await (keys.write("no idea") if kind in ("text", "textarea") else keys.press("Space"))
        await keys.to("Review and hand in")
        await keys.press("Enter")
        await keys.to("Hand in")
        await keys.press("Enter")
        await page.get_by_role("heading", name="Question by question").wait_for()

        await page.goto("/")
        await page.get_by_role("heading", name="Hello, Omar Khan").wait_for()
        await keys.find("Security")
        await keys.to("Enrol me")
        await keys.press("Enter")
        await keys.to("Start")
        await keys.press("Enter")
        await page.frame_locator("iframe").frame_locator("iframe").locator(".steps").wait_for()
        await keys.to("Phishing")
        await keys.press("Enter")
        await keys.to_control("radio")
        await keys.press("Space")
        await keys.to("Check answer")
        await keys.press("Enter")
        await page.frame_locator("iframe").frame_locator("iframe").locator(".verdict.wrong").wait_for()
        await keys.to("Back", main=True)
        await keys.press("Enter")
        await page.get_by_role("heading", name="Security Protocols 101", level=1).wait_for()

        await keys.find("record")
        await page.get_by_role("table").get_by_text("Code of conduct quiz").wait_for()


async def test_enter_before_the_courses_are_there_opens_the_one_found(stage: Stage, browser: Browser) -> None:
    async with stage.page(browser, "Omar") as page, held(page, COURSES) as let_go:
        await page.goto("/")
        await Keyboard(page).find("Security")
        await page.get_by_text("Looking through the courses").wait_for()
        let_go.set()
        await page.get_by_role("heading", name="Security Protocols 101", level=1).wait_for()


async def test_what_is_not_there_yet_cannot_be_marked_as_read(stage: Stage, browser: Browser) -> None:
    """Nor does what has the focus move out of sight when the text comes."""
    async with stage.page(browser, "Łukasz") as page, held(page, COURSE) as let_go:
        await page.goto(f"/learn/{stage.links['reading']}")
        await page.get_by_role("heading", name="Code of conduct", level=1).wait_for()
        await page.locator("article [role=status]").wait_for(state="attached")
        assert await page.get_by_role("button", name="Mark as read").count() == 0
        let_go.set()
        await page.get_by_role("button", name="Mark as read").wait_for()


async def test_handing_in_loses_neither_the_last_letters_nor_the_result(
    stage: Stage, browser: Browser
) -> None:
    """Typing is saved when the field is left, however soon; the result comes although the answer to handing in was lost."""

    async def lose(route: Route) -> None:
        await route.fetch()
        await route.abort()

    async with stage.page(browser, "Amara") as page:
        await page.route("**/submit", lose, times=1)
        await page.clock.install()
        await page.goto(f"/quiz/{stage.links['quiz']}")
        await page.get_by_role("button", name="Start").or_(page.get_by_role("button", name="Go on")).click()
        typed = page.get_by_label("given worse shifts for it")
        await typed.wait_for()
        await page.clock.pause_at(datetime.now(UTC) + timedelta(hours=1))
        async with page.expect_request("**/answers/*"):
            await typed.fill("reprisal")
            await typed.press("Tab")
        await page.clock.resume()
        await page.get_by_role("button", name="Review and hand in").click()
        await page.get_by_role("button", name="Hand in", exact=True).click()
        await page.get_by_role("heading", name="Question by question").wait_for()
        of_it = page.locator("section.card", has_text="given worse shifts for it")
        await expect(of_it.get_by_text("Right", exact=True)).to_be_visible()


@asynccontextmanager
async def held(page: Page, pattern: str) -> AsyncGenerator[asyncio.Event]:
    """What the page asks for there comes when the event is set."""
    let_go = asyncio.Event()

    async def late(route: Route) -> None:
        await let_go.wait()
        await route.continue_()

    await page.route(pattern, late)
    try:
        yield let_go
    finally:
        let_go.set()
