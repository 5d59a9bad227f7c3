"""PURE: what topics.yaml and the .proto files say, as AsyncAPI 3.0.0 (https://www.asyncapi.com/docs/reference/specification/v3.0.0).

A channel for each feed, a message for each event, and who sends and receives. `generate.py` writes it beside the stubs.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

PROTOBUF = "application/vnd.google.protobuf;version=3"

# CloudEvents 1.0 in Kafka's binary mode (kafka-protocol-binding §3.2); the extensions' names are the platform's.
HEADERS: Mapping[str, tuple[str, str]] = {
    "ce_specversion": ("CloudEvents' version: 1.0.", ""),
    "ce_id": ("The event's id, a UUIDv7: handle what has the same id once.", "uuid"),
    "ce_type": ("The message's full name.", ""),
    "ce_source": ("The service that owns the fact.", "uri-reference"),
    "ce_subject": ("The stream, such as person/<id>. Opaque ids only.", ""),
    "ce_time": ("When it was recorded.", "date-time"),
    "ce_tenant": ("Whose it is.", "uuid"),
    "ce_streamversion": ("Its place in the stream, from 1.", ""),
    "ce_feedgeneration": ("Raised when a restored producer numbers anew.", ""),
    "ce_feedposition": ("Its place in this partition of the feed, from 1 without a gap.", ""),
    "ce_feedprevious": ("The id at the position before; empty at the first.", ""),
    "ce_correlationid": ("What began the chain of events.", ""),
    "ce_causationid": ("What this one follows from.", ""),
    "traceparent": ("W3C Trace Context.", ""),
    "content-type": ("application/protobuf", ""),
}
OPTIONAL = {"ce_correlationid", "ce_causationid", "traceparent"}


def document(
    feeds: Mapping[str, Mapping[str, Any]], protos: Mapping[str, str], examples: Mapping[str, Any]
) -> dict[str, Any]:
    """`feeds`: of topics.yaml. `protos`: each feed's events.proto. `examples`: by full name, in Protobuf's JSON."""
    events = {name: _events(proto) for name, proto in protos.items()}
    consumers = {name for feed in feeds.values() for name in feed["consumers"]}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Lyceum's feeds",
            "version": "1.0.0",
            "description": (
                "Every fact of the platform. Each partition is numbered from 1 without a gap: a consumer that finds"
                " one reads what is missing by gRPC (lyceum.feed.v1.EventFeed) from the service that owns the feed."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/protobuf",
        "channels": {name: _channel(name, feed, events[name]) for name, feed in feeds.items()},
        "operations": {
            f"{service}.{'sends' if sends else 'receives'}.{name}": {
                "action": "send" if sends else "receive",
                "channel": {"$ref": f"#/channels/{name}"},
                "summary": f"{service} {'owns' if sends else 'consumes'} this feed.",
            }
            for service in sorted(consumers | {feed["producer"] for feed in feeds.values()})
            for sends in (True, False)
            for name, feed in feeds.items()
            if (service == feed["producer"] if sends else service in feed["consumers"])
        },
        "components": {
            "messages": {
                f"{name}.{event}": _message(name, feed, event, protos[name], examples)
                for name, feed in feeds.items()
                for event in events[name]
            },
            "messageTraits": {"event": {"contentType": "application/protobuf", "headers": _headers()}},
            "schemas": {name: {"schemaFormat": PROTOBUF, "schema": proto} for name, proto in protos.items()},
        },
    }


def _channel(name: str, feed: Mapping[str, Any], events: list[str]) -> dict[str, Any]:
    return {
        "address": feed["topic"],
        "description": f"What happened in {feed['producer']}. The record's key is the event's {_key(feed)}.",
        "messages": {event: {"$ref": f"#/components/messages/{name}.{event}"} for event in events},
        "bindings": {
            "kafka": {
                "topic": feed["topic"],
                "partitions": feed["partitions"],
                "topicConfiguration": {"retention.ms": feed["retention_days"] * 86_400_000},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _key(feed: Mapping[str, Any]) -> str:
    return "stream" if feed["key"] == "stream" else "learner"


def _message(
    name: str, feed: Mapping[str, Any], event: str, proto: str, examples: Mapping[str, Any]
) -> dict[str, Any]:
    full = f"{feed['package']}.{event}"
    said = " ".join(comments(proto)[event].split())
    return {
        "name": full,
        "title": spelled(event),
        "summary": said.removeprefix(f"{event}: "),
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "traits": [{"$ref": "#/components/messageTraits/event"}],
        "examples": [{"name": spelled(event), "payload": examples[full]}],
        "bindings": {"kafka": {"key": {"type": "string"}, "bindingVersion": "0.5.0"}},
    }


def _headers() -> dict[str, Any]:
    return {
        "type": "object",
        "required": [header for header in HEADERS if header not in OPTIONAL],
        "properties": {
            header: {"type": "string", "description": said} | ({"format": form} if form else {})
            for header, (said, form) in HEADERS.items()
        },
    }


def spelled(event: str) -> str:
    """UserProvisioned → user-provisioned."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", event).lower()


def _events(proto: str) -> list[str]:
    """The messages but for those that only stand inside others."""
    parts = set(re.findall(r"^\s+(?:repeated |optional )?([A-Z]\w+) \w+ = \d+;", proto, re.MULTILINE))
    return [name for name in re.findall(r"^message (\w+)", proto, re.MULTILINE) if name not in parts]


def comments(proto: str) -> dict[str, str]:
    """Message → the comment right above it."""
    return dict(_comments(proto))


def _comments(proto: str) -> Iterator[tuple[str, str]]:
    above: list[str] = []
    for line in proto.splitlines():
        if line.startswith("//"):
            above.append(line.removeprefix("//").strip())
        else:
            if found := re.match(r"message (\w+)", line):
                yield found[1], "\n".join(above)
            above = []
