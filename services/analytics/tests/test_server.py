"""What a ClickHouse server is asked instead of the engine in the process, as far as that can be seen without one."""

import ssl
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from analytics import schema
from analytics.consumers import FEEDS, Consumption
from analytics.engine import QUORUM, WRITER, Engine, create_database
from analytics.errors import EngineDown
from lyceum_local.testing.authority import Authority, mount


@pytest.mark.parametrize("cluster", ["", "lyceum"])
async def test_every_statement_of_ours_is_understood_in_both_forms(engine: Engine, cluster: str) -> None:
    made = [
        create_database("lyceum", cluster),
        *(s for _, _, sql in schema.files() for s in schema.statements(sql, cluster)),
    ]
    for statement in made:
        assert await understood(engine, statement)
        assert ("ON CLUSTER `lyceum`" in statement) is bool(cluster)
        assert ("ReplicatedMergeTree" in statement) is (bool(cluster) and "MergeTree" in statement)
    with pytest.raises(RuntimeError):  # the control: what is no SQL is refused
        await understood(engine, made[-1].replace("VIEW", "VUE").replace("COLUMN", "COLUM"))


async def test_a_rebuild_on_a_cluster_says_so_in_every_statement(
    some_of_each: Any, consumption: Consumption, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would go to a cluster is parsed, and then done here in the form for one node."""
    asked: list[str] = []
    command = engine.command

    async def on_one_node(sql: str, parameters: Mapping[str, object] | None = None) -> None:
        asked.append(sql)
        assert await understood(engine, sql)
        await command(sql.replace("ON CLUSTER `lyceum`", ""), parameters)

    monkeypatch.setattr(engine, "cluster", "lyceum")
    monkeypatch.setattr(engine, "command", on_one_node)
    await consumption.intake.process(some_of_each.all())
    assert await consumption.rebuild() == dict.fromkeys(FEEDS, 60)
    assert [sql.split()[0] for sql in asked] == ["DROP", "CREATE", "EXCHANGE", "DROP"] * len(FEEDS)
    assert [sql for sql in asked if "ON CLUSTER `lyceum`" not in sql] == []


async def understood(engine: Engine, sql: str) -> str:
    (row,) = await engine.query("SELECT formatQuery({sql:String}) AS said", {"sql": sql})
    return row["said"]


async def test_a_replicated_writer_asks_most_replicas(engine: Engine) -> None:
    assert Engine("http://localhost/lyceum").writer == WRITER
    assert Engine("http://localhost/lyceum", cluster="lyceum").writer == {**WRITER, **QUORUM}
    rows = await engine.query(
        "SELECT name FROM system.settings WHERE has({n:Array(String)}, name)", {"n": list(QUORUM)}
    )
    assert {row["name"] for row in rows} == QUORUM.keys()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """HTTPS that answers nothing useful, its address, and what it was asked."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_error(503)

        def log_message(self, format: str, *args: object) -> None:
            pass

    ours = Authority()
    pair = ours.issue("clickhouse")
    mount(tmp_path, ca=ours.pem, cert=pair.certificate, key=pair.key, other=Authority().pem)
    http = HTTPServer(("127.0.0.1", 0), Answer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    http.socket = context.wrap_socket(http.socket, server_side=True)
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield f"https://analytics:secret@127.0.0.1:{http.server_port}/lyceum", asked
    http.shutdown()
    http.server_close()


async def test_a_server_is_spoken_with_by_tls_and_known_by_its_authority(
    server: tuple[str, list[str]], tmp_path: Path
) -> None:
    url, asked = server
    for ca, reached in (("ca", True), ("other", False)):
        asked.clear()
        with pytest.raises(EngineDown):
            await Engine(f"{url}?ca_cert={tmp_path / ca}.pem").query("SELECT 1")
        assert bool(asked) is reached
