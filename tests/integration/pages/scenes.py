"""What is looked at: a page, whose browser it is in, how it gets there, and how to tell that it is all there."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import uuid4

from playwright.async_api import Page, Route, expect


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


async def find_nothing_yet(page: Page) -> None:
    await find(page)
    await page.get_by_text("Looking through the courses").wait_for()


async def find_in_vain(page: Page) -> None:
    await find(page)
    await page.get_by_text("not available right now").wait_for()


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


COURSES = "**/api/catalog/courses?*"
COURSE = "**/api/catalog/courses/*"
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
    Scene("find-loading", "Ada", "/", "Recently completed", find_nothing_yet, routes=((COURSES, never),)),
    Scene(
        "find-unavailable", "Ada", "/", "Recently completed", find_in_vain, routes=((COURSES, unavailable),)
    ),
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
    Scene("reading-loading", "Łukasz", "/learn/{reading}", "Back", routes=((COURSE, never),)),
    Scene(
        "reading-unavailable",
        "Łukasz",
        "/learn/{reading}",
        "not available right now",
        routes=((COURSE, unavailable),),
    ),
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
