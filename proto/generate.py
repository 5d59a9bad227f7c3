"""Generate the committed stubs in proto/gen from the .proto files, and the feeds' AsyncAPI document:
`uv run python proto/generate.py`.

`--check` generates into a temporary folder and fails when the committed stubs differ (CI's drift check).
"""

import argparse
import filecmp
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from asyncapi import document

HERE = Path(__file__).parent


def generate(out: Path) -> None:
    # protoc finds its plugins by PATH: those that lie beside this Python.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    env = os.environ | {"PATH": path}
    protos = sorted(str(p.relative_to(HERE)) for p in (HERE / "lyceum").rglob("*.proto"))
    # --mypy_out gives better types than protoc's own --pyi_out: enums, repeated fields, HasField names.
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        "-I.",
        f"--python_out={out}",
        f"--mypy_out=quiet:{out}",
    ]
    services = [p for p in protos if p.endswith("_service.proto")]
    subprocess.run([*command, *protos], cwd=HERE, env=env, check=True)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            "-I.",
            f"--grpc_python_out={out}",
            f"--mypy_grpc_out=quiet,only_async:{out}",
            *services,
        ],
        cwd=HERE,
        env=env,
        check=True,
    )
    for folder in [out / "lyceum", *(p for p in (out / "lyceum").rglob("*") if p.is_dir())]:
        (folder / "__init__.py").touch()
    (out / "lyceum" / "py.typed").touch()
    shutil.copy(
        HERE / "topics.yaml", out / "lyceum" / "topics.yaml"
    )  # so that an installed package has the registry
    written = yaml.dump(described(), Dumper=Readable, sort_keys=False, allow_unicode=True, width=110)
    (out / "lyceum" / "asyncapi.yaml").write_text(written)


class Readable(yaml.SafeDumper):
    """Lines stay lines."""


def _text(_: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Readable.add_representer(str, _text)


def described() -> dict[str, Any]:
    feeds = yaml.safe_load((HERE / "topics.yaml").read_text())["feeds"]
    protos = {
        name: (HERE / feed["package"].replace(".", "/") / "events.proto").read_text()
        for name, feed in feeds.items()
    }
    examples = {file.stem: json.loads(file.read_text()) for file in (HERE / "examples").glob("*.json")}
    return document(feeds, protos, examples)


def differences(old: Path, new: Path) -> list[str]:
    names = {
        p.relative_to(base)
        for base in (old, new)
        for p in base.rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    }
    return sorted(
        str(n)
        for n in names
        if not ((old / n).is_file() and (new / n).is_file() and filecmp.cmp(old / n, new / n, shallow=False))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        generate(fresh)
        if parser.parse_args().check:
            if wrong := differences(HERE / "gen", fresh):
                raise SystemExit(
                    "stubs differ from the .proto files, run `python proto/generate.py`:\n  "
                    + "\n  ".join(wrong)
                )
            return
        shutil.rmtree(HERE / "gen", ignore_errors=True)
        shutil.copytree(fresh, HERE / "gen")


if __name__ == "__main__":
    main()
