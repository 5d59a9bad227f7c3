"""Every page of the web app, in every width and colour scheme: axe finds nothing serious and nothing is cut off.

`LYCEUM_SCREENSHOTS=<folder>` also keeps a picture of each, `LYCEUM_SCENES=<name>,<name>` looks at some only.
"""

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, Request, Route, expect
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import TimeoutError as NotThere

from lyceum_local.testing import Platform
from lyceum_local.testing.school import School, open_school, until

pytestmark = pytest.mark.browser
expect.set_options(timeout=15_000)

AXE = Axe().axe_script
WIDTHS = {320: 720, 1440: 900}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
ENGINEERS = ("Łukasz Nowak", "Amara Okafor", "山田 太郎", "Inês Silva", "Leila Aziz")
SELLERS = ("Jonas Weber", "Chiara Rossi", "Elif Yılmaz", "Omar Khan")
NURSES = ("Freya Lind", "Zofia Wójcik", "Ravi Patel", "Noor Haddad", "Marta Costa", "Ida Berg")


@dataclass
class Stage:
    """An organisation in the middle of its work, and one where nothing has happened yet."""

    platform: Platform
    school: School
    people: dict[str, str] = field(default_factory=dict[str, str])
    links: dict[str, str] = field(default_factory=dict[str, str])

    @asynccontextmanager
    async def page(self, browser: Browser, person: str = "") -> AsyncGenerator[Page]:
        """A page of this person's browser; of somebody who is not signed in when nobody is named."""
        context = await browser.new_context(
            base_url=self.platform.config.app_origin, locale="en-GB", reduced_motion="reduce"
        )
        context.set_default_timeout(15_000)
        if person:
            body = {"person_id": self.people[person]}
            origin = {"origin": self.platform.config.app_origin}
            answer = await context.request.post("/api/identity/sessions", data=body, headers=origin)
            assert answer.ok
        yield await context.new_page()
        await context.close()


def department(name: str) -> dict[str, str]:
    return {"attribute": "department", "operator": "is", "value": name}


@pytest.fixture(scope="module")
async def stage(platform: Platform) -> AsyncIterator[Stage]:
    async with open_school(platform) as school, open_school(platform) as empty:
        made = Stage(platform, school)
        await asyncio.gather(populate(made), newcomer(made, empty))
        yield made


async def populate(stage: Stage) -> None:
    school, people = stage.school, stage.people
    await school.publish()
    grace = await school.hire("Grace Hopper", "Engineering", job_title="Head of Engineering")
    robin = (await school.ask("GET", "identity/people", params={"search": "Robin"}))["items"][0]
    people |= {"Grace": grace, "Robin": robin["person_id"]}
    await school.rule(
        "Engineering basics",
        department("Engineering"),
        courses=["security-protocols-101"],
        paths=["engineering-onboarding"],
    )
    await school.rule("Sales start", department("Sales"), courses=["code-of-conduct", "sales-essentials"])
    nurses = {"any": [department("Nursing"), {"not": department("Operations")}]}
    await school.rule("Safety on the wards", nurses, courses=["workplace-safety-essentials"], due_in_days=5)
    hires = [("Ada Lovelace", "Engineering"), *((n, "Engineering") for n in ENGINEERS)]
    hires += [*((n, "Sales") for n in SELLERS), *((n, "Nursing") for n in NURSES)]
    for name, unit in hires:
        boss = {"manager_external_id": "grace"} if unit == "Engineering" else {}
        people[name.partition(" ")[0]] = await school.hire(name, unit, job_title=f"{unit} specialist", **boss)
    late = {"due_date": str(datetime.now(UTC).date() - timedelta(days=9)), "carried_over": True}
    for name in ("Łukasz", "Amara"):
        await school.enrol(people[name], "code-of-conduct", **late)
    studied = [
        *((name, "workplace-safety-essentials") for name in ("Freya", "Zofia", "Ravi", "Ada")),
        *((name, "code-of-conduct") for name in ("Jonas", "Chiara", "Elif")),
        ("Jonas", "sales-essentials"),
        ("Freya", "engineering-onboarding-assessment"),
        ("Ada", "code-of-conduct"),
    ]
    await asyncio.gather(*(school.study(people[who], course) for who, course in studied))
    for who, slug, number, name in (
        ("Ada", "security-protocols-101", 0, "player"),
        ("Łukasz", "code-of-conduct", 0, "reading"),
        ("Amara", "code-of-conduct", 1, "quiz"),
        ("Łukasz", "code-of-conduct", 1, "quiz failed"),
        ("Marta", "workplace-safety-essentials", 1, "quiz passed"),
    ):
        mine = await school.enrol(people[who], slug)
        stage.links[name] = f"{mine['enrollment_id']}/{mine['modules'][number]['module_id']}"
    found = await until(
        lambda: school.ask("GET", "assessment/certificates", params={"person_id": people["Freya"]}),
        lambda answer: len(answer["items"]) == 1,
    )
    stage.links["certificate"] = found["items"][0]["certificate_id"]
    stage.links["rule"] = (await school.ask("GET", "enrollment/rules"))["items"][0]["rule_id"]
    await until(lambda: school.ask("GET", "analytics/overview"), lambda o: o["completed"] == len(studied))


