"""The examples show what assessment emits, and those of the feeds it consumes are taken."""

from typing import Any

import pytest
from google.protobuf.message import Message

from lyceum_kit.delivery import emitted
from lyceum_kit.testing import example, unlike_examples
from lyceum_kit.topics import feeds

CONSUMED = {
    name: kind
    for feed in feeds().values()
    # Its own it takes as entries of the log, which must be stored: test_log.py.
    if "assessment" in feed.consumers and feed.producer != "assessment"
    for name, kind in feed.messages.items()
}


@pytest.mark.parametrize("kind", CONSUMED.values(), ids=CONSUMED)
async def test_the_producers_examples_are_taken(world: Any, names: Any, kind: type[Message]) -> None:
    await world.deliver.again(example(kind), tenant=names.TENANT, stream="example/1")


async def test_the_examples_tell_adas_story_as_it_is_emitted(world: Any, names: Any, scorm: Any) -> None:
    await world.publish(scorm)
    token = await world.launch()
    await world.open(token)
    core = {
        "lesson_status": "passed",
        "lesson_location": "p9",
        "score": {"raw": "90"},
        "session_time": "00:01:00",
    }
    answer = await world.commit(token, 1, 1, finish=True, cmi={"core": core})
    assert answer.status_code == 200, answer.text
    await world.quiz()
    for answers in ({"phish": "b"}, names.RIGHT):
        attempt = await world.start()
        for sequence, (question, given) in enumerate(answers.items(), 1):
            await world.answer(attempt["attempt_id"], question, sequence, given)
        await world.submit(attempt["attempt_id"])
    await world.complete("e-grace", names.GRACE)
    await world.complete()
    [certificate] = (await world.call("GET", "/certificates")).json()["items"]
    revoked = await world.call(
        "POST",
        f"/certificates/{certificate['certificate_id']}/revoke",
        by="root",
        roles=("admin",),
        json={"reason": "Not hers"},
    )
    assert revoked.status_code == 204, revoked.text
    events = await emitted(world.service.ledger, names.TENANT)
    assert {type(e).__name__ for e in events} == {
        kind.DESCRIPTOR.name for kind in feeds()["assessment"].messages.values()
    }
    assert unlike_examples(events) == {}
