"""What the doctor says of an installation elsewhere: certificates, clocks and front doors that are wrong on purpose."""

import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from lyceum_local.doctor import Finding
from lyceum_local.doctor.installation import Door, examine
from lyceum_local.doctor.reports import judged

# ---- reports, some seconds apart


def report(**changed: Any) -> dict[str, Any]:
    consumer = {"feed": "identity", "partition": 3, "next": 8, "lag": 0, "alarm": ""}
    return {
        "consumers": [consumer | changed.pop("consumer", {})],
        "feeds": [{"feed": "enrollment", "partition": 0, "head": 5, "sent": changed.pop("sent", 5)}],
        "relay": {"outbox": 0, "oldest_age_s": 0.0, "unsent": 0, "error": ""} | changed.pop("relay", {}),
        "timers": {"pending": 1, "late": 0, "failed": 0} | changed.pop("timers", {}),
        "parked": [],
        "consumer_error": "",
        **changed,
    }


def wrong(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return [f.what.removeprefix("it ") for f in judged("it", before, now) if not f.fine]


WAITS = {"lag": 4}


@pytest.mark.parametrize(
    ("before", "now", "found"),
    [
        (report(), report(), []),
        (report(consumer=WAITS), report(consumer=WAITS | {"next": 9}), []),  # behind, and it goes on
        (report(consumer=WAITS), report(consumer=WAITS), ["consumer"]),
        (report(), report(consumer=WAITS), []),  # just come
        (report(), report(consumer_error="Kafka: away"), ["consumer"]),
        (report(), report(consumer={"alarm": "red: another history"}), ["feeds"]),
        (report(), report(consumer={"lag": None, "head": None}), ["feeds"]),
        (report(), report(relay={"oldest_age_s": 16.0, "outbox": 2}), ["relay"]),
        (report(), report(relay={"error": "no leader"}), ["relay"]),
        (report(relay={"unsent": 2}), report(relay={"unsent": 2}), ["relay"]),
        (report(relay={"unsent": 2}), report(relay={"unsent": 2}, sent=7), []),
        (report(), report(parked=[{"n": 1}]), ["parked"]),
        (report(), report(timers={"late": 1}), ["timers"]),
        (report(), report(timers={"failed": 1}), ["timers"]),
    ],
)
def test_what_two_reports_tell(before: dict[str, Any], now: dict[str, Any], found: list[str]) -> None:
    assert wrong(before, now) == found


# ---- front doors


@dataclass
class Front:
    """An address with TLS that answers every GET, and says its own time."""

    url: str
    authorities: str
    status: int = 200
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


def certificate(folder: Path, *, days: float) -> Path:
    """For 127.0.0.1, signed by itself; key and certificate in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=90))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "certificate.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Callable[..., Front]]:
    servers: list[ThreadingHTTPServer] = []

    def open_(*, days: float = 60) -> Front:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response_only(front.status)
                self.send_header("Date", format_datetime(front.clock(), usegmt=True))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        file = certificate(tmp_path, days=days)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        front = Front(f"https://127.0.0.1:{server.server_port}", str(file))
        return front

    yield open_
    for server in servers:
        server.shutdown()
        server.server_close()


def told(front: Front, **door: str) -> dict[str, Finding]:
    door = {"authorities": front.authorities} | door
    return {f.what: f for f in examine(Door(front.url, **door), pause=lambda _: None)}


def bad(found: dict[str, Finding]) -> set[str]:
    assert all(f.advice for f in found.values() if not f.fine)
    return {what for what, f in found.items() if not f.fine}


def test_a_front_door_that_is_well(front: Callable[..., Front]) -> None:
    found = told(front())
    assert bad(found) == set()
    assert {"certificate", "reachable", "clock", "identity ready", "analytics ready"} <= found.keys()


def test_a_certificate_that_ends_soon(front: Callable[..., Front]) -> None:
    found = told(front(days=9))
    assert bad(found) == {"certificate"}
    assert "good for 9 days" in found["certificate"].told
    assert "identity ready" in found  # and the rest is looked at


@pytest.mark.parametrize(("days", "authorities"), [(-1, None), (60, "")])
def test_a_certificate_that_nobody_accepts(
    days: float, authorities: str | None, front: Callable[..., Front]
) -> None:
    found = told(front(days=days), **({} if authorities is None else {"authorities": authorities}))
    assert (bad(found), set(found)) == ({"certificate"}, {"certificate"})
    assert ("expired" in found["certificate"].told) == (days < 0)


@pytest.mark.parametrize("minutes", [-3, 3])
def test_a_clock_that_is_wrong(minutes: int, front: Callable[..., Front]) -> None:
    there = front()
    there.clock = lambda: datetime.now(UTC) + timedelta(minutes=minutes)
    found = told(there)
    assert bad(found) == {"clock"}
    assert 175 <= int(found["clock"].told.split()[0]) <= 182


def test_a_door_behind_which_nothing_is_ready(front: Callable[..., Front]) -> None:
    there = front()
    there.status = 503
    assert bad(told(there)) == {
        "reachable",
        *(f"{s} ready" for s in ("identity", "catalog", "enrollment", "assessment", "analytics")),
    }


def test_nobody_there() -> None:
    [finding] = [f for f in examine(Door("https://127.0.0.1:1")) if not f.fine]
    assert (finding.what, "refused" in finding.told) == ("reachable", True)
    [finding] = examine(Door("learn.example"))
    assert not finding.fine
