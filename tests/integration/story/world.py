"""Where the story happens, and how it is asked what became of its people."""

# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# (clickhouse_connect is annotated in part only)

import asyncio
from dataclasses import dataclass, field
from typing import Any

from clickhouse_connect.driver.client import Client
from playwright.async_api import Browser, Page

from lyceum_local.testing.school import School, until


@dataclass
class Story:
    school: School
    browser: Browser
    page: Page
    clickhouse: Client
    people: dict[str, str] = field(default_factory=dict[str, str])

    async def events(self, feed: str, person: str = "Ada") -> list[str]:
        """What was said of a person on a feed, as it reached ClickHouse, in order."""
        rows = await self.sql(
            f"SELECT type FROM {feed}_events WHERE tenant = {{tenant:UUID}} AND person_id = {{person:String}}"
            " ORDER BY at, stream, stream_version",
            person=self.people[person],
        )
        return [row["type"] for row in rows]

    async def sql(self, question: str, **parameters: Any) -> list[dict[str, Any]]:
        """As the operator asks: a ClickHouse driver, the read-only endpoint."""
        bound = {"tenant": self.school.tenant.tenant_id, **parameters}
        answer: Any = await asyncio.to_thread(self.clickhouse.query, question, parameters=bound)
        return list(answer.named_results())

    async def state(self, slug: str, person: str = "Ada") -> dict[str, Any]:
        found = await self.school.enrollments(person_id=self.people[person])
        return next(e for e in found if e["course_slug"] == slug)

    async def states(self, person: str = "Ada") -> dict[str, str]:
        found = await self.school.enrollments(person_id=self.people[person])
        return {e["course_slug"]: e["state"] for e in found}

    async def certificate(self, person: str = "Ada") -> dict[str, Any]:
        found = await until(
            lambda: self.school.ask(
                "GET", "assessment/certificates", params={"person_id": self.people[person]}
            ),
            lambda answer: len(answer["items"]) == 1,
        )
        return found["items"][0]
