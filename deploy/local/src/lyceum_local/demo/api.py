"""The platform's public API as the demo calls it: as an API client, or as a person who signed in."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx

from lyceum_local.remote import PlatformError


class Refused(PlatformError):
    """The platform said no; `code` is the stable part of its problem document."""

    def __init__(self, answer: httpx.Response) -> None:
        try:
            problem: dict[str, Any] = answer.json()
        except ValueError:
            problem = {}
        self.status = answer.status_code
        self.code = str(problem.get("type", "")).removeprefix("urn:lyceum:problem:")
        told = problem.get("detail") or answer.text[:400]
        super().__init__(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {told}")


def answered(answer: httpx.Response) -> Any:
    """What it says. Raises Refused."""
    if answer.is_error:
        raise Refused(answer)
    return answer.json() if answer.content else None


def patiently(send: Callable[[], httpx.Response], *, seconds: float = 60) -> httpx.Response:
    """A busy service says 503 and when to come again; it has done nothing then. The gateway's 503 may hide more."""
    end = time.monotonic() + seconds
    while True:
        answer = send()
        own_word = answer.headers.get("content-type") == "application/problem+json"
        if answer.status_code != 503 or not own_word or time.monotonic() > end:
            return answer
        time.sleep(float(answer.headers.get("retry-after", 1)))


class Api:
    """Calls with somebody's token, which is asked for anew when it has ended."""

    def __init__(self, http: httpx.Client, sign_in: Callable[[], str]) -> None:
        self.http = http
        self._sign_in = sign_in
        self._token = sign_in()

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        for token_is_new in (False, True):
            headers = {"authorization": f"Bearer {self._token}", **more.get("headers", {})}
            options = {**more, "headers": headers}
            answer = patiently(partial(self._send, method, path, body, options))
            if answer.status_code != 401 or token_is_new:
                break
            self._token = self._sign_in()
        return answered(answer)

    def _send(self, method: str, path: str, body: Any, more: dict[str, Any]) -> httpx.Response:
        try:
            return self.http.request(method, path, json=body, **more)
        except httpx.TransportError as e:
            raise PlatformError(
                f"{method} {path}: the platform went away ({type(e).__name__}): see ./lyceum status"
            ) from e

    def get(self, path: str, **params: Any) -> Any:
        return self.call("GET", path, params=params)

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        return self.call("POST", path, body, **more)

    def put(self, path: str, body: Any) -> Any:
        return self.call("PUT", path, body)

    def every(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """All pages of a list."""
        items: list[dict[str, Any]] = []
        after: dict[str, str] = {}
        while True:
            page = self.get(path, limit=200, **params, **after)
            items += page["items"]
            if not page.get("next"):
                return items
            after = {"after": page["next"]}


def client_api(http: httpx.Client, client_id: str, secret: str) -> Api:
    """As an API client (client credentials)."""
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
    return Api(http, lambda: answered(http.post("/api/identity/token", data=form))["access_token"])


def person_api(http: httpx.Client, person_id: str) -> Api:
    """As a person, by the persona chooser: `http` keeps the session's cookie."""
    answered(http.post("/api/identity/sessions", json={"person_id": person_id}))
    origin = {"origin": str(http.base_url).rstrip("/")}
    return Api(http, lambda: answered(http.post("/api/identity/token", headers=origin))["access_token"])


def until(holds: Callable[[], Any], what: str, *, seconds: float = 120, pause: float = 0.1) -> Any:
    """The first true answer. Waits for what travels by Kafka; `what` says what never came."""
    end = time.monotonic() + seconds
    while not (found := holds()):
        if time.monotonic() > end:
            raise PlatformError(f"{what} did not happen in {seconds:.0f} s: see ./lyceum status")
        time.sleep(pause)
    return found
