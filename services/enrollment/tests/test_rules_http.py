"""Rules by API: written, previewed, activated, retired. A preview is what then happens."""

from typing import Any

import pytest

from lyceum.identity.v1.events_pb2 import Job

ADA = "01990000-0000-7000-8000-0000000000ad"
HANS = "01990000-0000-7000-8000-0000000000ab"
NOBODY = "01990000-0000-7000-8000-00000000dead"
SECURITY = "01990000-0000-7000-8000-0000000000c1"
ONBOARDING = "01990000-0000-7000-8000-0000000000c2"
PITCHING = "01990000-0000-7000-8000-0000000000c3"
ENGINEERING_PATH = "01990000-0000-7000-8000-0000000000f1"
API = "/api/enrollment/rules"
ENGINEERING = {"attribute": "department", "operator": "is", "value": "Engineering"}
BODY: dict[str, Any] = {"name": "Basics", "condition": ENGINEERING, "course_ids": [SECURITY]}


async def test_a_rule_is_drafted_activated_and_retired(school: Any) -> None:
    async with school.as_("admin") as http:
        made = await http.post(API, json={**BODY, "due_in_days": 30})
        rule = made.json()
        assert made.status_code == 201
        assert made.headers["location"] == f"{API}/{rule['rule_id']}"
        assert (rule["rule_version"], rule["state"], rule["sentence"]) == (
            1,
            "draft",
            "department is Engineering",
        )
        assert (rule["condition"], rule["due_in_days"], rule["active_version"]) == (ENGINEERING, 30, None)
        one = f"{API}/{rule['rule_id']}"
        assert (await http.get(one)).json() == rule
        assert [r["rule_id"] for r in (await http.get(API)).json()["items"]] == [rule["rule_id"]]
        for _ in range(2):
            assert (await http.post(f"{one}/activate")).json()["state"] == "active"
        for _ in range(2):
            assert (await http.post(f"{one}/retire")).json()["state"] == "retired"
        assert (await http.post(f"{one}/activate")).json()["state"] == "active"
    said = await school.said(f"rule/{rule['rule_id']}")
    assert said == ["RuleDrafted", "RuleActivated", "RuleRetired", "RuleActivated"]


async def test_saving_what_is_saved_makes_no_version(school: Any) -> None:
    rule_id = await school.draft(**BODY)
    async with school.as_("admin") as http:
        assert (await http.put(f"{API}/{rule_id}", json=BODY)).json()["rule_version"] == 1
        assert (await http.put(f"{API}/{rule_id}", json={**BODY, "name": "B"})).json()["rule_version"] == 2


@pytest.mark.parametrize("roles", [("learner",), ("learner", "manager"), ("learner", "author"), ("reader",)])
async def test_only_administrators_write_rules(school: Any, roles: tuple[str, ...]) -> None:
    async with school.as_(*roles) as http:
        assert (await http.get(API)).status_code == 403
        assert (await http.post(API, json=BODY)).status_code == 403
        assert (await http.post(f"{API}/preview", json=BODY)).status_code == 403


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"condition": {"all": [ENGINEERING, {"attribute": "salary", "operator": "is", "value": "1"}]}},
         "bad-condition", "condition.all[1].attribute"),
        ({"condition": None}, "bad-condition", "condition"),
        ({"course_ids": []}, "bad-condition", "course_ids"),
        ({"course_ids": [NOBODY]}, "unknown-target", None),
        ({"path_ids": [NOBODY]}, "unknown-target", None),
        ({"course_ids": ["x"]}, "invalid", "course_ids.0"),
        ({"due_in_days": -1}, "invalid", "due_in_days"),
        ({"due_in_days": 1.5}, "invalid", "due_in_days"),
        ({"due_in_days": True}, "invalid", "due_in_days"),
        ({"name": ""}, "invalid", "name"),
        ({"on_ground_lost": "explode"}, "invalid", "on_ground_lost"),
        ({"surprise": 1}, "invalid", "surprise"),
    ],
)  # fmt: skip
async def test_a_bad_rule_is_refused_and_nothing_written(
    school: Any, change: dict[str, Any], code: str, field: str | None
) -> None:
    async with school.as_("admin") as http:
        answer = await http.post(API, json={**BODY, **change})
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (422, f"urn:lyceum:problem:{code}")
    if field:
        assert [e["field"] for e in problem["errors"]] == [field]
    assert await school.said() == []


async def test_a_condition_nested_too_deep_is_refused_not_followed(school: Any) -> None:
    text = '{"not":' * 900 + "{}" + "}" * 900
    body = f'{{"name":"x","course_ids":["{SECURITY}"],"condition":{text}}}'
    async with school.as_("admin") as http:
        answer = await http.post(API, content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)


