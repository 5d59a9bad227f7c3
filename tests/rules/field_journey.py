"""One field's way from a webhook to a rule and to a column of ClickHouse: `field_journey.py FIELD FOLDER`.

`test_guides.py` runs it over a tree that has the field.
"""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from google.protobuf.message import Message

from analytics import schema
from analytics.engine import Engine, open_engine
from analytics.projections import table
from analytics.sink import ClickHouseSink
from enrollment import rules
from enrollment.handlers import person_of
from identity import hris, person
from lyceum.identity.v1.events_pb2 import UserProvisioned
from lyceum_kit.envelope import Meta, read_record, to_headers
from lyceum_kit.ids import new_id

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ADA = "01990000-0000-7000-8000-0000000000ad"
VALUE = "CC-4711"


def hired(field: str) -> UserProvisioned:
    """HR's webhook about a hire, as the event that follows."""
    data = {"external_id": "1815", "display_name": "Ada Lovelace", field: VALUE}
    said = hris.read_event(
        {"type": "person.created", "timestamp": NOW.isoformat(), "data": data}, time_zone="UTC", now=NOW
    )
    assert said
    record = person.heard(person.Record(), said.statement, NOW)
    command = person.Settle(ADA, "hris", person.outlook(record, NOW))
    [event] = person.decide(person.Person(), command)
    assert isinstance(event, UserProvisioned)
    return event


async def column(event: Message, field: str, folder: Path) -> object:
    """What ClickHouse answers once the event is projected."""
    meta = Meta(
        id=new_id(),
        type=event.DESCRIPTOR.full_name,
        source="identity",
        stream=f"person/{ADA}",
        version=1,
        time=NOW,
        tenant=UUID(int=1),
        feed="identity",
        partition=0,
        position=1,
        generation=1,
        previous="",
    )
    record = read_record("identity", 0, b"key", event.SerializeToString(), to_headers(meta))
    engine = Engine(f"chdb://{folder}")
    await open_engine(engine)
    await schema.migrate(engine)
    await ClickHouseSink(engine).insert(table("identity"), "identity", [record])
    [row] = await engine.query(f"SELECT {field} FROM identity_events")
    await engine.close()
    return row[field]


async def main(field: str, folder: Path) -> None:
    event = hired(field)
    condition = rules.parse({"attribute": field, "operator": "is", "value": VALUE})
    assert rules.matches(condition, person_of(event).facts), "the rule does not match"
    assert await column(event, field, folder) == VALUE
    print(rules.sentence(condition))  # noqa: T201 - what the guide says


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