async def newcomer(stage: Stage, empty: School) -> None:
    stage.people["Newcomer"] = (await empty.ask("GET", "identity/people"))["items"][0]["person_id"]


# What is looked at: a page, whose browser it is in, how it gets there, and how to tell that it is all there.


@dataclass(frozen=True)
class Scene:
    name: str
    person: str
    path: str
    shows: str
    steps: Callable[[Page], Awaitable[None]] | None = None
    routes: tuple[tuple[str, Callable[[Route], Awaitable[None]]], ...] = ()


WAITING: list[Route] = []


async def never(route: Route) -> None:
    """The answer does not come while the test looks."""
    WAITING.append(route)


async def unavailable(route: Route) -> None:
    problem = {"type": "urn:lyceum:problem:unavailable", "title": "Unavailable", "status": 503}
    await route.fulfill(status=503, json=problem, content_type="application/problem+json")


async def cut(route: Route) -> None:
    await route.abort()


async def with_parked(route: Route) -> None:
    """What identity reports, with a parked event that no healthy platform has."""
    answer = await route.fetch()
    parked = {
        "n": 1,
        "feed": "identity",
        "key": f"person/{uuid4()}",
        "type": "lyceum.identity.v1.UserUpdated",
        "partition": 4,
        "position": 218,
        "tries": 5,
        "parked_at": "2026-11-25T09:30:00Z",
        "reason": "ValueError: 'Mars/Olympus' is no time zone",
    }
    await route.fulfill(response=answer, json=await answer.json() | {"parked": [parked]})


async def play(page: Page) -> None:
    await page.frame_locator("iframe").frame_locator("iframe").locator(".steps").wait_for()


async def begin_quiz(page: Page) -> None:
    await page.get_by_role("button", name="Start", exact=True).click()
    await page.get_by_role("radio").first.check()
    await expect(page.locator(".dots .answered")).to_have_count(1)


async def ask_to_hand_in(page: Page) -> None:
    await page.get_by_role("button", name="Go on with the attempt").click()
    await page.get_by_role("button", name="Review and hand in").click()
    await page.get_by_role("dialog").get_by_text("still open").wait_for()


async def fail_quiz(page: Page) -> None:
    await page.get_by_role("button", name="Start", exact=True).click()
    await page.get_by_role("button", name="Review and hand in").click()
    await page.get_by_role("dialog").get_by_role("button", name="Hand in").click()
    await page.get_by_text("Not passed this time").wait_for()


async def find(page: Page) -> None:
    await page.keyboard.press("Control+k")
    await page.get_by_role("textbox", name="Page or course").fill("se")


