"""What a benchmark says: a figure, what it is held against, and whether the target is met. PURE."""

import platform
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Literal


@dataclass(frozen=True)
class Figure:
    """`value` held against `floor`, both in `unit`. The ratio must be at least, or at most, `target`.

    A limit without a peer (milliseconds, say) has no floor: then the value itself is held against the target.
    """

    name: str
    value: float
    unit: str
    target: float
    must: Literal["at least", "at most"]
    floor: float | None = None
    against: str = ""
    note: str = ""

    @property
    def ratio(self) -> float | None:
        return None if self.floor is None else self.value / self.floor

    @property
    def met(self) -> bool:
        held = self.value if self.ratio is None else self.ratio
        return held >= self.target if self.must == "at least" else held <= self.target


def median_of(times: int, measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(times))


def percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank; `share` 0 … 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine() -> dict[str, Any]:
    import os

    packages = (
        "aiokafka",
        "asyncpg",
        "chdb",
        "clickhouse-connect",
        "eventsourcing",
        "fastapi",
        "grpcio",
        "protobuf",
    )
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "packages": {name: version(name) for name in packages},
    }


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
        target = f"{sign} {f.target:g}" + ("" if f.floor is not None else f" {f.unit}")
        verdict = "met" if f.met else "**missed**"
        lines.append(
            f"| {f.name} | {_number(f.value)} {f.unit} | {floor} | {ratio} | {target} | {verdict} {f.note} |"
        )
    return "\n".join(lines) + "\n"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
