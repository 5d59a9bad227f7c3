"""proto/gen/lyceum/asyncapi.yaml is AsyncAPI 3.0.0 and says what travels. (That it is current: `stubs_current`.)"""

import copy
import json
import os
import subprocess
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

import jsonschema_rs
import pytest
import yaml

import lyceum
from lyceum_kit.envelope import Meta, to_headers
from lyceum_kit.topics import feeds, spelled
from tests.rules.checks import BIN

SCHEMAS = "@asyncapi/specs@6.11.1"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return yaml.safe_load((files(lyceum) / "asyncapi.yaml").read_text())


@pytest.fixture(scope="module")
def specification(tmp_path_factory: pytest.TempPathFactory) -> jsonschema_rs.Validator:
    """The specification's own JSON Schema."""
    folder = tmp_path_factory.mktemp("asyncapi")
    env = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [str(BIN / "npm"), "install", "--no-audit", "--no-fund", "--ignore-scripts", SCHEMAS]
    subprocess.run([*command, "--prefix", str(folder)], env=env, capture_output=True, check=True)
    schema = Path(folder / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0-without-$id.json")
    return jsonschema_rs.validator_for(json.loads(schema.read_text()))


def test_the_document_is_asyncapi(document: dict[str, Any], specification: jsonschema_rs.Validator) -> None:
    assert [f"{e.instance_path}: {e.message}"[:300] for e in specification.iter_errors(document)] == []
    for change in ("action", "channel"):  # the control
        broken = copy.deepcopy(document)
        del broken["operations"]["identity.sends.identity"][change]
        assert not specification.is_valid(broken)


def test_every_event_is_a_message_of_its_channel(document: dict[str, Any]) -> None:
    messages = document["components"]["messages"]
    for name, feed in feeds().items():
        channel = document["channels"][name]
        assert channel["address"] == feed.topic
        assert channel["bindings"]["kafka"]["partitions"] == feed.partitions
        told = {
            messages[f"{name}.{event}"]["name"]: messages[f"{name}.{event}"] for event in channel["messages"]
        }
        assert told.keys() == feed.messages.keys()
        for full, message in told.items():
            assert message["title"] == spelled(full)
            assert message["summary"], full
        assert document["operations"][f"{feed.producer}.sends.{name}"]["action"] == "send"
        readers = {op.split(".")[0] for op in document["operations"] if op.endswith(f".receives.{name}")}
        assert readers == set(feed.consumers)


def test_its_headers_are_those_that_are_sent(document: dict[str, Any]) -> None:
    now = datetime.now(UTC)
    meta = Meta(uuid4(), "t", "s", "stream/1", 1, now, uuid4(), "identity", 0, 1, 1)
    said = document["components"]["messageTraits"]["event"]["headers"]
    assert {name for name, _ in to_headers(meta)} == said["properties"].keys()