async def open_menu(page: Page) -> None:
    await page.set_viewport_size({"width": 320, "height": 720})
    await page.get_by_role("button", name="Open the menu").click()


async def preview(page: Page) -> None:
    await page.get_by_role("button", name="Preview").click()
    await page.get_by_text("would be enrolled").click()


async def activate(page: Page) -> None:
    await page.get_by_role("button", name="Preview").click()
    await page.get_by_role("button", name="Activate …").click()


async def as_tables(page: Page) -> None:
    for choice in await page.get_by_text("Table", exact=True).all():
        await choice.click()


async def discard(page: Page) -> None:
    await page.get_by_role("button", name="Discard …").click()


async def why(page: Page) -> None:
    await page.get_by_text("Why do I have this?").first.click()


TODAY = "**/api/enrollment/today"
IDENTITY_FEEDS = "**/api/identity/system/feeds"
SCENES = (
    Scene("sign-in", "", "/sign-in", "Find a person"),
    Scene("sign-in-loading", "", "/sign-in", "Who are you today?", routes=(("**/personas*", never),)),
    Scene("sign-in-offline", "", "/sign-in", "did not answer", routes=(("**/personas*", cut),)),
    Scene("today", "Ada", "/", "Recently completed", why),
    Scene("today-late", "Łukasz", "/", "late"),
    Scene("today-empty", "Newcomer", "/", "You are up to date"),
    Scene("today-loading", "Ada", "/", "Hello, Ada Lovelace", routes=((TODAY, never),)),
    Scene("today-unavailable", "Ada", "/", "not available right now", routes=((TODAY, unavailable),)),
    Scene("find", "Ada", "/", "Recently completed", find),
    Scene("menu", "Grace", "/", "Due", open_menu),
    Scene("catalogue", "Ada", "/catalog", "Sales Essentials"),
    Scene("catalogue-nothing-fits", "Ada", "/catalog?q=zzz", "No course fits"),
    Scene("catalogue-empty", "Newcomer", "/catalog", "No course is published yet"),
    Scene("course", "Ada", "/catalog/security-protocols-101", "Why do I have this?"),
    Scene("course-not-enrolled", "Ada", "/catalog/sales-essentials", "You are not enrolled"),
    Scene("course-locked", "Ada", "/catalog/engineering-onboarding-assessment", "Locked for now"),
    Scene("course-completed", "Freya", "/catalog/workplace-safety-essentials", "Completed on"),
    Scene("course-unknown", "Ada", "/catalog/nothing", "There is no such course"),
    Scene("player", "Ada", "/learn/{player}", "Back", play),
    Scene("reading", "Łukasz", "/learn/{reading}", "Mark as read"),
    Scene("module-unknown", "Ada", f"/learn/{uuid4()}/{uuid4()}", "There is no such module"),
    Scene("quiz-rules", "Amara", "/quiz/{quiz}", "To pass"),
    Scene("quiz", "Amara", "/quiz/{quiz}", "To pass", begin_quiz),
    Scene("quiz-hand-in", "Amara", "/quiz/{quiz}", "To pass", ask_to_hand_in),
    Scene("quiz-failed", "Łukasz", "/quiz/{quiz failed}", "To pass", fail_quiz),
    Scene("record", "Freya", "/record", "graded by the server"),
    Scene("record-empty", "Newcomer", "/record", "No certificate yet"),
    Scene("team", "Grace", "/team", "late"),
    Scene("team-empty", "Robin", "/team", "Nobody reports to you"),
    Scene("dashboards", "Robin", "/admin/dashboards", "Where people stop"),
    Scene("dashboards-tables", "Robin", "/admin/dashboards", "Where people stop", as_tables),
    Scene("dashboards-empty", "Newcomer", "/admin/dashboards", "Trend"),
    Scene("people", "Robin", "/admin/people", "Ada Lovelace"),
    Scene("person", "Robin", "/admin/people/{Łukasz}", "Enrol by hand"),
    Scene("rules", "Robin", "/admin/rules", "Safety on the wards"),
    Scene("rules-empty", "Newcomer", "/admin/rules", "No rule yet"),
    Scene("rule-new", "Robin", "/admin/rules/new", "Engineering Onboarding"),
    Scene("rule", "Robin", "/admin/rules/{rule}", "Engineering Onboarding", preview),
    Scene("rule-activate", "Robin", "/admin/rules/{rule}", "Engineering Onboarding", activate),
    Scene("system", "Robin", "/admin/system", "All read"),
    Scene("system-parked", "Robin", "/admin/system", "no time zone", routes=((IDENTITY_FEEDS, with_parked),)),
    Scene(
        "system-discard", "Robin", "/admin/system", "no time zone", discard, ((IDENTITY_FEEDS, with_parked),)
    ),
    Scene("not-found", "Ada", "/nothing/here", "There is no page here"),
    Scene("verify-ask", "", "/verify", "Check a certificate"),
    Scene("verify-valid", "", "/verify/{certificate}", "Valid"),
    Scene("verify-unknown", "", f"/verify/{uuid4()}", "No such certificate"),
)


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


