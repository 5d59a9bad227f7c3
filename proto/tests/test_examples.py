"""Every event of every feed has an example that leaves no field out, and no example outlives its event."""

from typing import cast

import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from lyceum_kit.testing import EXAMPLES, example, filled
from lyceum_kit.topics import feeds

KINDS = {name: kind for feed in feeds().values() for name, kind in feed.messages.items()}
# False is a value like any other; and only a path's ground comes by way of a rule.
MAY_BE_EMPTY = {"mapped", "by_deadline", "ground.via"}


def fields(kind: Descriptor) -> set[str]:
    """Those that an event is filled with today."""
    found: set[str] = set()
    for field in kind.fields:
        if field.GetOptions().deprecated:
            continue
        if field.message_type and field.message_type.full_name != "google.protobuf.Timestamp":
            found |= {f"{field.name}.{inner}" for inner in fields(field.message_type)}
        else:
            found.add(field.name)
    return found


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_an_event_has_an_example_that_leaves_no_field_out(kind: type[Message]) -> None:
    assert fields(cast("Descriptor", kind.DESCRIPTOR)) - filled(example(kind)) <= MAY_BE_EMPTY


def test_every_example_is_of_an_event() -> None:
    assert {file.stem for file in EXAMPLES.iterdir()} == KINDS.keys()
