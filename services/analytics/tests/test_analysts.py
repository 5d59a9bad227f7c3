"""The users of analysts on a server: what ClickHouse itself makes of the statements, and that they leave nothing open."""

import re
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from clickhouse_connect.driver.exceptions import ClickHouseError

from analytics.analysts import statements
from analytics.engine import Engine
from analytics.schema import files

TENANT, OTHER = UUID(int=7), UUID(int=8)
HASH = "a" * 64
MADE = statements("ward", TENANT, HASH)


async def parsed(engine: Engine, statement: str) -> str:
    """As ClickHouse writes it: what it does not understand is an error."""
    [row] = await engine.read_back("SELECT formatQuerySingleLine({sql:String}) AS it", {"sql": statement})
    return row["it"]


@pytest.mark.parametrize("cluster", ["", "lyceum"])
async def test_clickhouse_understands_every_statement(cluster: str, engine: Engine) -> None:
    for statement in statements("ward", TENANT, HASH, cluster=cluster):
        said = await parsed(engine, statement)
        assert ("ON CLUSTER lyceum" in said) == (cluster != "" and not said.startswith("SET"))


async def test_a_slip_of_the_pen_is_noticed(engine: Engine) -> None:
    """The control: for each statement, one word of it that is not quite so."""
    for statement in MADE:
        verb = "GRANT" if "GRANT" in statement else "SET" if statement.startswith("SET") else "CREATE"
        slip = (
            statement.replace(verb, f"{verb}E", 1)
            if verb in statement
            else statement.replace("ALTER", "ALTR")
        )
        with pytest.raises(ClickHouseError, match="Syntax error"):
            await parsed(engine, slip)


async def test_what_may_be_read_has_a_policy_and_nothing_else_may(engine: Engine) -> None:
    """Of the tables that really are there; a view reads as whoever asks it."""
    rows = await engine.query(
        "SELECT name, engine, create_table_query AS sql FROM system.tables WHERE database = 'lyceum'"
    )
    tables = {r["name"] for r in rows if r["engine"] != "View"}
    narrowed = found(
        r"ROW POLICY OR REPLACE lyceum_ward_only +ON lyceum\.(\w+) .* AS RESTRICTIVE TO lyceum_ward_role$"
    )
    seen = found(
        r"ROW POLICY OR REPLACE lyceum_ward_sees +ON lyceum\.(\w+) .* AS PERMISSIVE TO lyceum_ward_role$"
    )
    written = found(
        r"ROW POLICY OR REPLACE lyceum_analytics_sees +ON lyceum\.(\w+) .*USING 1 AS PERMISSIVE TO default$"
    )
    granted = found(r"^GRANT +SELECT, SHOW COLUMNS ON lyceum\.([\w*]+) TO")
    assert narrowed == seen == written == granted - {"v1_*"} == {t for t in tables if t.endswith("_events")}
    assert {r["name"] for r in rows if r["engine"] == "View" and not r["name"].startswith("v1_")} == set()
    assert all("SQL SECURITY DEFINER" not in r["sql"] for r in rows)
    conditions = {m[1] for s in MADE for m in re.finditer(r"USING (.+?) AS", s) if "_ward_" in s}
    assert conditions == {f"tenant = toUUID('{TENANT}')"}
    assert not re.search(r"TO ALL|\bON \*|lyceum\.\*|SOURCES|TEMPORARY", "\n".join(MADE))


def found(pattern: str) -> set[str]:
    return {m[1] for statement in MADE if (m := re.search(pattern, statement, re.M))}


def test_the_policies_stand_before_the_grants() -> None:
    kinds = [re.search("ROW POLICY|GRANT|CREATE USER", statement) for statement in MADE]
    order = [m[0] for m in kinds if m]
    assert order.index("GRANT") > max(n for n, kind in enumerate(order) if kind == "ROW POLICY")
    assert order.index("CREATE USER") > order.index("GRANT")


@pytest.mark.parametrize("name", ["", "1a", "a b", "a'; DROP", "ä", "a" * 60, "A"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a name is"):
        statements(name, TENANT, HASH)
    with pytest.raises(ValueError, match="SHA-256"):
        statements("ward", TENANT, "secret")


def test_every_view_is_one_that_analysts_may_read() -> None:
    views = {name for _, _, sql in files() for name in re.findall(r"VIEW (\w+)", sql)}
    assert views
    assert all(name.startswith("v1_") for name in views)


# In a process of its own, as an engine is one per process: its one user with a policy that the configuration gives it.
NARROWED = """
import sys
from pathlib import Path
import clickhouse_connect
from analytics.schema import files, statements
folder, condition = Path(sys.argv[1]), sys.argv[2]
(folder / "users.xml").write_text(f\"\"\"<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users><default>
  <password></password><networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>
  <databases><lyceum><identity_events><filter>{condition}</filter></identity_events></lyceum></databases>
</default></users></clickhouse>\"\"\")
(folder / "config.xml").write_text(f"<clickhouse><users_config>{folder}/users.xml</users_config></clickhouse>")
options = {"config-file": str(folder / "config.xml")}
client = clickhouse_connect.get_client(interface="chdb", path=str(folder / "engine"), chdb_options=options)
client.command("CREATE DATABASE lyceum")
client.command("USE lyceum")
client.database = "lyceum"
for _, _, sql in files():
    for statement in statements(sql):
        client.command(statement)
for n, tenant in enumerate(sys.argv[3:]):
    client.command(
        "INSERT INTO identity_events (id, tenant, type, decoded, person_id, position)"
        f" SELECT generateUUIDv4(), '{tenant}', 'user-provisioned', 'yes', 'p{n}', {n}"
    )
print(*sorted(str(row[0]) for row in client.query("SELECT tenant FROM v1_people").result_rows))
"""


@pytest.mark.parametrize(("condition", "shown"), [(f"tenant = '{TENANT}'", [TENANT]), ("1", [TENANT, OTHER])])
def test_a_view_shows_what_the_policy_of_whoever_asks_lets_through(
    condition: str, shown: list[UUID], tmp_path: Path
) -> None:
    """The views have no policies of their own: those of the tables are enough."""
    command = [sys.executable, "-c", NARROWED, str(tmp_path), condition, str(TENANT), str(OTHER)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.stdout.split() == [str(tenant) for tenant in shown], ran.stderr
