"""Somebody who has no mouse."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import Page
from playwright.async_api import TimeoutError as NotThere

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
        async with asyncio.timeout(30):
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
        end = asyncio.get_running_loop().time() + 30  # what is wanted may be on its way
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
