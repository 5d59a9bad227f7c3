"""The tries of one call: how much time is left, how long to wait, and one more for a token that was not taken."""

import asyncio
import time

import grpc
import grpc.aio

from lyceum_client.backoff import Pause, asked_to_wait, delays, worth_another
from lyceum_client.tokens import Tokens


class Tries:
    """All of them end within `seconds`."""

    def __init__(self, tokens: Tokens, pause: Pause, seconds: float) -> None:
        self._tokens = tokens
        self._pause = pause
        self._end = time.monotonic() + seconds
        self._delays = delays()
        self._token = ""
        self._other_token = False

    @property
    def left(self) -> float:
        """Seconds."""
        return max(self._end - time.monotonic(), 0.0)

    async def metadata(self) -> tuple[tuple[str, str], ...]:
        """Raises TimeoutError where identity gave no token in time."""
        async with asyncio.timeout(self.left):
            self._token = await self._tokens.current()
        return (("authorization", f"Bearer {self._token}"),)

    async def again(self, error: grpc.aio.AioRpcError) -> None:
        """Returns when it is time for another try, and raises the error when there is none."""
        if error.code() == grpc.StatusCode.UNAUTHENTICATED and not self._other_token:
            # The key behind the token may be gone. A client that is no longer known gets no other one.
            self._other_token = True
            self._tokens.forget(self._token)
            return
        wait = next(self._delays, None) if worth_another(error) else None
        if wait is None or (wait := max(wait, asked_to_wait(error))) >= self.left:
            raise error
        await self._pause(wait)
