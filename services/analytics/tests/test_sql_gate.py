"""What the operator's SQL may not do, and what the engine says of it, asked as it comes from outside."""

import httpx
import pytest

from analytics.engine import Engine
from analytics.sql_gate import REFUSED_FUNCTIONS, TABLE_FUNCTIONS

READ_ONLY = [
    "INSERT INTO identity_events SELECT * FROM identity_events",
    "ALTER TABLE identity_events DELETE WHERE 1",
    "TRUNCATE TABLE identity_events",
    "DROP TABLE identity_events",
    "DETACH TABLE identity_events",
    "RENAME TABLE identity_events TO x",
    "EXCHANGE TABLES identity_events AND catalog_events",
    "OPTIMIZE TABLE identity_events",
    "CREATE TABLE x (a Int32) ENGINE = Memory",
    "CREATE TEMPORARY TABLE x (a Int32)",
    "CREATE VIEW x AS SELECT 1",
    "CREATE FUNCTION x AS (a) -> a",
    "CREATE USER x",
    "GRANT SELECT ON *.* TO default",
    "SET max_threads = 8",
    "SET ROLE x",
    "USE system",
    "KILL QUERY WHERE 1",
    "SYSTEM SHUTDOWN",
    "CHECK TABLE identity_events",
    "BACKUP DATABASE lyceum TO File('/tmp/x')",
    "EXPLAIN AST DROP TABLE identity_events",
    "SHOW GRANTS",
    "SHOW PROCESSLIST",
]
OUTSIDE = [
    "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')",
    "SELECT * FROM file('/etc/passwd', 'CSV', 'a String')",
    "SELECT * FROM remote('127.0.0.1', system.one)",
    "SELECT * FROM s3('http://127.0.0.1:1/x', 'CSV')",
    "SELECT * FROM executable('x.sh', 'CSV', 'a String')",
    "SELECT * FROM Python(os)",
    "SELECT file('/etc/passwd')",
    "SELECT FILE('/etc/passwd')",
    "SELECT `file`('/etc/passwd')",
    "SELECT 1 IN url('http://127.0.0.1:1/', 'CSV', 'a String')",
    "SELECT * FROM view(SELECT file('/etc/passwd'))",
    "WITH t AS (SELECT * FROM file('/etc/passwd', 'CSV', 'a String')) SELECT * FROM t",
    "DESCRIBE TABLE url('http://127.0.0.1:1/', 'CSV')",
    "EXPLAIN SELECT * FROM file('/etc/passwd', 'CSV', 'a String')",
    "SELECT * FROM generateRandom('a Int32') LIMIT 1",
    "SELECT 1 INTO OUTFILE '/tmp/x' FORMAT CSV",
    "SELECT 1 into /* */ outfile '/tmp/x' TRUNCATE FORMAT CSV",
    "SHOW TABLES INTO OUTFILE '/tmp/x' FORMAT CSV",
    "SELECT 1 AS `a\\n   Function x`",
]
SETTINGS_IN_SQL = [
    "SELECT 1 SETTINGS max_execution_time = 3600",
    "SELECT * FROM (SELECT 1 SETTINGS readonly = 0)",
    "SHOW TABLES SETTINGS max_threads = 8",
]


@pytest.mark.parametrize("sql", READ_ONLY + OUTSIDE + SETTINGS_IN_SQL)
async def test_what_is_refused(sql: str, http: httpx.AsyncClient, engine: Engine) -> None:
    answer = await http.post("/", content=sql)
    assert answer.status_code == 403, answer.text
    assert answer.headers["x-clickhouse-exception-code"] == "164"
    assert answer.text.startswith("Code: 164. DB::Exception: ")
    assert "(READONLY)" in answer.text
    assert await engine.query("SELECT 1 AS one") == [{"one": 1}]


@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        # The engine's default database is the file system.
        ("SELECT * FROM default.`/etc/passwd`", 403, "497"),
        ("SELECT * FROM '/etc/passwd'", 404, "60"),
        ("SELECT 1; DROP TABLE identity_events", 400, "62"),
        ("SELECT nothing", 404, "47"),
        ("SELEKT 1", 400, "62"),
        ("SELECT 1 FORMAT Template", 403, "164"),
    ],
)
async def test_mistakes_have_the_engines_own_codes(
    sql: str, status: int, code: str, http: httpx.AsyncClient
) -> None:
    answer = await http.post("/", content=sql)
    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (status, code), answer.text
    assert "formatQuerySingleLine" not in answer.text


# Table functions that are neither answered nor refused as values: they reach nothing outside.
INSIDE = {
    *(
        "format",
        "generateRandom",
        "SQLStandardValues",
        "viewExplain",
        "viewIfPermitted",
        "mergeTreeProjection",
    ),
    *(
        "mergeTreeAnalyzeIndexes",
        "mergeTreeAnalyzeIndexesUUID",
        "mergeTreeCodecBlockCounts",
        "mergeTreeIndex",
    ),
    *("mergeTreeTextIndex", "timeSeriesData", "timeSeriesMetricFamilies", "timeSeriesMetrics"),
    *("timeSeriesSamples", "timeSeriesSelector", "timeSeriesTags"),
}


async def test_every_table_function_of_this_engine_is_known(http: httpx.AsyncClient) -> None:
    """`x IN url(…)` is a plain function in the tree: a new release's new functions want a decision."""
    names = (await http.post("/", content="SELECT name FROM system.table_functions")).text.split()
    assert len(names) > 50
    unknown = {n for n in names if n.lower() not in TABLE_FUNCTIONS and not REFUSED_FUNCTIONS.fullmatch(n)}
    assert unknown - INSIDE == set()
