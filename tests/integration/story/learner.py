"""What a learner does in the browser."""

import re
from collections.abc import Mapping
from typing import Any

from playwright.async_api import FrameLocator, Page, expect

from lyceum_local.testing.school import LESSONS

CHECKS = {check.name: check.right for sco in LESSONS.scos.values() for check in sco.checks}
QUESTIONS = {question["text"]: question for question in LESSONS.questions.values()}


def content(page: Page) -> FrameLocator:
    """A package's own page: in our wrapper's frame, in the player's frame."""
    return page.frame_locator("iframe").frame_locator("iframe")


async def check(package: FrameLocator, name: str, value: str) -> None:
    form = package.locator(f'form[data-check="{name}"]')
    await form.locator(f'input[value="{value}"]').check()
    await form.get_by_role("button", name="Check answer").click()
    await expect(form.locator(".verdict")).to_have_text(re.compile("^Right"))


async def finish(page: Page) -> None:
    """Read every page, answer every check, finish."""
    package = content(page)
    await expect(package.locator("#saved")).not_to_have_text("Loading …")
    steps = package.locator(".steps button")
    for n in range(await steps.count()):
        await steps.nth(n).click()
        form = package.locator("section:not([hidden]) form.check")
        if await form.count():
            name = await form.get_attribute("data-check") or ""
            await check(package, name, CHECKS[name])
    await package.get_by_role("button", name="Finish").click()
    await expect(page.get_by_text("Completed", exact=True)).to_be_visible()


async def leave(page: Page, course: str) -> None:
    await page.get_by_role("button", name="Back", exact=True).click()
    await expect(page.get_by_role("heading", name=course, level=1)).to_be_visible()


async def open_course(page: Page, slug: str) -> None:
    await page.goto(f"/catalog/{slug}")
    await expect(page.get_by_role("heading", name="Modules")).to_be_visible()


async def take_quiz(page: Page, *, right: bool = True) -> None:
    await page.get_by_role("button", name="Start", exact=True).click()
    await answer_all(page, right=right)
    await hand_in(page)


async def answer_all(page: Page, *, right: bool) -> None:
    """Every question of the page by its text, whatever its order; wrong: the first of two is answered rightly."""
    cards = page.locator("fieldset.question")
    await cards.first.wait_for()
    count = await cards.count()
    for n in range(count):
        card = cards.nth(n)
        legend = await card.locator("legend").inner_text()
        question = QUESTIONS[legend.partition(". ")[2]]
        await answer(card, question, right=right or n % 2 == 0)
    await expect(page.locator(".dots .answered")).to_have_count(count)


async def answer(card: Any, question: Mapping[str, Any], *, right: bool) -> None:
    match question["type"]:
        case "multiple_choice" | "multiple_response":
            many = question["type"] == "multiple_response"
            for option in question["options"]:
                if option["correct"] == right:
                    await card.get_by_label(option["text"], exact=True).check()
                    if not many:
                        break
        case "numeric":
            value = question["value"] if right else question["value"] + 1000
            await card.get_by_role("textbox").fill(str(value))
        case _:
            await card.get_by_role("textbox").fill(question["accepted"][0] if right else "no idea")


async def hand_in(page: Page) -> None:
    await page.get_by_role("button", name="Review and hand in").click()
    await page.get_by_role("dialog").get_by_role("button", name="Hand in").click()
