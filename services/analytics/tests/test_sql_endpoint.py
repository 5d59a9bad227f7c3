"""The operator's SQL, asked by the clients that BI tools use, over a real socket and a real engine."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import clickhouse_connect
import httpx
import pytest
import sqlalchemy
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError
from pydantic import SecretStr

from analytics.consumers import Consumption
from analytics.engine import Engine, Session, Use
from analytics.errors import TooExpensive
from analytics.schema import files
from analytics.settings import Settings
from analytics.sql_endpoint import app
from lyceum_kit.settings import KitSettings

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
USER, PASSWORD = "operator", "open sesame"

Rows = Sequence[Sequence[Any]]
Ask = Callable[..., Awaitable[Rows]]


@pytest.fixture
async def client(endpoint: str) -> AsyncIterator[Session]:
    """clickhouse-connect, as in a BI tool."""
    client = await asyncio.to_thread(connect, endpoint)
    yield client
    client.close()


def connect(endpoint: str, **options: Any) -> Session:
    where = httpx.URL(endpoint)
    given = {"username": USER, "password": PASSWORD, "database": "lyceum", "tz_mode": "aware", **options}
    return cast(
        "Session", cast("Any", clickhouse_connect).get_client(host=where.host, port=where.port, **given)
    )


@pytest.fixture
def ask(client: Session) -> Ask:
    async def ask(sql: str, parameters: dict[str, object] | None = None) -> Rows:
        return (await asyncio.to_thread(client.query, sql, parameters)).result_rows

    return ask


async def refused(ask: Ask, sql: str) -> DatabaseError:
    with pytest.raises(DatabaseError) as failure:
        await ask(sql)
    return failure.value


async def test_types_come_as_they_are(ask: Ask) -> None:
    sql = """
      SELECT toInt64(-1), 'Łukasz 山田', toDateTime64('2026-01-31 23:59:59.5', 6, 'UTC'), toDate('2026-01-31'),
        toUUID('01990000-0000-7000-8000-000000000001'), [1, 2], map('a', 1), (1, 'a'), NULL, true, 0.5,
        toDecimal64('1.25', 2), toLowCardinality('z')
    """
    (row,) = await ask(sql)
    assert list(row) == [
        *(-1, "Łukasz 山田", datetime(2026, 1, 31, 23, 59, 59, 500_000, UTC), date(2026, 1, 31)),
        *(UUID("01990000-0000-7000-8000-000000000001"), [1, 2], {"a": 1}, (1, "a"), None, True, 0.5),
        *(Decimal("1.25"), "z"),
    ]


async def test_parameters_are_values_whatever_is_in_them(ask: Ask) -> None:
    text = "it's {a:String} \\ \t \n `\" -- Łukasz'); DROP TABLE identity_events"
    at = datetime(2026, 1, 31, 23, 59, 59, 500_000, UTC)
    given: dict[str, object] = {"a": text, "n": 3, "at": at, "some": ["a'b", "c\n"]}
    sql = "SELECT {a:String}, {n:Int32}, {at:DateTime64(6, 'UTC')}, {some:Array(String)}"
    assert [list(row) for row in await ask(sql, given)] == [[text, 3, at, ["a'b", "c\n"]]]
    assert [list(row) for row in await ask("SELECT %(a)s", {"a": text})] == [[text]]


async def test_a_large_answer_comes_whole(ask: Ask) -> None:
    rows = await ask("SELECT number FROM numbers(90000)")
    assert [n for (n,) in rows] == list(range(90_000))


@pytest.mark.parametrize("compress", [False, "lz4", "zstd", "gzip"])
async def test_whatever_compression_a_client_takes(compress: str | bool, endpoint: str) -> None:
    client = await asyncio.to_thread(connect, endpoint, compress=compress)
    rows = (await asyncio.to_thread(client.query, "SELECT sum(number) FROM numbers(1000)")).result_rows
    assert [list(r) for r in rows] == [[499_500]]
    client.close()


QUESTIONS = dict(re.findall(r"```sql\n-- ([^\n]+)\n(.*?)```", README, re.DOTALL))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How many enrolments were made?", [[4]]),
        ("How many are completed?", [[1]]),
        ("What share of graded attempts passed?", [[1 / 3]]),
        ("What is the compliance of each department?", [["Engineering", 0.5], ["Sales", 1.0]]),
        ("Where does a course lose its learners?", [[1, "Video", 2, 2], [2, "Quiz", 2, 1]]),
    ],
)
async def test_five_questions_of_an_operator(
    question: str, answer: Rows, ask: Ask, consumption: Consumption, company: Any
) -> None:
    await consumption.catch_up()
    rows = await ask(QUESTIONS[question], {"tenant": company.tenant, "course": company.course})
    assert [list(row) for row in rows] == answer


async def test_sqlalchemy_reflects_and_asks(endpoint: str, consumption: Consumption, company: Any) -> None:
    await consumption.catch_up()
    where = httpx.URL(endpoint)
    url = sqlalchemy.URL.create("clickhousedb", USER, PASSWORD, where.host, where.port, "lyceum")

    def explore() -> dict[str, Any]:
        engine = sqlalchemy.create_engine(url)
        inspector = sqlalchemy.inspect(engine)
        view = sqlalchemy.Table("v1_enrollments", sqlalchemy.MetaData(), autoload_with=engine)
        by_state = (
            sqlalchemy.select(view.c.state, sqlalchemy.func.count())
            .where(view.c.tenant == str(company.tenant), view.c.course_id.in_(["security", "wine"]))
            .group_by(view.c.state)
            .order_by(view.c.state)
        )
        with engine.connect() as connection:
            text = sqlalchemy.text(
                "SELECT count() FROM v1_people WHERE tenant = :tenant AND department LIKE '%e%'"
            )
            found: dict[str, Any] = {
                "rows": [tuple(row) for row in connection.execute(by_state)],
                "people": connection.execute(text, {"tenant": str(company.tenant)}).scalar_one(),
            }
        found |= {
            "schemas": inspector.get_schema_names(),
            "tables": inspector.get_table_names(),
            "columns": {c["name"]: str(c["type"]) for c in inspector.get_columns("v1_people")},
        }
        engine.dispose()
        return found

    found = await asyncio.to_thread(explore)
    assert found["rows"] == [("active", 2), ("completed", 1), ("withdrawn", 1)]
    assert found["people"] == 3
    assert "lyceum" in found["schemas"]
    assert {"identity_events", "enrollment_events"} <= set(found["tables"])
    assert {"tenant", "person_id", "department", "hire_date"} <= set(found["columns"])


@pytest.mark.parametrize(
    ("sql", "column"),
    [
        ("SHOW TABLES", "enrollment_events"),
        ("SHOW TABLES FROM lyceum LIKE 'v1_pe%'", "v1_people"),
        ("SHOW DATABASES", "lyceum"),
        ("DESCRIBE TABLE v1_people", "person_id"),
        ("EXISTS TABLE v1_people", 1),
        ("EXPLAIN indexes = 1 SELECT count() FROM identity_events", "Output: count()"),
        ("SELECT deltaSum(number) FROM numbers(4)", 3),
        ("SELECT 1 AS format ORDER BY format ASC", 1),
        ("WITH t AS (SELECT 7 AS n) SELECT n FROM t; -- seven", 7),
        ("SELECT name FROM system.settings WHERE name = 'readonly'", "readonly"),
        ("SELECT 'INTO OUTFILE SETTINGS KILL'", "INTO OUTFILE SETTINGS KILL"),
    ],
)
async def test_what_tools_ask_about_tables(sql: str, column: object, ask: Ask) -> None:
    assert column in [row[0] for row in await ask(sql)]


async def test_view_columns_say_what_they_mean(ask: Ask) -> None:
    rows = await ask("SELECT name, comment FROM system.tables WHERE database = 'lyceum' AND name LIKE 'v1_%'")
    assert len(rows) > 5
    assert [name for name, comment in rows if not comment] == []
    columns = await ask("SELECT table, name, comment FROM system.columns WHERE database = 'lyceum'")
    assert [(table, name) for table, name, comment in columns if not comment] == []


@pytest.mark.parametrize("format", ["Native", "JSON"])
@pytest.mark.parametrize(
    ("limit", "sql", "codes"),
    [
        ("time", "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 7", {159}),
        ("time after output", "SELECT number FROM system.numbers WHERE number % 100000 = 0", {159}),
        ("rows", "SELECT number FROM numbers(1000000)", {396}),
        ("bytes", "SELECT toString(number), hex(sipHash128(number)) FROM numbers(90000)", {396}),
        ("bytes of a constant", "SELECT repeat('x', 100) FROM numbers(90000)", {396}),
        ("memory", "SELECT length(groupArray(number)) FROM numbers(100000000)", {241}),
        ("an error after output", "SELECT throwIf(number = 8000), number FROM numbers(9000)", {395}),
    ],
)
async def test_limits_hold_and_the_next_answer_is_right(
    limit: str, sql: str, codes: set[int], format: str, http: httpx.AsyncClient
) -> None:
    started = time.monotonic()
    answer = await http.post("/", content=f"{sql} FORMAT {format}", timeout=30)
    assert int(answer.headers["x-clickhouse-exception-code"]) in codes, (limit, answer.text)
    assert answer.status_code >= 400
    assert answer.text.startswith("Code: ")  # nothing of the answer before it
    assert time.monotonic() - started < 20
    for _ in range(2):  # whichever handle it was
        assert (await http.post("/", content="SELECT 42")).text == "42\n"


LEAVES_OUTPUT = "SELECT number FROM numbers(1000000) FORMAT JSON"


@pytest.mark.parametrize("use", ["read", "sql"])
async def test_no_query_is_answered_with_the_output_of_a_failed_one(use: Use, engine: Engine) -> None:
    for _ in range(2):  # on each of its handles
        with pytest.raises((ClickHouseError, TooExpensive)):
            await engine.use(use, lambda session: session.raw_query(LEAVES_OUTPUT))
    for _ in range(2):
        assert await engine.use(use, lambda session: session.raw_query("SELECT 42")) == b"42\n"


async def test_on_one_connection_it_would_be(engine: Engine) -> None:
    """The control: why every error closes a handle, and the next query opens it again."""

    def run() -> bytes:
        session = engine.open_session("sql")
        try:
            with pytest.raises(ClickHouseError):
                session.raw_query(LEAVES_OUTPUT)
            return session.raw_query("SELECT 42")
        finally:
            session.close()

    assert b'"number"' in await asyncio.to_thread(run)


async def test_a_client_with_an_error_goes_on(ask: Ask) -> None:
    assert (await refused(ask, "SELECT throwIf(number = 80000), number FROM numbers(90000)")).code == 395
    assert await ask("SELECT 42") == [(42,)]
    assert (await refused(ask, "SELECT number FROM system.numbers WHERE number % 100000 = 0")).code == 159
    assert await ask("SELECT 42") == [(42,)]


async def test_no_more_than_two_at_a_time(http: httpx.AsyncClient, engine: Engine) -> None:
    slow = [asyncio.create_task(http.post("/", content="SELECT sleep(0.9)")) for _ in range(2)]
    while len(engine.running) < 2:
        await asyncio.sleep(0.01)
    busy = await http.post("/", content="SELECT 1")
    assert (busy.status_code, busy.headers["x-clickhouse-exception-code"]) == (429, "202")
    assert busy.headers["retry-after"]
    assert [(await task).text for task in slow] == ["0\n", "0\n"]
    # Dashboards have handles of their own.
    assert await engine.query("SELECT 1 AS one") == [{"one": 1}]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Basic"},
        {"authorization": "Basic !!!"},
        {"authorization": "Bearer nothing"},
        {"x-clickhouse-user": USER, "x-clickhouse-key": "wrong"},
        {"x-clickhouse-user": "default", "x-clickhouse-key": PASSWORD},
        {"x-clickhouse-user": "default"},
    ],
)
async def test_nobody_else_gets_in(headers: dict[str, str], endpoint: str) -> None:
    async with httpx.AsyncClient(base_url=endpoint, headers=headers) as client:
        for answer in (
            await client.get("/", params={"query": "SELECT 1"}),
            await client.get("/", params={"query": "SELECT 1", "user": USER, "password": PASSWORD}),
            await client.post("/", content="SELECT 1"),
        ):
            assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (401, "516")
            assert answer.headers["www-authenticate"].startswith("Basic ")


@pytest.mark.parametrize(
    "headers",
    [{"authorization": f"Bearer {PASSWORD}"}, {"x-clickhouse-user": USER, "x-clickhouse-key": PASSWORD}],
)
async def test_other_ways_to_say_the_password(headers: dict[str, str], endpoint: str) -> None:
    async with httpx.AsyncClient(base_url=endpoint, headers=headers) as client:
        assert (await client.get("/", params={"query": "SELECT 1"})).text == "1\n"


async def test_without_a_password_it_stays_closed(engine: Engine) -> None:
    transport = httpx.ASGITransport(app(engine, user=USER, password="", most_bytes=1000))
    async with httpx.AsyncClient(transport=transport, base_url="http://here", auth=(USER, "")) as client:
        assert (await client.post("/", content="SELECT 1")).status_code == 401


@pytest.mark.parametrize(
    "params",
    [{"max_execution_time": "3600"}, {"readonly": "0"}, {"compress": "1"}, {"max_result_rows": "0"}],
)
async def test_settings_cannot_come_in_the_address(params: dict[str, str], http: httpx.AsyncClient) -> None:
    answer = await http.post("/", params=params, content="SELECT 1")
    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (403, "164")
    assert next(iter(params)) in answer.text


async def test_the_default_format_is_the_clients(http: httpx.AsyncClient) -> None:
    for params, body, format in (
        ({}, "1\ta\n", "TabSeparated"),
        ({"default_format": "CSVWithNames"}, '"n","s"\n1,"a"\n', "CSVWithNames"),
    ):
        answer = await http.post("/", params=params, content="SELECT 1 AS n, 'a' AS s")
        assert (answer.text, answer.headers["x-clickhouse-format"]) == (body, format)
    answer = await http.post("/", content="SELECT 1 AS n FORMAT JSONEachRow")
    assert (answer.json(), answer.headers["x-clickhouse-format"]) == ({"n": 1}, "JSONEachRow")


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"SELECT '" + b"x" * 300_000 + b"'", {}, 413),
        (b"SELECT '\xff'", {}, 400),
        (b"SELECT '\x00'", {}, 400),
        (b"--x\r\n", {"content-type": "multipart/form-data; boundary=x"}, 400),
        (b"", {}, 200),
    ],
)
async def test_bodies_that_are_no_queries(
    body: bytes, headers: dict[str, str], status: int, http: httpx.AsyncClient
) -> None:
    assert (await http.post("/", content=body, headers=headers)).status_code == status


async def test_another_database_does_not_exist(http: httpx.AsyncClient) -> None:
    answer = await http.post("/", params={"database": "nowhere"}, content="SELECT 1")
    assert (answer.status_code, answer.headers["x-clickhouse-exception-code"]) == (404, "81")


def test_it_listens_on_loopback_and_only_when_told_to() -> None:
    assert Settings().analytics_sql_host == "127.0.0.1"
    assert Settings().analytics_sql_port == 0


def test_the_readme_names_every_setting_and_view() -> None:
    own = Settings.model_fields.keys() - KitSettings.model_fields.keys()
    told = dict(re.findall(r"^\| `(LYCEUM_\w+)` \| (?:`?([^`|]*?)`? )?\|", README, re.MULTILINE))
    defaults = {f"LYCEUM_{name.upper()}": Settings.model_fields[name].default for name in own}
    assert told == {
        name: str(value.get_secret_value() if isinstance(value, SecretStr) else value)
        for name, value in defaults.items()
    }
    views = {name for _, _, sql in files() for name in re.findall(r"(?:TABLE|VIEW)\D*? (\w+) \$on", sql)}
    assert {name for name in views if f"`{name}`" not in README} == set()
    assert len(views) > 10