FOCUSED = """() => {
  const ringed = (node) => Boolean(node) && getComputedStyle(node).outlineStyle !== "none";
  const e = document.activeElement;
  if (!document.hasFocus() || !e?.matches("a, button, input, select, textarea, summary")) return null;
  const name = e.ariaLabel || e.labels?.[0]?.innerText || e.innerText || "";
  const box = e.getBoundingClientRect();
  const clear = document.elementsFromPoint(box.x + box.width / 2, box.y + box.height / 2);
  return {
    name: name.trim(),
    type: e.type ?? "",
    ring: ringed(e) || ringed(e.closest("li, label")),
    seen: clear.some((over) => e.contains(over) || over.contains(e)),
  };
}"""


@dataclass
class Keyboard:
    """Somebody who has only that: Tab until what is wanted has the focus, visibly."""

    page: Page

    async def press(self, key: str) -> None:
        await self.page.keyboard.press(key)

    async def write(self, text: str) -> None:
        await self.page.keyboard.type(text)

    async def find(self, text: str) -> None:
        box = self.page.get_by_role("textbox", name="Page or course")
        async with asyncio.timeout(20):
            while not await box.is_visible():  # the page may not listen yet
                await self.press("Control+k")
                with suppress(NotThere):
                    await box.wait_for(timeout=2_000)
        await self.to("Page or course")
        await self.write(text)
        await self.press("Enter")

    async def to(self, name: str, *, main: bool = False) -> None:
        def is_it(focus: dict[str, Any], at_home: bool) -> bool:
            lines = focus["name"].splitlines()
            return any(line.startswith(name) for line in lines) and (at_home or not main)

        await self._until(is_it, name)

    async def to_control(self, kind: str) -> None:
        await self._until(lambda focus, _: focus["type"] == kind, kind)

    async def _until(self, wanted: Callable[[dict[str, Any], bool], bool], what: str) -> None:
        passed: list[str] = []
        end = asyncio.get_running_loop().time() + 20  # what is wanted may be on its way
        while asyncio.get_running_loop().time() < end:
            focus, at_home = await self._focused()
            if focus and wanted(focus, at_home):
                while not focus["seen"] and asyncio.get_running_loop().time() < end:
                    focus = (await self._focused())[0] or focus  # the page is still scrolling to it
                assert focus["seen"], f"{what} has the focus behind something"
                assert focus["ring"], f"{what} does not show that it has the focus"
                return
            passed.append(focus["name"] if focus else "")
            await self.press("Tab")
        raise AssertionError(f"{what} is not reached by Tab, but {passed[-30:]}")

    async def _focused(self) -> tuple[dict[str, Any] | None, bool]:
        for frame in self.page.frames:
            try:
                found = await frame.evaluate(FOCUSED)
            except PlaywrightError:
                continue  # the frame went away meanwhile
            if found:
                return found, frame is self.page.main_frame
        return None, True
