"""An organisation in the middle of its work, and one where nothing has happened yet."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from playwright.async_api import Browser, Page

from lyceum_local.testing import Platform
from lyceum_local.testing.school import School, until

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
        context.set_default_timeout(30_000)
        if person:
            body = {"person_id": self.people[person]}
            origin = {"origin": self.platform.config.app_origin}
            answer = await context.request.post("/api/identity/sessions", data=body, headers=origin)
            assert answer.ok
        page = await context.new_page()
        try:
            yield page
        except Exception as failure:
            failure.add_note(f"The page was at {page.url}:\n{await page.locator('body').aria_snapshot()}")
            raise
        finally:
            await context.close()


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


def department(name: str) -> dict[str, str]:
    return {"attribute": "department", "operator": "is", "value": name}
