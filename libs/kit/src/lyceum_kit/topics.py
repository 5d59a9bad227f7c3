"""The feeds of proto/topics.yaml, and the message classes that may travel on each."""

import importlib
import zlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml
from google.protobuf.message import Message

import lyceum


@dataclass(frozen=True)
class Feed:
    name: str
    topic: str
    producer: str
    package: str
    partitions: int
    retention_days: int
    consumers: tuple[str, ...]
    messages: dict[str, type[Message]]  # full type name -> class

    def partition_of(self, key: str) -> int:
        """CRC-32 (ISO 3309) of the key, modulo: stable across versions and languages, as a feed needs it to be."""
        return zlib.crc32(key.encode()) % self.partitions


def _messages(package: str) -> dict[str, type[Message]]:
    """The events of a package: its messages but for those that only stand inside others, such as Job."""
    module = importlib.import_module(f"{package}.events_pb2")
    described = module.DESCRIPTOR.message_types_by_name
    parts = {f.message_type.full_name for m in described.values() for f in m.fields if f.message_type}
    return {m.full_name: getattr(module, name) for name, m in described.items() if m.full_name not in parts}


@cache
def feeds() -> dict[str, Feed]:
    """Every feed by name."""
    registry = yaml.safe_load((files(lyceum) / "topics.yaml").read_text())["feeds"]
    return {
        name: Feed(
            name=name,
            topic=entry["topic"],
            producer=entry["producer"],
            package=entry["package"],
            partitions=entry["partitions"],
            retention_days=entry["retention_days"],
            consumers=tuple(entry["consumers"]),
            messages=_messages(entry["package"]),
        )
        for name, entry in registry.items()
    }


@cache
def spelled(type_name: str) -> str:
    """`lyceum.identity.v1.UserProvisioned` as prose, logs and metrics spell it: `user-provisioned`."""
    name = type_name.rpartition(".")[2]
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")
