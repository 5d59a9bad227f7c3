"""Every example of every feed that enrollment consumes is taken, and its own examples are what it emits."""

from typing import Any

import pytest
from google.protobuf.message import Message

from lyceum_kit.delivery import emitted
from lyceum_kit.testing import example, unlike_examples
from lyceum_kit.topics import feeds

CONSUMED = {
    name: kind
    for feed in feeds().values()
    if "enrollment" in feed.consumers
    for name, kind in feed.messages.items()
    # An enrolment that enrollment never made cannot progress: that is parked, and has a test of its own.
    if name != "lyceum.assessment.v1.ModuleCompleted"
}


@pytest.mark.parametrize("kind", CONSUMED.values(), ids=CONSUMED)
async def test_the_producers_examples_are_taken(enrollment: Any, kind: type[Message]) -> None:
    await enrollment.deliver.again(example(kind), tenant=enrollment.tenant, stream="example/1")


async def test_the_examples_tell_adas_story_as_it_is_emitted(school: Any) -> None:
    """The fields an example fills are the fields the service fills."""
    ada = "01990000-0000-7000-8000-0000000000ad"
    security = "01990000-0000-7000-8000-0000000000c1"
    await school.rule(
        course_ids=[security], path_ids=["01990000-0000-7000-8000-0000000000f1"], due_in_days=30
    )
    await school.hire(ada)
    hers = (await school.has(ada))[security]
    for module in ("m1", "m2"):
        await school.finish(hers, module, score=90.0, assurance="server-graded")
    events = [
        e
        for e in await emitted(school.ledger, school.tenant)
        if getattr(e, "course_id", security) == security
    ]
    assert {type(e).__name__ for e in events} >= {
        "RuleDrafted",
        "RuleActivated",
        "LearnerEnrolled",
        "PathAssigned",
        "ModuleProgressed",
        "CourseCompleted",
    }
    assert unlike_examples(events) == {}
