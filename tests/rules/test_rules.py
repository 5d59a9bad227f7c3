"""The project keeps the rules of the house."""

from pathlib import Path

import pytest

from tests.rules.checks import CHECKS, WEB, Check

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("check", CHECKS)
def test_the_project_is(check: Check) -> None:
    if wrong := check(ROOT):
        pytest.fail(wrong, pytrace=False)


@pytest.mark.parametrize("check", WEB)
def test_the_web_app_is(check: Check, node_modules: Path) -> None:
    if wrong := check(ROOT):
        pytest.fail(wrong, pytrace=False)