async def test_a_preview_names_people_and_changes_nothing(school: Any) -> None:
    await school.hire(ADA, "Engineering")
    await school.hire(HANS, "Sales")
    before = await school.said()
    async with school.as_("admin") as http:
        found = (await http.post(f"{API}/preview", json=BODY)).json()
    assert found == {
        "sentence": "department is Engineering",
        "matched": 1,
        "enroll": {
            "count": 1,
            "people": [
                {"person_id": ADA, "display_name": "Person 00ad", "courses": ["Security Protocols 101"]}
            ],
        },
        "withdraw": {"count": 0, "people": []},
        "unchanged": {"count": 0},
    }
    assert await school.said() == before
    assert await school.has(ADA) == {}


async def test_a_preview_of_a_new_version_tells_who_is_withdrawn(school: Any) -> None:
    await school.hire(ADA, "Engineering")
    await school.hire(HANS, "Sales")
    rule_id = await school.rule(**BODY)
    sales = {**BODY, "condition": {**ENGINEERING, "value": "Sales"}}
    async with school.as_("admin") as http:
        as_it_is = (await http.post(f"{API}/{rule_id}/preview")).json()
        changed = (await http.post(f"{API}/{rule_id}/preview", json=sales)).json()
    assert (as_it_is["enroll"]["count"], as_it_is["withdraw"]["count"], as_it_is["unchanged"]["count"]) == (
        0,
        0,
        1,
    )
    assert [p["person_id"] for p in changed["enroll"]["people"]] == [HANS]
    assert [p["person_id"] for p in changed["withdraw"]["people"]] == [ADA]


TARGETS = [
    {"course_ids": [SECURITY]},
    {"course_ids": [SECURITY, PITCHING]},
    {"path_ids": [ENGINEERING_PATH]},
    {"course_ids": [ONBOARDING], "path_ids": [ENGINEERING_PATH]},
]
CONDITIONS: list[dict[str, Any]] = [
    ENGINEERING,
    {"not": ENGINEERING},
    {"attribute": "location", "operator": "in", "value": ["Berlin", "Munich"]},
    {"any": [ENGINEERING, {"attribute": "location", "operator": "is", "value": "Oslo"}]},
    {"attribute": "department", "operator": "is", "value": "Nowhere"},
]


@pytest.mark.parametrize("seed", range(4))
async def test_what_a_preview_says_is_what_activation_does(school: Any, ids: Any, seed: int) -> None:
    """People of all kinds, rules that overlap, courses half done, leavers: then change a rule, three times."""
    import random

    dice = random.Random(seed)
    people = [ids(0x2000 + n) for n in range(10)]
    for person in people:
        department = dice.choice(["Engineering", "Sales", "IT"])
        await school.hire(person, department, location=dice.choice(["Berlin", "Munich", "Oslo"]))
    await school.rule(name="Other", condition=CONDITIONS[2], **dice.choice(TARGETS))
    rule_id = await school.rule(name="First", condition=dice.choice(CONDITIONS), **dice.choice(TARGETS))
    for person in people:
        for enrollment in (await school.has(person)).values():
            if dice.random() < 0.4:
                await school.finish(enrollment, "m1")
    await school.leave(people[0])

    for number in range(3):
        body = {
            "name": f"Version {number}",
            "condition": dice.choice(CONDITIONS),
            "on_ground_lost": dice.choice(["keep", "withdraw_if_incomplete"]),
            **dice.choice(TARGETS),
        }
        before = {p: await school.has(p) for p in people}
        async with school.as_("admin") as http:
            promised = (await http.post(f"{API}/{rule_id}/preview", json=body)).json()
            await http.put(f"{API}/{rule_id}", json=body)
            again = (await http.post(f"{API}/{rule_id}/preview")).json()
        assert again == promised
        await school.activate(rule_id)
        after = {p: await school.has(p) for p in people}

        def active(held: dict[str, Any]) -> set[str]:
            return {e["course_title"] for e in held.values() if e["state"] != "withdrawn"}

        got = {p: active(after[p]) - active(before[p]) for p in people}
        lost = {p: active(before[p]) - active(after[p]) for p in people}
        said = {p["person_id"]: set(p["courses"]) for p in promised["enroll"]["people"]}
        gone = {p["person_id"]: set(p["courses"]) for p in promised["withdraw"]["people"]}
        assert said == {p: c for p, c in got.items() if c}
        assert gone == {p: c for p, c in lost.items() if c}
        assert promised["enroll"]["count"] == len(said)


async def test_what_conditions_may_speak_of_is_what_hr_says_of_a_job(school: Any) -> None:
    async with school.as_("admin") as http:
        items = (await http.get(f"{API}/attributes")).json()["items"]
    known = {item["attribute"]: item for item in items}
    assert known.keys() == {*Job.DESCRIPTOR.fields_by_name, "status"}
    assert known["manager_id"]["label"] == "manager"
    assert "before" in known["hire_date"]["operators"]
    assert "before" not in known["department"]["operators"]
    async with school.as_("learner") as http:
        assert (await http.get(f"{API}/attributes")).status_code == 403
