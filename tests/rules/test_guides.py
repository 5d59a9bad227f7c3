"""The guides do what they say: their diffs are applied to a copy of the project, and the copy is tried."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.rules.checks import PACKAGES, ran
from tests.rules.test_planted_faults import copied

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "add-an-event-field.md"
JOURNEY = Path(__file__).with_name("field_journey.py")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    copied(tmp_path, ("pyproject.toml", "proto", *PACKAGES))
    return tmp_path


def travels(tree: Path) -> str:
    """What goes wrong on the field's way from webhook to rule and column; nothing when it arrives."""
    return ran(tree, "python", str(JOURNEY), "cost_center", str(tree / "clickhouse"))


def test_a_new_field_takes_five_files_from_webhook_to_rule_and_column(tree: Path) -> None:
    diffs = re.findall(r"```diff\n(.+?)```", GUIDE.read_text(), re.S)
    written = [re.findall(r"^\+\+\+ b/(\S+)", diff, re.M) for diff in diffs]
    assert len({file for files in written for file in files}) <= 5
    assert "must be one of" in travels(tree)  # without the field: no such attribute
    subprocess.run(["git", "apply", "-"], cwd=tree, input="".join(diffs), text=True, check=True)
    assert "identity/v1/events_pb2.py" in ran(tree, "python", "proto/generate.py", "--check")
    assert ran(tree, "python", "proto/generate.py") == ""
    assert ran(tree, "buf", "lint", folder="proto") == ""
    assert ran(tree, "buf", "breaking", "--against", "released.binpb", folder="proto") == ""
    assert travels(tree) == ""
