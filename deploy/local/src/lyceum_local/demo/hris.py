"""The demo's two HR systems, from their side of the wire.

One speaks the vendor-neutral form: everything about a person in a Standard Webhooks message. The other one behaves as
BambooHR does: its webhook names ids only, signed with HMAC and a timestamp, and its API tells who they are.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx

from lyceum_local.demo.api import answered


@dataclass(frozen=True)
class Endpoint:
    """Where identity listens, and the secret it gave us."""

    url: str
    secret: str


def deliver(http: httpx.Client, to: Endpoint, message: str, kind: str, data: Mapping[str, Any]) -> str:
    """Say one thing of one person. `message` names it: delivered again under that name, it counts once."""
    said = {"type": kind, "timestamp": datetime.now(UTC).isoformat(), "data": data}
    body = json.dumps(said).encode()
    headers = {"content-type": "application/json", **signed(to.secret, message, int(time.time()), body)}
    return answered(http.post(to.url, content=body, headers=headers))["result"]


def notify(http: httpx.Client, to: Endpoint, external_id: str) -> str:
    """Say that somebody changed, as BambooHR does: the id, and nothing else."""
    body = json.dumps({"employees": [{"id": external_id, "action": "Created"}]}).encode()
    headers = {"content-type": "application/json", **bamboo_signed(to.secret, int(time.time()), body)}
    return answered(http.post(to.url, content=body, headers=headers))["result"]


def signed(secret: str, message: str, at: int, body: bytes) -> dict[str, str]:
    """Standard Webhooks: the secret is base64 after `whsec_`; it signs id, time and body."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    mac = hmac.digest(key, f"{message}.{at}.".encode() + body, "sha256")
    return {
        "webhook-id": message,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def bamboo_signed(secret: str, at: int, body: bytes) -> dict[str, str]:
    mac = hmac.new(secret.encode(), body + str(at).encode(), hashlib.sha256)
    return {"X-BambooHR-Timestamp": str(at), "X-BambooHR-Signature": mac.hexdigest()}


@contextmanager
def bamboohr(port: int, api_key: str, employees: Mapping[str, Mapping[str, Any]]) -> Generator[int]:
    """An HR system on loopback that answers `GET /employees/{id}?fields=…`; gives its port (0 takes a free one)."""
    expected = "Basic " + base64.b64encode(f"{api_key}:x".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            employee = employees.get(asked.path.removeprefix("/employees/"))
            if not hmac.compare_digest(self.headers.get("Authorization", ""), expected):
                self.send_response_only(401)
                self.end_headers()
            elif employee is None:
                self.send_response_only(404)
                self.end_headers()
            else:
                fields = parse_qs(asked.query).get("fields", [""])[0].split(",")
                body = json.dumps({name: employee.get(name) for name in fields}).encode()
                self.send_response_only(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """A demo's HR system keeps no access log."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
