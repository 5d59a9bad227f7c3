"""What the command line asks the running platform, as its operator."""

import json
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlencode

from lyceum_local.config import Config


class PlatformError(Exception):
    """The platform did not answer, or refused; the message is its own."""


def ask(
    port: int, method: str, path: str, *, headers: dict[str, str], body: str = "", patience: float = 30
) -> tuple[int, str]:
    """One request to a port of this machine: status and text."""
    connection = HTTPConnection("127.0.0.1", port, timeout=patience)
    try:
        connection.request(method, path, body.encode() or None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except (OSError, HTTPException) as e:
        raise PlatformError(
            f"the platform does not answer on port {port} ({e}): is it up? See ./lyceum status"
        ) from e
    finally:
        connection.close()


def readiness(config: Config, service: str) -> tuple[bool, str]:
    """Whether the service says it is ready, and what it says otherwise."""
    try:
        status, text = ask(config.ports["app"], "GET", f"/api/{service}/readyz", headers={}, patience=5)
    except PlatformError as e:
        return False, str(e.__cause__)
    return status == 200, "" if status == 200 else _told(status, text)


class Operator:
    """Calls to the services' APIs with the operator's own credential."""

    def __init__(self, config: Config) -> None:
        self._port = config.ports["app"]
        form = {
            "grant_type": "client_credentials",
            "client_id": "operator",
            "client_secret": config.secrets.clients["operator"],
        }
        status, text = ask(
            self._port,
            "POST",
            "/api/identity/token",
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(form),
        )
        try:
            self._token = str(json.loads(text)["access_token"])
        except (ValueError, KeyError, TypeError):  # a refusal, or whatever else listens there
            raise PlatformError(f"identity gave the operator no token: {_told(status, text)}") from None

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        status, text = ask(
            self._port,
            method,
            path,
            headers=headers,
            body=json.dumps(body) if body is not None else "",
            patience=600,
        )
        if status >= 400:
            raise PlatformError(_told(status, text))
        return json.loads(text) if text else None

    def try_get(self, path: str) -> Any:
        """None when the service cannot tell right now."""
        try:
            return self.call("GET", path)
        except PlatformError:
            return None


def _told(status: int, text: str) -> str:
    """The platform's own words from a problem document."""
    try:
        problem = dict(json.loads(text))
    except (ValueError, TypeError):
        return f"{status}: {text[:400]}"
    if red := problem.get("red"):
        return "; ".join(f"{part}: {why}" for part, why in red.items())
    return f"{problem.get('title', status)}: {problem.get('detail') or text[:400]}"
