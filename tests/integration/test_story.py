"""The story: an HR webhook becomes a verified certificate and a number on a dashboard, through the real web app."""

import re
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest
from joserfc import jwt
from joserfc.errors import BadSignatureError
from playwright.async_api import Browser, expect

from lyceum_local.testing import Platform, operators_sql
from lyceum_local.testing.school import open_school, until
from tests.integration.story.certificates import public_page_says, revoked, signed_by_its_issuer, text_of
from tests.integration.story.learner import (
    CHECKS,
    answer_all,
    check,
    content,
    finish,
    hand_in,
    leave,
    open_course,
    take_quiz,
)
from tests.integration.story.numbers import by_grpc, on_the_dashboard
from tests.integration.story.world import Story

pytestmark = pytest.mark.browser
expect.set_options(timeout=30_000)

ENGINEERING = {"attribute": "department", "operator": "is", "value": "Engineering"}
SALES = {"attribute": "department", "operator": "is", "value": "Sales"}
ONBOARDING = ("engineering-handbook", "secure-coding-basics", "engineering-onboarding-assessment")
REQUIRED = {"security-protocols-101", *ONBOARDING, "workplace-safety-essentials"}


@pytest.fixture
async def story(platform: Platform, browser: Browser) -> AsyncIterator[Story]:
    async with open_school(platform) as school:
        context = await browser.new_context(
            base_url=platform.config.app_origin, viewport={"width": 1280, "height": 900}, locale="en-GB"
        )
        context.set_default_timeout(30_000)
        with operators_sql(platform.config) as sql:
            yield Story(school, browser, await context.new_page(), sql)
        await context.close()


async def test_a_hire_becomes_a_certificate_and_a_number(story: Story) -> None:
    school = story.school
    await school.publish()
    await school.rule(
        "Engineering basics",
        ENGINEERING,
        courses=["security-protocols-101"],
        paths=["engineering-onboarding"],
    )
    await school.rule("Safety in Engineering", ENGINEERING, courses=["workplace-safety-essentials"])
    await school.rule("Sales start", SALES, courses=["code-of-conduct", "sales-essentials"], due_in_days=14)
    await an_hr_system_hires_ada(story)
    await the_rules_enrol_her_and_nobody_else(story)
    await she_signs_in_and_sees_what_is_due_and_why(story)
    await she_plays_suspends_resumes_and_finishes_a_package(story)
    await she_follows_the_path_to_its_quiz(story)
    await she_fails_the_quiz_and_passes_it(story)
    await her_certificate_is_in_her_record(story)
    await anybody_can_verify_it(story)
    await a_name_of_another_script_is_certified_and_revoked(story)
    await the_dashboard_counts_the_same_everywhere(story)
    await hr_moves_her_to_sales(story)
    await she_leaves(story)


async def an_hr_system_hires_ada(story: Story) -> None:
    school = story.school
    grace = await school.hire("Grace Hopper", "Research", job_title="Head of Engineering")
    await school.hire("Linus Sales", "Finance")
    ada = await school.hire(
        "Ada Lovelace", "Engineering", job_title="Software Engineer", manager_external_id="grace"
    )
    story.people |= {"Ada": ada, "Grace": grace}
    person = await school.ask("GET", f"identity/people/{ada}")
    assert (person["department"], person["location"], person["manager_id"], person["status"]) == (
        "Engineering",
        "Berlin",
        grace,
        "active",
    )
    await until(lambda: story.events("identity"), lambda seen: seen == ["user-provisioned"])


async def the_rules_enrol_her_and_nobody_else(story: Story) -> None:
    found = await until(story.school.enrollments, lambda e: len(e) >= len(REQUIRED))
    assert {e["person_id"] for e in found} == {story.people["Ada"]}
    assert {e["course_slug"] for e in found} == REQUIRED
    due = datetime.now(ZoneInfo("Europe/Berlin")).date() + timedelta(days=30)
    assert {date.fromisoformat(e["due_date"]) for e in found} == {due}
    by_slug = {e["course_slug"]: e for e in found}
    assert by_slug["security-protocols-101"]["why"] == [
        "Because department is Engineering (rule Engineering basics, version 1)"
    ]
    assert by_slug["secure-coding-basics"]["why"] == [
        "Part of the path Engineering Onboarding, which you follow because department is Engineering"
        " (rule Engineering basics, version 1)"
    ]
    assert {s for s, e in by_slug.items() if e["locked"]} == set(ONBOARDING[1:])
    seen = await until(
        lambda: story.events("enrollment"), lambda seen: seen.count("learner-enrolled") == len(REQUIRED)
    )
    assert seen.count("path-assigned") == 1


