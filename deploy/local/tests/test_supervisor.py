"""The supervisor with small parts: what dies comes back, what is left behind is found."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from lyceum_local import config as configuration
from lyceum_local import lifecycle, supervisor
from lyceum_local.supervisor import Part, State, Supervisor
from lyceum_local.testing import free_port

SLEEPS = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(600)"]


@pytest.fixture
def installation(tmp_path: Path) -> configuration.Config:
    config = configuration.create(tmp_path / "data")
    config.save()
    supervisor.lay_out(config.data)
    return config


async def until(holds: Callable[[], object], *, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.02)


async def test_a_part_that_is_killed_comes_back(installation: configuration.Config) -> None:
    boss = Supervisor(installation)
    part = Part("sleeper", SLEEPS, dict(os.environ))
    boss.states["sleeper"] = State("sleeper")
    keeping = asyncio.create_task(boss.keep(part))
    await until(lambda: boss.states["sleeper"].pid)
    first = boss.states["sleeper"].pid
    assert first
    os.kill(first, signal.SIGKILL)
    await until(lambda: boss.states["sleeper"].pid not in (None, first))
    assert boss.states["sleeper"].restarts == 1
    assert boss.states["sleeper"].trouble == "ended with -9"
    boss.stopping.set()
    await boss.end([part])
    await keeping
    assert supervisor.read_run(installation.data)[1].name == "sleeper"


async def test_a_part_that_cannot_start_is_tried_again_and_says_why(
    installation: configuration.Config,
) -> None:
    boss = Supervisor(installation)
    boss.states["ghost"] = State("ghost")
    keeping = asyncio.create_task(boss.keep(Part("ghost", ["/no/such/program"], {})))
    await until(lambda: boss.states["ghost"].restarts >= 2)
    boss.stopping.set()
    await keeping
    assert "No such file" in boss.states["ghost"].trouble


def test_what_a_killed_supervisor_left_is_stopped_and_strangers_are_not(
    installation: configuration.Config,
) -> None:
    left = subprocess.Popen(SLEEPS, stdout=subprocess.DEVNULL)
    stranger = subprocess.Popen(SLEEPS, stdout=subprocess.DEVNULL)
    born = psutil.Process(left.pid).create_time()
    run = [
        State("supervisor", 99999999, born),
        State("left", left.pid, born),
        State("reused number", stranger.pid, born - 1000),
    ]
    (installation.data / "run.json").write_text(json.dumps([asdict(s) for s in run]))
    assert supervisor.running(installation.data) is None
    supervisor.stop_leftovers(installation.data)
    assert not psutil.pid_exists(left.pid)
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


@pytest.mark.parametrize("content", ["", "{", "[]", '[{"nonsense": 1}]'])
def test_a_torn_run_file_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    assert supervisor.read_run(tmp_path) == []
    assert supervisor.running(tmp_path) is None


def test_a_log_beyond_the_limit_is_cut_and_its_writer_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LOG_LIMIT", 10)
    with (tmp_path / "part.log").open("ab", buffering=0) as log:
        log.write(b"long enough to be cut\n")
        supervisor.rotate(tmp_path)
        log.write(b"next\n")
    assert (tmp_path / "part.log").read_text() == "next\n"
    assert (tmp_path / "part.log.1").read_text() == "long enough to be cut\n"


def test_ports_are_kept_unless_somebody_has_taken_them(installation: configuration.Config) -> None:
    # Not those that every installation begins with: one of a test beside this comes and goes.
    chosen = replace(installation, ports={name: free_port() for name in installation.ports})
    again = lifecycle.settle(chosen.data, chosen, split=None, app_port=None)
    assert again.ports == chosen.ports
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", chosen.ports["app"]))
        taken.listen()
        moved = lifecycle.settle(chosen.data, chosen, split=None, app_port=None)
    assert moved.ports["app"] != chosen.ports["app"]
    assert configuration.load(chosen.data) == moved


def test_two_installations_that_start_at_once_have_ports_of_their_own(tmp_path: Path) -> None:
    with configuration.port_claims() as one, configuration.port_claims() as other:
        first = configuration.create(tmp_path / "one", claim=one)
        second = configuration.create(tmp_path / "other", claim=other)
    assert not set(first.ports.values()) & set(second.ports.values())


@pytest.mark.parametrize(
    ("says", "status"), [(b"{}", 200), (b'{"title": "Unknown client"}', 401)], ids=["a stranger", "another's"]
)
def test_who_took_our_port_is_not_taken_for_ours(
    installation: configuration.Config, says: bytes, status: int
) -> None:
    class Anybody(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(200, b"{}")  # ready, it says

        def do_POST(self) -> None:
            self._answer(status, says)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with (
        ThreadingHTTPServer(("127.0.0.1", 0), Anybody) as server,
        socket.create_server(("127.0.0.1", 0)) as broker,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ports = installation.ports | {"app": server.server_port, "kafka": broker.getsockname()[1]}
        with pytest.raises(
            lifecycle.LifecycleError, match="is not of this installation: identity gave the operator no"
        ):
            lifecycle.wait_until_ready(
                replace(installation, ports=ports), psutil.Process(), patience=1, step=lambda _: None
            )
        server.shutdown()


def test_the_form_of_an_installation_is_kept(installation: configuration.Config) -> None:
    split = replace(installation, split=True)
    assert lifecycle.settle(installation.data, split, split=None, app_port=None).split
    assert not lifecycle.settle(installation.data, split, split=False, app_port=None).split


def test_reset_deletes_what_is_ours_and_nothing_else(installation: configuration.Config) -> None:
    foreign = installation.data / "thesis.odt"
    foreign.write_text("years of work")
    lifecycle.reset(installation.data)
    assert [p.name for p in installation.data.iterdir()] == ["thesis.odt"]
    foreign.unlink()


def test_secrets_are_closed_to_others(installation: configuration.Config) -> None:
    assert (installation.data / "config.json").stat().st_mode & 0o077 == 0
