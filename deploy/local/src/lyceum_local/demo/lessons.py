"""What the demo's courses ask of a learner, read from content/: pages and checks of packages, questions of quizzes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Check:
    """A knowledge check of a package."""

    name: str
    right: str
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    id: str
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Sco:
    """A part of a package: its pages in order, and the percentage its checks need, if they count."""

    pages: tuple[Page, ...]
    needed: float | None = None

    @property
    def checks(self) -> list[Check]:
        return [check for page in self.pages for check in page.checks]


@dataclass(frozen=True)
class Lessons:
    scos: Mapping[str, Sco]  # by launch path
    questions: Mapping[str, Mapping[str, Any]]  # by id, as content/quizzes has them


def read(content: Path) -> Lessons:
    scos: dict[str, Sco] = {}
    for file in sorted((content / "packages").glob("*/package.json")):
        for sco in json.loads(file.read_text())["scos"]:
            scos[sco["launch"]] = read_sco((file.parent / sco["launch"]).read_text())
    questions = {
        question["question_id"]: question
        for file in sorted((content / "quizzes").glob("*.json"))
        for question in json.loads(file.read_text())["questions"]
    }
    return Lessons(scos, questions)


def read_sco(html: str) -> Sco:
    """PURE. A page of content/packages, as packages/shared/course.js understands it."""
    reader = _Reader()
    reader.feed(html)
    pages = tuple(
        Page(page, tuple(Check(name, right, tuple(choices)) for name, right, choices in checks))
        for page, checks in reader.pages
    )
    return Sco(pages, reader.needed)


_Found = tuple[str, list[tuple[str, str, list[str]]]]  # a page's id, and its checks


@dataclass
class _Reader(HTMLParser):
    pages: list[_Found] = field(default_factory=list[_Found])
    needed: float | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        match tag:
            case "main" if "data-mastery" in named:
                self.needed = float(named["data-mastery"])
            case "section" if "data-page" in named:
                self.pages.append((named["id"], []))
            case "form" if "data-check" in named:
                self.pages[-1][1].append((named["data-check"], named["data-right"], []))
            case "input" if named.get("name") == "answer":
                self.pages[-1][1][-1][2].append(named["value"])
            case _:
                pass