async def she_signs_in_and_sees_what_is_due_and_why(story: Story) -> None:
    page = story.page
    await page.goto("/")
    await expect(page).to_have_url(re.compile("/sign-in"))
    await page.get_by_label("Find a person").fill(story.school.tenant.slug)
    await page.get_by_role("button", name="Ada Lovelace").click()
    await expect(page.get_by_role("heading", name="Hello, Ada Lovelace")).to_be_visible()
    cards = page.locator(".resume, li.linkcard")
    await expect(cards).to_have_count(len(REQUIRED))
    card = cards.filter(has=page.get_by_role("link", name="Security Protocols 101"))
    await expect(card.get_by_text("Due ")).to_be_visible()
    await card.get_by_text("Why do I have this?").click()
    await expect(card.get_by_text("Because department is Engineering")).to_be_visible()
    await expect(page.get_by_role("region", name="Path Engineering Onboarding")).to_contain_text(
        "0 of 3 courses"
    )


async def she_plays_suspends_resumes_and_finishes_a_package(story: Story) -> None:
    page = story.page
    await page.get_by_role("link", name="Security Protocols 101").first.click()
    await page.get_by_role("link", name="Start", exact=True).click()
    package = content(page)
    await package.get_by_role("button", name="Phishing").click()
    await check(package, "phishing", CHECKS["phishing"])
    await package.get_by_role("button", name="Devices").click()
    await expect(page.get_by_role("status").get_by_text("Saved")).to_be_visible()
    await leave(page, "Security Protocols 101")
    assert (await story.state("security-protocols-101"))["modules_done"] == 0

    await page.get_by_role("link", name="Start", exact=True).click()  # no module is done yet
    package = content(page)
    await expect(package.get_by_role("heading", name="Laptops, phones")).to_be_visible()
    await package.get_by_role("button", name="Phishing").click()
    await expect(package.locator('[data-check="phishing"] input[value="c"]')).to_be_checked()
    await finish(page)
    await leave(page, "Security Protocols 101")
    await expect(page.get_by_text("Completed", exact=True)).to_be_visible()
    seen = await until(lambda: story.events("assessment"), lambda seen: "module-completed" in seen)
    assert seen.count("session-launched") == 2
    await until(lambda: story.events("enrollment"), lambda seen: seen.count("course-completed") == 1)


async def she_follows_the_path_to_its_quiz(story: Story) -> None:
    page = story.page
    await open_course(page, "engineering-onboarding-assessment")
    await expect(page.get_by_text("Locked for now")).to_be_visible()
    await open_course(page, "engineering-handbook")
    for link in ("Start: How we work", "Continue: Shipping safely"):
        await page.get_by_role("link", name=link).click()
        await finish(page)
        await leave(page, "Engineering Handbook")
    await expect(page.get_by_text("Completed", exact=True)).to_be_visible()

    await until(lambda: story.state("secure-coding-basics"), lambda e: not e["locked"])
    await open_course(page, "secure-coding-basics")
    await page.get_by_role("link", name="Start: Six habits of secure code").click()
    await page.get_by_role("button", name="Mark as read").click()
    await page.get_by_role("link", name="Next: Secure coding quiz").click()
    await take_quiz(page)
    await expect(page.get_by_text("Passed", exact=True)).to_be_visible()
    await until(lambda: story.state("engineering-onboarding-assessment"), lambda e: not e["locked"])


