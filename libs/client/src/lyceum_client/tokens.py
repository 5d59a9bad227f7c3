"""A client's id and secret, exchanged for the short tokens that every call carries."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from lyceum_client.backoff import Pause, delays

# Identity is starting, or asks for patience. Anything else it says will not change by asking again.
RETRYABLE = frozenset({429, 502, 503, 504})
# Of a token's life: renewed when this much of it is over, so that none expires on its way.
FRESH = 0.8


@dataclass(frozen=True)
class Credential:
    """As `POST /api/identity/clients` or an operator gave it. A service's client speaks for `tenant`, or for all ("*")."""

    client_id: str
    client_secret: str = field(repr=False)
    tenant: str = ""


class TokenRefused(Exception):
    """Identity gave no token: the client is unknown or revoked, or its secret is wrong."""


class Tokens:
    """The token to send now: kept while it is fresh, asked for once however many calls wait for it."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        credential: Credential,
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._http = http
        self._credential = credential
        self._clock = clock
        self._pause = pause
        self._token = ""
        self._until = float("-inf")
        self._asking = asyncio.Lock()

    async def current(self) -> str:
        """Raises TokenRefused, or httpx.HTTPError where identity does not answer after some tries."""
        if self._clock() < self._until:
            return self._token
        async with self._asking:
            if self._clock() >= self._until:  # else another call asked meanwhile
                asked_at = self._clock()
                self._token, lifetime = await self._ask()
                self._until = asked_at + lifetime * FRESH
            return self._token

    def forget(self, token: str) -> None:
        """A service did not take it: its key may be gone. The next call asks for another."""
        if token == self._token:
            self._until = float("-inf")

    async def _ask(self) -> tuple[str, float]:
        form = {
            "grant_type": "client_credentials",
            "client_id": self._credential.client_id,
            "client_secret": self._credential.client_secret,
            **({"tenant": self._credential.tenant} if self._credential.tenant else {}),
        }
        waits = delays()
        while True:
            wait = next(waits, None)
            try:
                answer = await self._http.post("/api/identity/token", data=form)
            except httpx.TransportError:
                if wait is None:
                    raise
            else:
                if answer.is_success:
                    body = answer.json()
                    return str(body["access_token"]), float(body["expires_in"])
                if answer.status_code not in RETRYABLE:
                    raise TokenRefused(f"{answer.status_code}: {answer.text[:400]}")
                if wait is None:
                    answer.raise_for_status()
            await self._pause(wait or 0)
