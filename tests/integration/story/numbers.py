"""The numbers, as each who reads them gets them."""

from typing import Any

import grpc.aio
from playwright.async_api import expect

from lyceum.analytics.v1 import analytics_service_pb2 as pb
from lyceum.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from tests.integration.story.world import Story


async def on_the_dashboard(story: Story) -> dict[str, str]:
    """The headline, as an administrator's browser shows it."""
    people = await story.school.ask("GET", "identity/people", params={"search": "Robin"})
    context = await story.browser.new_context(base_url=story.school.platform.config.app_origin)
    page = await context.new_page()
    await page.goto("/sign-in?return=/admin/dashboards")
    await page.get_by_label("Find a person").fill(story.school.tenant.slug)
    await page.get_by_role("button", name=people["items"][0]["display_name"]).click()
    tiles = page.get_by_role("region", name="Headline").locator(".tile")
    await expect(tiles).to_have_count(7)
    texts = [(await tiles.nth(n).inner_text()).splitlines() for n in range(7)]
    await expect(page.get_by_role("region", name="Compliance by department")).to_contain_text("Engineering")
    await expect(page.get_by_role("region", name="Where people stop")).to_be_visible()
    await context.close()
    lines = [[line for line in text if line.strip()] for text in texts]
    return {line[0]: line[1].replace("\N{NO-BREAK SPACE}", " ") for line in lines}


async def by_grpc(story: Story, course: str) -> dict[str, Any]:
    config = story.school.platform.config
    metadata = (("authorization", story.school.api.headers["authorization"]),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{config.grpc_port('analytics')}") as channel:
        stub = AnalyticsServiceStub(channel)
        overview = await stub.GetOverview(pb.GetOverviewRequest(), metadata=metadata)
        asked = pb.QueryMetricRequest(metric="compliance", dimension="department")
        compliance = await stub.QueryMetric(asked, metadata=metadata)
        drop_off = await stub.GetDropOff(pb.GetDropOffRequest(course_id=course), metadata=metadata)
    fields = (f.name for f in pb.Overview.DESCRIPTOR.fields if f.name != "as_of")
    return {
        "overview": {name: getattr(overview, name) for name in fields},
        "compliance": {r.key: r.value for r in compliance.rows},
        "drop_off": [(m.started, m.completed) for m in drop_off.modules],
    }
