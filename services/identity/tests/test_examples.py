"""The shared examples are what identity really emits: readable, complete, and shaped alike."""

from pathlib import Path

import pytest
from google.protobuf import json_format

from lyceum_kit.topics import feeds

EXAMPLES = Path(__file__).parents[3] / "proto" / "examples"
# Job is a part of events, never one itself.
MESSAGES = {n: m for n, m in feeds()["identity"].messages.items() if n != "lyceum.identity.v1.Job"}


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_every_message_has_an_example_that_leaves_no_field_out(name: str) -> None:
    message = json_format.Parse((EXAMPLES / f"{name}.json").read_text(), MESSAGES[name]())
    unset = {f.name for f in message.DESCRIPTOR.fields} - {f.name for f, _ in message.ListFields()}
    assert unset <= {"mapped"}  # false is its own default
