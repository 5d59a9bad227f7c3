"""An analyst's settings in `ha`, given to the engine itself: what they read, and what they may not do."""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from lyceum_local.testing.kubernetes import OVERLAYS, render

SEEN, OTHER = "00000000-0000-0000-0000-000000000000", "00000000-0000-0000-0000-000000000001"

# In a process of its own: the engine is one per process, and knows one user, who is the analyst here. The tables are the
# services' own, and what is asked goes through a view, as analysts are told to.
ASK = """
import json, sys, tempfile
from pathlib import Path
import clickhouse_connect
from analytics import schema
from clickhouse_connect.driver.exceptions import ClickHouseError

analyst, free, seen, other = json.load(sys.stdin)
folder = Path(tempfile.mkdtemp())

def opened(users):
    (folder / "users.xml").write_text(users)
    (folder / "config.xml").write_text(f"<clickhouse><users_config>{folder}/users.xml</users_config></clickhouse>")
    options = {"config-file": str(folder / "config.xml")}
    return clickhouse_connect.get_client(interface="chdb", path=str(folder / "engine"), chdb_options=options)

client = opened(free)
client.command("CREATE DATABASE lyceum")
client.command("USE lyceum")
for _, _, sql in schema.files():
    for statement in schema.statements(sql):
        client.command(statement)
for tenant in (seen, other):
    client.command(
        "INSERT INTO identity_events (tenant, person_id, type, decoded, position, stream_version)"
        f" VALUES ('{tenant}', 'somebody', 'user-provisioned', 'yes', 1, 1)"
    )
client.command("CREATE TABLE lyceum.identity_events_rebuild AS lyceum.identity_events")
ask = "SELECT toString(tenant) FROM lyceum.v1_people ORDER BY 1"
told = {"everything": [r[0] for r in client.query(ask).result_rows]}
client.close()
client = opened(analyst)
told["seen"] = [r[0] for r in client.query(ask).result_rows]
for name, sql in (
    ("write", "INSERT INTO lyceum.identity_events (position) VALUES (2)"),
    ("drop", "DROP TABLE lyceum.identity_events"),
    ("rebuild", "SELECT count() FROM lyceum.identity_events_rebuild"),
    ("runaway", "SELECT sum(number) FROM numbers(1000000000)"),
    ("unlimited", "SELECT 1 SETTINGS max_execution_time = 0"),
):
    try:
        client.query(sql)
        told[name] = "done"
    except ClickHouseError as e:
        told[name] = str(e)
print(json.dumps(told))
"""


def users_xml(configuration: Mapping[str, Mapping[str, Any]], user: str) -> str:
    """As the operator writes it, for one user under the name that the engine has; without its password and networks."""
    root = Element("clickhouse")
    for section in ("users", "profiles", "quotas"):
        default = SubElement(SubElement(root, section), "default")
        named = default if section == "users" else SubElement(root[-1], user)
        for path, value in configuration[section].items():
            name, _, rest = path.partition("/")
            if name != user or rest.startswith(("k8s_secret", "networks")):
                continue
            *parents, last = rest.split("/")
            at = named
            for step in parents:
                found = at.find(step)
                at = SubElement(at, step) if found is None else found
            for one in value if isinstance(value, list) else [value]:  # pyright: ignore[reportUnknownVariableType]
                SubElement(at, last).text = str(one)  # pyright: ignore[reportUnknownArgumentType]
    SubElement(root[0][0], "password")
    return tostring(root, encoding="unicode")


def test_an_analyst_reads_one_tenant_and_writes_nothing() -> None:
    (installation,) = (d for d in render(OVERLAYS / "ha") if d["kind"] == "ClickHouseInstallation")
    configuration = installation["spec"]["configuration"]
    free = (
        "<clickhouse><profiles><default/></profiles><quotas><default/></quotas>"
        "<users><default><password/><profile>default</profile><quota>default</quota></default></users></clickhouse>"
    )
    ran = subprocess.run(
        [sys.executable, "-c", ASK],
        input=json.dumps([users_xml(configuration, "analyst"), free, SEEN, OTHER]),
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(ran.stdout)
    assert told["everything"] == [SEEN, OTHER]
    assert told["seen"] == [SEEN]
    for name in ("write", "drop", "unlimited"):
        assert "readonly" in told[name].lower() or "ACCESS_DENIED" in told[name], told[name]
    assert "ACCESS_DENIED" in told["rebuild"], told["rebuild"]
    assert "158" in told["runaway"]  # TOO_MANY_ROWS
