"""What the platform costs when nobody uses it: starting, idling, memory."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil
from rich.console import Console

from benchmarks.figures import Figure
from lyceum_local import lifecycle, supervisor
from lyceum_local.demo.play import play
from lyceum_local.demo.screen import Screen
from lyceum_local.testing import Platform, installation

ROUNDS = 3


@dataclass(frozen=True)
class Size:
    people: int  # of the demo
    idle: float  # seconds


FULL = Size(people=300, idle=20)
SHORT = Size(people=10, idle=1)


async def run(size: Size) -> list[Figure]:
    return await asyncio.to_thread(_run, size)


def _run(size: Size) -> list[Figure]:
    with installation() as platform:
        with Path("/dev/null").open("w") as nowhere:
            play(platform.config, Screen(Console(file=nowhere)), people=size.people)
        asyncio.run(platform.settled())
        memory = sum(lifecycle.memory(platform.config.data).values()) / 1000
        starts = [_start(platform) for _ in range(ROUNDS)]
        asyncio.run(platform.settled())
        time.sleep(size.idle)  # caches and connection pools come to rest
        idle = [_idle(platform, size.idle) for _ in range(ROUNDS)]
    return [
        Figure("lyceum up, everything cached", median(starts), "s", 10),
        Figure(
            "idle, everything with Kafka",
            median(idle),
            "% of a core",
            10,
            because="Half is Kafka's JVM, a third the four services, which look at timers, outbox and feeds once a second",
        ),
        Figure(f"memory of all parts after the demo with {size.people} people (PSS)", memory, "GB", 1.3),
    ]


def _start(platform: Platform) -> float:
    platform.down()
    began = time.perf_counter()
    platform.up()
    return time.perf_counter() - began


def _idle(platform: Platform, seconds: float) -> float:
    before, began = _cpu(platform), time.perf_counter()
    time.sleep(seconds)
    return (_cpu(platform) - before) / (time.perf_counter() - began) * 100


def _cpu(platform: Platform) -> float:
    used = 0.0
    for state in supervisor.read_run(platform.config.data):
        process = supervisor.living(state.pid, state.born)
        if process is None:
            continue
        # PostgreSQL's children come and go: what those that are gone have used is their parent's `children_*`.
        family = [process] if state.name == "supervisor" else [process, *process.children(recursive=True)]
        for member in family:
            try:
                times = member.cpu_times()
            except psutil.NoSuchProcess:
                continue
            used += times.user + times.system
        if state.name != "supervisor":
            times = process.cpu_times()
            used += times.children_user + times.children_system
    return used