async def she_fails_the_quiz_and_passes_it(story: Story) -> None:
    page = story.page
    await open_course(page, "engineering-onboarding-assessment")
    await page.get_by_role("link", name="Start: Engineering Onboarding quiz").click()
    await take_quiz(page, right=False)
    await expect(page.get_by_text("Not passed this time")).to_be_visible()
    await expect(page.get_by_text("4 attempts left")).to_be_visible()
    await page.get_by_role("button", name="Try again").click()
    await answer_all(page, right=True)
    await hand_in(page)
    await expect(page.get_by_text("Passed", exact=True)).to_be_visible()
    await expect(page.get_by_role("heading", name="Your certificate")).to_be_visible()
    seen = await until(lambda: story.events("assessment"), lambda seen: "certificate-issued" in seen)
    assert seen.count("assessment-failed") == 1
    assert seen.count("assessment-passed") == 2  # secure coding, and this one
    assert seen.count("answer-saved") >= 20  # ten questions, twice
    await until(
        lambda: story.events("enrollment"),
        lambda seen: seen.count("course-completed") == 4 and "path-completed" in seen,
    )


async def her_certificate_is_in_her_record(story: Story) -> None:
    page = story.page
    await page.goto("/record")
    await expect(page.get_by_role("heading", name="Engineering Onboarding Assessment")).to_be_visible()
    async with page.expect_download() as downloading:
        await page.get_by_role("button", name="PDF of Engineering Onboarding Assessment").click()
    file = await (await downloading.value).path()
    assert "Ada Lovelace" in text_of(file.read_bytes())
    await expect(page.get_by_role("table").get_by_text("graded by the server").first).to_be_visible()


async def anybody_can_verify_it(story: Story) -> None:
    certificate = await story.certificate()
    await public_page_says(story, certificate["verify_url"], "Valid", "Ada Lovelace")
    await public_page_says(story, f"/verify/{uuid4()}", "Unknown", "No such certificate")
    async with story.school.platform.http() as anyone:
        signed = (await anyone.get(f"/verify/{certificate['certificate_id']}/credential.jwt")).text
        claims, key = await signed_by_its_issuer(anyone, signed)
        assert "OpenBadgeCredential" in claims["type"]
        subject = claims["credentialSubject"]
        assert subject["id"] == f"urn:uuid:{story.people['Ada']}"
        assert subject["achievement"]["name"] == "Engineering Onboarding Assessment"
        assert not await revoked(anyone, claims)
    head, body, signature = signed.split(".")
    forged = body.replace(body[40], "A" if body[40] != "A" else "B", 1)
    with pytest.raises(BadSignatureError):
        jwt.decode(f"{head}.{forged}.{signature}", key, algorithms=["ES256"])


async def a_name_of_another_script_is_certified_and_revoked(story: Story) -> None:
    school = story.school
    story.people["山田"] = taro = await school.hire("山田 太郎", "Finance")
    await school.study(taro, "engineering-onboarding-assessment")
    certificate = await story.certificate("山田")
    async with school.platform.http() as anyone:
        pdf = await anyone.get(f"/verify/{certificate['certificate_id']}/certificate.pdf")
        assert "山田 太郎" in text_of(pdf.content)
        signed = (await anyone.get(f"/verify/{certificate['certificate_id']}/credential.jwt")).text
        claims, _ = await signed_by_its_issuer(anyone, signed)
        assert not await revoked(anyone, claims)
        await public_page_says(story, certificate["verify_url"], "Valid", "山田 太郎")
        reason = {"reason": "Issued by mistake"}
        await school.ask("POST", f"assessment/certificates/{certificate['certificate_id']}/revoke", reason)
        assert await revoked(anyone, claims)
        await public_page_says(story, certificate["verify_url"], "Revoked", "Issued by mistake")
    await until(lambda: story.events("assessment", "山田"), lambda seen: "certificate-revoked" in seen)


