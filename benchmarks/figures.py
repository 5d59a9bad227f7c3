"""What a benchmark says: a figure, what it is held against, and whether the target is met."""

import os
import platform
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

PACKAGES = (
    "aiokafka", "asyncpg", "chdb", "clickhouse-connect", "eventsourcing", "fastapi", "grpcio", "protobuf",
    "pydantic", "sqlalchemy",
)  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """`value` held against `floor`, both in `unit`. The ratio must be at least, or at most, `target`.

    A limit without a peer (milliseconds, say) has no floor: then the value itself is held against the target. Without
    a target it only tells where the time goes. `because`: shown where the target is missed, the reason and what it
    would take.
    """

    name: str
    value: float
    unit: str
    target: float | None = None
    must: Literal["at least", "at most"] = "at most"
    floor: float | None = None
    against: str = ""
    note: str = ""
    because: str = ""

    @property
    def ratio(self) -> float | None:
        return None if self.floor is None else self.value / self.floor

    @property
    def met(self) -> bool:
        if self.target is None:
            return True
        held = self.value if self.ratio is None else self.ratio
        return held >= self.target if self.must == "at least" else held <= self.target


async def in_turns(
    rounds: int, ours: Callable[[], Awaitable[float]], theirs: Callable[[], Awaitable[float]]
) -> tuple[float, float]:
    """Both sides' medians, measured by turns: whatever else the machine does meets both."""
    pairs = [(await ours(), await theirs()) for _ in range(rounds)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank; `share` 0 … 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine() -> dict[str, Any]:
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def _cpu_model() -> str:
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def as_json(figures: Sequence[Figure]) -> dict[str, Any]:
    return {
        "machine": machine(),
        "figures": [{**asdict(f), "ratio": f.ratio, "met": f.met} for f in figures],
    }


def as_markdown(figures: Sequence[Figure]) -> str:
    lines = [
        "| figure | ours | held against | ratio | target | |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for f in figures:
        floor = "" if f.floor is None else f"{_number(f.floor)} {f.against}"
        ratio = "" if f.ratio is None else f"{f.ratio:.2f}"
        sign = "≥" if f.must == "at least" else "≤"
        target = (
            "" if f.target is None else f"{sign} {f.target:g}" + ("" if f.floor is not None else f" {f.unit}")
        )
        verdict = "" if f.target is None else "met" if f.met else "**missed**"
        told = ". ".join(part for part in (verdict, f.note, "" if f.met else f.because) if part)
        lines.append(f"| {f.name} | {_number(f.value)} {f.unit} | {floor} | {ratio} | {target} | {told} |")
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
