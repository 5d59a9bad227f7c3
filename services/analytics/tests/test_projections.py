"""Every event that is on a feed becomes one row, once, that says what the event says."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from typing import Any, cast
from uuid import UUID

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from analytics.consumers import FEEDS, Consumption
from analytics.engine import Engine
from analytics.projections import COLUMNS, columns, table
from lyceum.assessment.v1 import events_pb2 as assessment
from lyceum.identity.v1 import events_pb2 as identity
from lyceum_kit.topics import feeds, spelled

EXAMPLES = Path(__file__).parents[3] / "proto" / "examples"
TENANT = UUID(int=1)
AT = datetime(2026, 11, 2, 9, tzinfo=UTC)
# What has no column: encrypted, long, for players only, or of no use to a question.
LEFT_OUT = {
    "identity": {
        *(
            "tenant_id",
            "slug",
            "default_time_zone",
            "snapshot_id",
            "people",
            "would_deactivate",
        ),
        *("allowed_share", "decided_by", "applied", "client_id", "name", "endpoint_id", "form"),
        *("previous_valid_until",),
    },
    "catalog": {
        *("summary", "created_by", "uploaded_by", "sha256", "modules.package_id", "modules.launch_path"),
        *("modules.launch_data", "modules.quiz_id", "modules.text", "modules.mastery_score"),
        *("modules.complete_on_view", "items.prerequisite_course_ids", "items.identifier", "items.title"),
        *("items.launch_path", "items.sco", "items.mastery_score", "items.launch_data"),
    },
    "enrollment": {
        *("ground.on_ground_lost", "ground.since", "on_ground_lost", "score", "condition", "course_ids"),
        *("path_ids", "due_in_days", "drafted_by", "activated_by", "retired_by"),
    },
    "assessment": {
        *("cmi_encrypted", "reason_encrypted", "deadline_at", "answer_encrypted", "questions"),
        *("time_limit_seconds", "max_attempts", "status_index", "key_id", "credential_sha256", "revoked_by"),
    },
}


def example(name: str, kind: type[Message]) -> Message:
    return json_format.Parse((EXAMPLES / f"{name}.json").read_text(), kind())


@pytest.mark.parametrize("feed", FEEDS)
async def test_every_event_of_a_feed_shuffled_and_doubled(
    feed: str, ledgers: Any, consumption: Consumption, engine: Engine
) -> None:
    """The shared examples, each three times in a stream of its own, delivered twice in any order."""
    told: dict[str, dict[str, Any]] = {}
    for name, kind in feeds()[feed].messages.items():
        message = example(name, kind)
        told[spelled(name)] = json_format.MessageToDict(
            message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        for n in range(3):
            ledgers.append(TENANT, f"{name}/{n}", message, at=AT)
    waiting, dice = ledgers.all(feed) * 2, Random(feed)
    dice.shuffle(waiting)
    while waiting:
        batch, waiting = waiting[:20], waiting[20:]
        await consumption.intake.process(batch)

    rows = await engine.query(f"SELECT * FROM {table(feed)}")
    assert Counter(row["type"] for row in rows) == dict.fromkeys(told, 3)
    assert Counter(row["id"] for row in rows) == {UUID(record.id): 1 for record in ledgers.all(feed)}
    for row in rows:
        assert (row["decoded"], row["tenant"], row["at"]) == ("yes", TENANT, AT)
        lost = [path for path, value in leaves(told[row["type"]]) if not said(path, value, row)]
        assert set(lost) <= LEFT_OUT[feed], row["type"]


def leaves(told: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of the JSON form. A field of repeated messages has the list of its values."""
    for field, value in told.items():
        match value:
            case {}:
                yield from leaves(cast("Mapping[str, Any]", value), f"{path}{field}.")
            case [{}, *_]:
                items = cast("list[Mapping[str, Any]]", value)
                together = {name: [item.get(name) for item in items] for name in items[0]}
                yield from leaves(together, f"{path}{field}.")
            case _:
                yield f"{path}{field}", value


def said(path: str, value: Any, row: Mapping[str, Any]) -> bool:
    """Does a column say it: the one of that name where there is one, else any?"""
    candidates = [row[path]] if path in row else row.values()
    return any(spell(value) == spell(candidate) for candidate in candidates)


