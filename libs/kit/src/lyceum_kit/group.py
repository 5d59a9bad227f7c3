"""Group commit: commands of a tenant that arrive while a transaction is under way share the next one.

A commit costs far more than what most commands write, so that a busy service does many in one. Each command sees what
those before it wrote. The group is all or nothing: where one of them fails, or loses a race, all is rolled back and each
is run alone, so that nobody's failure is another's and no stream is torn.

Where many say the same kind of thing at once, statements cost more than the commit: `run_many` hands them to a handler
that takes them all.

Who was answered together comes again together, a little apart. So a crowd is waited for: until as many are there as
shared the last transaction, and for LINGER at most. One for the first of them alone would make all others wait for two.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from lyceum_kit import db
from lyceum_kit.appending import Appended, write
from lyceum_kit.ledger import Ledger, Tx

Item = TypeVar("Item")
T = TypeVar("T")

MOST = 200  # commands in one transaction
LINGER = 0.005  # seconds: a third of what a transaction of a crowd takes


@dataclass(frozen=True, slots=True)
class _Command:
    handler: Callable[[Tx, Sequence[Any]], Awaitable[Sequence[Any]]]
    item: object
    actor: str
    context: Context  # the request's: its trace and its log fields go with the events
    done: asyncio.Future[Any]


class Group:
    """`run` is `Ledger.run` for routes that many call at once. One transaction is under way per tenant."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: dict[UUID, deque[_Command]] = {}
        self._working: dict[UUID, asyncio.Task[None]] = {}
        self._crowds: dict[UUID, int] = {}  # how many shared a tenant's last transaction
        self._came = asyncio.Event()

    async def run(
        self,
        tenant: UUID,
        handler: Callable[..., Awaitable[T]],
        *args: object,
        actor: str = "",
        **kwargs: object,
    ) -> T:
        """As `Ledger.run`, which see: the answer comes once the command is durable."""

        # A handler of its own: nobody shares its call.
        async def alone(tx: Tx, _items: Sequence[None]) -> Sequence[T]:
            return [await handler(tx, *args, **kwargs)]

        return await self.run_many(tenant, alone, None, actor=actor)

    async def run_many(
        self,
        tenant: UUID,
        handler: Callable[[Tx, Sequence[Item]], Awaitable[Sequence[T]]],
        item: Item,
        *,
        actor: str = "",
    ) -> T:
        """As `run`, for `handler(tx, items)`, which gets the items of all who call it at once by the same actor, in the
        order of their calls, and answers each. An item brings its `Origin` along: the transaction has the first one's.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        command = _Command(handler, item, actor, copy_context(), done)
        self._waiting.setdefault(tenant, deque()).append(command)
        self._came.set()
        if tenant not in self._working:
            self._working[tenant] = asyncio.create_task(self._work(tenant))
        return await done

    async def _work(self, tenant: UUID) -> None:
        waiting = self._waiting[tenant]
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LINGER):
                    await self._crowd(tenant)
            while waiting:
                some = [waiting.popleft() for _ in range(min(len(waiting), MOST))]
                self._crowds[tenant] = len(some)
                if len(some) > 1 and await self._together(tenant, some):
                    continue
                await asyncio.gather(*(self._alone(tenant, command) for command in some))
        finally:
            del self._working[tenant], self._waiting[tenant]

    async def _crowd(self, tenant: UUID) -> None:
        waiting, expected = self._waiting[tenant], self._crowds.pop(tenant, 1)
        while len(waiting) < expected:
            self._came.clear()
            await self._came.wait()

    async def _together(self, tenant: UUID, commands: list[_Command]) -> bool:
        """False when one failed and nothing was done."""
        ledger = self._ledger
        shared: list[Appended] = []
        answered: list[tuple[_Command, Any]] = []
        try:
            async with db.transaction(ledger.engine, tenant) as conn:
                for call in _calls(commands):
                    tx = Tx(
                        conn,
                        tenant,
                        ledger.feed,
                        now=ledger.clock(),
                        new_id=ledger.new_id,
                        actor=call[0].actor,
                        shared=shared,
                    )
                    answered += zip(call, await _in_context(call, tx), strict=True)
                    await tx.flush()
                if shared:
                    await write(conn, tenant, ledger.feed, shared)
        except Exception:  # noqa: BLE001 - whose fault it was shows when each runs alone
            return False
        if shared:
            ledger.wake()
        for command, answer in answered:
            if not command.done.done():  # its caller may have gone
                command.done.set_result(answer)
        return True

    async def _alone(self, tenant: UUID, command: _Command) -> None:
        run = self._ledger.run(tenant, command.handler, [command.item], actor=command.actor)
        try:
            (answer,) = await asyncio.get_running_loop().create_task(run, context=command.context)
        except Exception as e:  # noqa: BLE001 - it is the caller's to handle
            if not command.done.done():
                command.done.set_exception(e)
        else:
            if not command.done.done():
                command.done.set_result(answer)


def _calls(commands: Sequence[_Command]) -> list[list[_Command]]:
    """Who shares a call."""
    calls: dict[object, list[_Command]] = {}
    for command in commands:
        calls.setdefault((command.handler, command.actor), []).append(command)
    return list(calls.values())


async def _in_context(call: Sequence[_Command], tx: Tx) -> Sequence[Any]:
    async def answers() -> Sequence[Any]:
        return await call[0].handler(tx, [command.item for command in call])

    return await asyncio.get_running_loop().create_task(answers(), context=call[0].context)