async def the_dashboard_counts_the_same_everywhere(story: Story) -> None:
    """Ada completed 4 of 5, 山田 1 of 1; attempts: secure coding passed, onboarding failed, passed, passed."""
    course = story.school.courses["engineering-onboarding-assessment"]
    overview = await until(
        lambda: story.school.ask("GET", "analytics/overview"), lambda o: o["completed"] == 5
    )
    counts = {
        "enrolled": 6,
        "completed": 5,
        "withdrawn": 0,
        "overdue": 0,
        "pass_rate": 0.75,
        "compliance": 1.0,
        "certificates": 1,
    }
    assert {k: overview[k] for k in counts} == counts
    assert 70 < overview["average_score"] < 100
    compliance = await story.school.ask("GET", "analytics/metrics/compliance?by=department")
    by_department = {r["key"]: r["value"] for r in compliance["rows"]}
    assert by_department == {"Engineering": 1.0, "Finance": 1.0}
    drop_off = await story.school.ask("GET", f"analytics/courses/{course}/drop-off")
    assert [(m["started"], m["completed"]) for m in drop_off["modules"]] == [(2, 2)]

    said = await by_grpc(story, course)
    assert said["overview"] == {k: pytest.approx(overview[k]) for k in (*counts, "average_score")}
    assert said["compliance"] == by_department
    assert said["drop_off"] == [(2, 2)]

    [row] = await story.sql(
        "SELECT count() AS enrolled, countIf(state = 'completed') AS completed,"
        " countIf(state = 'withdrawn') AS withdrawn, countIf(e.overdue) AS overdue,"
        " countIf(mandatory AND NOT e.overdue) / countIf(mandatory) AS compliance"
        " FROM v1_enrollments AS e WHERE tenant = {tenant:UUID}"
    )
    [graded] = await story.sql(
        "SELECT countIf(passed) / count() AS pass_rate, avg(score) AS average_score"
        " FROM v1_assessments WHERE tenant = {tenant:UUID}"
    )
    [valid] = await story.sql(
        "SELECT countIf(valid) AS certificates FROM v1_certificates WHERE tenant = {tenant:UUID}"
    )
    assert row | graded | valid == {k: pytest.approx(overview[k]) for k in (*counts, "average_score")}

    shown = await on_the_dashboard(story)
    assert shown == {
        "Enrolled": "6",
        "Completed": "5",
        "Overdue": "0",
        "Pass rate": "75 %",
        "Average score": f"{round(overview['average_score'], 1):g} %",
        "Compliance": "100 %",
        "Certificates": "1",
    }


async def hr_moves_her_to_sales(story: Story) -> None:
    today = str(datetime.now(ZoneInfo("Europe/Berlin")).date())
    await story.school.hr(
        "updated",
        external_id="ada",
        display_name="Ada Lovelace",
        department="Sales",
        location="Berlin",
        job_title="Account Executive",
        manager_external_id="grace",
        hire_date=today,
        effective_date=today,
    )
    await until(lambda: story.events("identity"), lambda seen: "user-updated" in seen)
    await until(
        story.states,
        lambda now: (
            now
            == {
                "security-protocols-101": "completed",
                **dict.fromkeys(ONBOARDING, "completed"),
                "workplace-safety-essentials": "withdrawn",
                "code-of-conduct": "active",
                "sales-essentials": "active",
            }
        ),
    )
    page = story.page
    await page.goto("/")
    await expect(page.get_by_role("link", name="Sales Essentials")).to_be_visible()
    await page.goto("/record")
    await expect(page.get_by_role("heading", name="Engineering Onboarding Assessment")).to_be_visible()


async def she_leaves(story: Story) -> None:
    ada = story.people["Ada"]
    before = await story.school.ask("GET", "assessment/records", params={"person_id": ada})
    today = str(datetime.now(ZoneInfo("Europe/Berlin")).date())
    await story.school.hr("terminated", external_id="ada", effective_date=today)
    await until(lambda: story.events("identity"), lambda seen: seen[-1] == "user-deactivated")
    await until(
        story.states,
        lambda now: sorted(now.values()) == ["completed"] * 4 + ["withdrawn"] * 3,
    )
    await until(lambda: story.events("enrollment"), lambda seen: seen.count("enrollment-withdrawn") == 3)
    after = await story.school.ask("GET", "assessment/records", params={"person_id": ada})
    assert after == before
    assert len(after["items"]) == 7  # three packages, a reading, three quiz attempts
    certificate = await story.certificate()
    await public_page_says(story, certificate["verify_url"], "Valid", "Ada Lovelace")
    overview = await until(
        lambda: story.school.ask("GET", "analytics/overview"), lambda o: o["withdrawn"] == 3
    )
    assert (overview["enrolled"], overview["completed"], overview["certificates"]) == (8, 5, 1)
    async with story.school.platform.http() as client:
        client.headers["origin"] = story.school.platform.config.app_origin
        refused = await client.post("/api/identity/sessions", json={"person_id": ada})
    assert refused.status_code == 404
    await story.page.goto("/")
    await expect(story.page).to_have_url(re.compile("/sign-in"))