def spell(value: Any) -> Any:
    """One spelling for JSON's values and ClickHouse's: of times, whole numbers, enumerations."""
    match value:
        case list() | tuple():
            return [spell(item) for item in cast("list[Any]", value)]
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
        case int() | float():
            return str(float(value))
        case str() if value.removeprefix("-").isdigit():
            return str(float(value))
        case str():
            for prefix in ("EMPLOYMENT_STATUS_", "MODULE_KIND_", "GROUND_KIND_"):
                if value.startswith(prefix):
                    return value.removeprefix(prefix).lower()
            return value
        case _:
            return value


async def test_what_cannot_be_read_becomes_a_row_that_says_so(
    ledgers: Any, consumption: Consumption, engine: Engine
) -> None:
    person = identity.UserProvisioned(person_id="p1")
    ledgers.append(TENANT, "person/p1", person)
    ledgers.append(TENANT, "person/p1", person, type="lyceum.identity.v1.UserCloned")
    ledgers.append(TENANT, "person/p1", person, body=b"\xff\xff\xff")
    ledgers.append(TENANT, "person/p1", person)
    await consumption.intake.process(ledgers.all())
    rows = await engine.query("SELECT type, decoded, person_id FROM identity_events ORDER BY position")
    assert [tuple(row.values()) for row in rows] == [
        ("user-provisioned", "yes", "p1"),
        ("user-cloned", "unknown-type", ""),
        ("user-provisioned", "broken", ""),
        ("user-provisioned", "yes", "p1"),
    ]
    status = await consumption.status()
    assert [tuple(row.values()) for row in status["undecoded"]] == [
        ("identity", "user-cloned", "unknown-type", 1),
        ("identity", "user-provisioned", "broken", 1),
    ]


@pytest.mark.parametrize("feed", FEEDS)
async def test_what_no_event_of_a_block_speaks_of_is_left_to_the_table(
    feed: str, ledgers: Any, consumption: Consumption, engine: Engine
) -> None:
    kind = next(iter(feeds()[feed].messages.values()))
    record = ledgers.append(TENANT, "stream/1", kind(), type=f"lyceum.{feed}.v1.Unheard")
    assert not COLUMNS[feed].keys() & columns(feed, [record])
    await consumption.intake.process(ledgers.all(feed))
    [row] = await engine.query(f"SELECT * FROM {table(feed)}")
    assert {name: row[name] for name in COLUMNS[feed]} == {
        name: [] if default == () else default for name, default in COLUMNS[feed].items()
    }


@pytest.mark.parametrize(
    ("message", "column", "value"),
    [
        (assessment.AssessmentPassed(score=float("nan")), "score", None),  # it would spoil every mean
        (assessment.AssessmentPassed(score=0.0), "score", 0.0),
        (assessment.ModuleCompleted(), "score", None),
        (assessment.ModuleCompleted(score=0.0), "score", 0.0),
        (assessment.AssessmentFailed(), "attempts_left", None),
        (assessment.AssessmentFailed(attempts_left=0), "attempts_left", 0),
        (identity.UserProvisioned(), "status", ""),
        (identity.UserProvisioned(job=identity.Job(hire_date="soon")), "hire_date", None),
        (identity.UserProvisioned(job=identity.Job(hire_date="0001-01-01")), "hire_date", None),
        (identity.UserProvisioned(job=identity.Job(hire_date="1960-02-29")), "hire_date", date(1960, 2, 29)),
    ],
)
def test_what_is_absent_and_what_is_nothing(
    message: Message, column: str, value: object, ledgers: Any
) -> None:
    record = ledgers.append(TENANT, "stream/1", message)
    feed = message.DESCRIPTOR.full_name.split(".")[1]
    assert columns(feed, [record])[column] == [value]


def test_an_event_without_a_moment_of_its_own_happened_when_it_was_recorded(ledgers: Any) -> None:
    at = datetime(2026, 11, 2, 9, 0, 0, 123_457, UTC)
    record = ledgers.append(TENANT, "person/p1", identity.RolesChanged(person_id="p1"), at=at)
    found = columns("identity", [record])
    assert found["occurred_at"] == found["at"] == [1_793_610_000_123_457]
    assert datetime.fromtimestamp(1_793_610_000, UTC) == at.replace(microsecond=0)
