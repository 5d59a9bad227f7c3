"""Closing what talks to a server that may be dead."""

import asyncio
import contextlib
from collections.abc import Awaitable


async def leave(closing: Awaitable[object], *, seconds: float = 3) -> None:
    """Close a client whose server may be gone. Closing then fails, or hangs; nobody may depend on it."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(seconds):
            await closing
