"""`./lyceum bench [name …]`: run benchmarks, print the table, exit 1 where a target is missed."""

# ruff: noqa: T201 - what is printed is the result

import argparse
import asyncio
import importlib
import json
import pkgutil
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import benchmarks
from benchmarks.figures import Figure, as_json, as_markdown, machine
from lyceum_kit import collector, logs, telemetry
from lyceum_kit.settings import KitSettings

NOT_RUN = {"__main__", "figures", "parts"}


def names() -> list[str]:
    return [m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name not in NOT_RUN]


async def run(name: str, *, short: bool) -> list[Figure]:
    """Each has a `run`, and two sizes: FULL, whose figures count, and SHORT, which shows that it still runs."""
    module = importlib.import_module(f"benchmarks.{name}")
    return await module.run(module.SHORT if short else module.FULL)


def page(command: str, figures: Sequence[Figure], *, whole: bool) -> str:
    """docs/benchmarks.md."""
    about = machine()
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    return f"""# Benchmarks

Each figure stands beside a floor or a peer that was measured in the same run, by turns, on the same PostgreSQL, Kafka or
ClickHouse: read the ratios, not the absolutes. Medians of at least three. `./lyceum bench` runs them all and ends with an
error where a target is missed; `./lyceum bench rules relay` runs some; their short form, which only shows that they still
measure, is part of `./lyceum test`. PostgreSQL waits for the disk in all of them, as in production.

Last {"full run" if whole else "run, of some of them"}: {datetime.now(UTC):%d %B %Y}, by

    {command}

on {about["cores"]} cores ({about["cpu"]}), {about["memory_gb"]} GB, {about["system"]}, Python {about["python"]},
{packages}.

{as_markdown(figures)}"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="./lyceum bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(names())}; all without one")
    parser.add_argument("--short", action="store_true", help="tiny sizes: shows that they run, tells nothing")
    parser.add_argument("--page", type=Path, help="also write them as a page of the docs: docs/benchmarks.md")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names()):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    settings = KitSettings(log_format="console", log_level="ERROR")
    logs.configure(settings)
    telemetry.configure("bench", settings)  # as every service does
    collector.settle()
    figures: list[Figure] = []
    for name in arguments.names or names():
        began = time.monotonic()
        found = asyncio.run(run(name, short=arguments.short))
        print(f"{name}: {time.monotonic() - began:.0f} s\n{as_markdown(found)}", file=sys.stderr, flush=True)
        figures += found
    print(json.dumps(machine()))
    print(as_markdown(figures))
    if arguments.page:
        command = "./lyceum bench" + "".join(f" {word}" for word in sys.argv[1:])
        arguments.page.write_text(page(command, figures, whole=not arguments.names), encoding="utf-8")
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json(figures), indent=1, ensure_ascii=False))
    sys.exit(0 if all(f.met for f in figures) else 1)


if __name__ == "__main__":
    main()
