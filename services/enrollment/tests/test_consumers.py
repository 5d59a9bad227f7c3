"""Every example of every feed that enrollment consumes is taken, and its own examples are what it emits."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from lyceum.enrollment.v1 import events_pb2 as pb
from lyceum_kit.delivery import emitted
from lyceum_kit.topics import feeds

EXAMPLES = Path(__file__).parents[3] / "proto" / "examples"
CONSUMED = [
    name
    for feed in ("identity", "catalog")
    for name in feeds()[feed].messages
    if (EXAMPLES / f"{name}.json").is_file()
]
OWN = sorted(feeds()["enrollment"].messages)


def example(name: str, kind: Any) -> Any:
    return json_format.Parse((EXAMPLES / f"{name}.json").read_text(), kind())


@pytest.mark.parametrize("name", CONSUMED)
async def test_the_producers_examples_are_taken(enrollment: Any, name: str) -> None:
    feed = next(f for f in feeds().values() if name in f.messages)
    message = example(name, feed.messages[name])
    await enrollment.deliver.again(message, tenant=enrollment.tenant, stream="example/1")


@pytest.mark.parametrize("name", OWN)
def test_every_event_has_an_example_with_every_field_of_use(name: str) -> None:
    message = example(name, feeds()["enrollment"].messages[name])
    missing = [
        f.name for f in message.DESCRIPTOR.fields if f.name.endswith("_id") and not getattr(message, f.name)
    ]
    assert missing == []


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
    told = {m.DESCRIPTOR.full_name: m for m in await emitted(school.ledger, school.tenant)}
    for kind in (
        pb.RuleDrafted,
        pb.RuleActivated,
        pb.LearnerEnrolled,
        pb.PathAssigned,
        pb.ModuleProgressed,
        pb.CourseCompleted,
    ):
        name = kind.DESCRIPTOR.full_name
        shown = {f.name for f, _ in example(name, kind).ListFields()}
        assert shown == {f.name for f, _ in told[name].ListFields()}, name
