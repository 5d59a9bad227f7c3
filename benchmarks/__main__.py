"""`./lyceum bench [name …]`: run benchmarks, print the table, exit 1 where a target is missed."""

import argparse
import asyncio
import importlib
import json
import pkgutil
import sys
from pathlib import Path

import benchmarks
from benchmarks.figures import Figure, as_json, as_markdown, machine

NOT_RUN = {"__main__", "figures", "parts"}


def names() -> list[str]:
    return [m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name not in NOT_RUN]


def main() -> None:
    parser = argparse.ArgumentParser(prog="./lyceum bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(names())}; all without one")
    parser.add_argument("--json", type=Path, help="also write the figures there")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(names()):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    figures: list[Figure] = []
    for name in arguments.names or names():
        print(f"… {name}", file=sys.stderr, flush=True)
        figures += asyncio.run(importlib.import_module(f"benchmarks.{name}").run())
    print(json.dumps(machine()))
    print(as_markdown(figures))
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json(figures), indent=1))
    sys.exit(0 if all(f.met for f in figures) else 1)


if __name__ == "__main__":
    main()
