"""What a run of the demo keeps for the next one and for programs: DATA/demo.json, readable by its owner alone."""

import json
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Memory:
    """Secrets of the demo's tenant, what was measured, and how it ended (`outcome`)."""

    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    people: int = 0
    client: dict[str, str] = field(default_factory=dict[str, str])
    webhook: dict[str, str] = field(default_factory=dict[str, str])
    bamboohr: dict[str, Any] = field(default_factory=dict[str, Any])
    learned: bool = False  # everybody has, as far as they wanted to
    hire_ms: dict[str, float] = field(default_factory=dict[str, float])
    outcome: dict[str, Any] = field(default_factory=dict[str, Any])


def recall(file: Path) -> Memory | None:
    return Memory(**json.loads(file.read_text())) if file.exists() else None


def keep(file: Path, memory: Memory, **changed: Any) -> Memory:
    """Atomically, so that a kill leaves the old file or the new one."""
    memory = replace(memory, **changed)
    new = file.with_name(f"{file.name}.new")
    new.touch(mode=0o600)
    new.write_text(json.dumps(asdict(memory), indent=1, ensure_ascii=False))
    new.replace(file)
    return memory
