"""The guides do what they say: their diffs are applied to a copy of the project, and the copy is tried."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.rules.checks import PACKAGES, ran
from tests.rules.test_planted_faults import copied

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "add-an-event-field.md"
CONDITIONS = ROOT / "docs" / "guides" / "add-a-rule-condition.md"
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


CONDITION = """
from enrollment.rules import parse, matches, sentence
from enrollment.rules.sql import where
it = parse({"attribute": "job_title", "operator": "contains", "value": "nurse"})
assert sentence(it) == "job title contains nurse"
assert matches(it, {"job_title": "Head nurse"}) and not matches(it, {"job_title": "Cook"})
assert "LIKE '%' ||" in str(where(it))
"""


def test_a_new_operator_takes_three_files_and_a_property_test(tmp_path: Path) -> None:
    diffs = re.findall(r"```diff\n(.+?)```", CONDITIONS.read_text(), re.S)
    files = re.findall(r"^\+\+\+ b/(\S+)", "".join(diffs), re.M)
    copied(tmp_path, ("proto/gen", "libs/kit/src", "services/enrollment/src", *files))
    assert "must be one of" in ran(tmp_path, "python", "-c", CONDITION)  # without the steps: no such operator
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input="".join(diffs), text=True, check=True)
    assert ran(tmp_path, "python", "-c", CONDITION) == ""
    assert [f.rpartition("/")[2] for f in files] == [
        "conditions.py",
        "sql.py",
        "vocabulary.ts",
        "test_rules.py",
    ]
