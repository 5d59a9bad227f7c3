"""Alerts, dashboard and runbooks speak of metrics that exist, and the alerts fire when they should."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lyceum_kit import telemetry
from lyceum_local.promtool import promtool

ROOT = Path(__file__).parents[2]
TELEMETRY = ROOT / "deploy" / "telemetry"
RUNBOOKS = (ROOT / "docs" / "operations" / "runbooks.md").read_text()
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((TELEMETRY / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((TELEMETRY / "dashboard.json").read_text())
EXPRESSIONS = [rule["expr"] for rule in RULES] + [
    target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])
]
# What Prometheus makes of a metric of each kind, and the labels it then has beside its own.
SUFFIXES: dict[str, dict[str, set[str]]] = {
    "gauge": {"": set()},
    "counter": {"_total": set()},
    "histogram": {"_count": set(), "_sum": set(), "_bucket": {"le"}},
}


def exported() -> dict[str, set[str]]:
    """Series → its labels, of every metric that lyceum_kit.telemetry defines."""
    found: dict[str, set[str]] = {}
    for collector in vars(telemetry).values():
        if not hasattr(collector, "_labelnames"):
            continue
        [described] = collector.describe()
        for suffix, more in SUFFIXES[described.type].items():
            found[described.name + suffix] = {*collector._labelnames} | more
    return found


def unknown(expression: str) -> set[str]:
    """Metrics and labels in it that nobody exports."""
    series = exported()
    named = set(re.findall(r"\blyceum_\w+", expression))
    wrong = named - series.keys()
    labels = {
        label.strip()
        for group in re.findall(r"by \(([^)]*)\)", expression)
        + [
            ",".join(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inner))
            for inner in re.findall(r"{([^}]*)}", expression)
        ]
        for label in group.split(",")
        if label.strip()
    }
    return wrong | {f"{label} of {name}" for name in named - wrong for label in labels - series[name]}


def test_every_metric_of_an_alert_or_panel_is_exported() -> None:
    assert {e: unknown(e) for e in EXPRESSIONS if unknown(e)} == {}
    used = {name for e in EXPRESSIONS for name in re.findall(r"\blyceum_\w+", e)}
    assert {s for s in exported() if not s.endswith(("_sum", "_bucket"))} <= used | {
        "lyceum_handler_seconds_count"
    }


@pytest.mark.parametrize(
    "planted",
    [
        "sum(lyceum_feed_rot) > 0",
        "max by (services) (lyceum_relay_outbox)",
        'rate(lyceum_http_seconds_count{code="500"}[5m])',
    ],
)
def test_an_alert_on_what_does_not_exist_is_seen(planted: str) -> None:
    assert unknown(planted)


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    told = re.findall(r"^## (\w+)$", RUNBOOKS, re.MULTILINE)
    assert told == [rule["alert"] for rule in RULES]
    for rule in RULES:
        assert rule["annotations"]["runbook_url"] == f"docs/operations/runbooks.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    tried = {
        one["alertname"]
        for test in yaml.safe_load((TELEMETRY / "alerts_test.yaml").read_text())["tests"]
        for one in test["alert_rule_test"]
        if one.get("exp_alerts")
    }
    assert tried == {rule["alert"] for rule in RULES}
    assert prometheus_says(TELEMETRY) == ""
    # The control: with another threshold they don't.
    for file in ("alerts.yaml", "alerts_test.yaml"):
        shutil.copy(TELEMETRY / file, tmp_path)
    planted = (tmp_path / "alerts.yaml").read_text().replace("(lyceum_feed_red) > 0", "(lyceum_feed_red) > 2")
    (tmp_path / "alerts.yaml").write_text(planted)
    assert "LyceumFeedRed" in prometheus_says(tmp_path)


def prometheus_says(folder: Path) -> str:
    command = promtool()
    if command is None:
        pytest.skip(
            "no promtool here, and this is no Debian with apt-get: install Prometheus to check its rules"
        )
    ran = subprocess.run(
        [command, "test", "rules", "alerts_test.yaml"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr
