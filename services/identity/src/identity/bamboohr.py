"""A small client of BambooHR's API, and the timer that reads a person again after a notice.

A notice has ids only. The person is read outside the webhook's request, with the kit's retries, since the
other system may be down. The timer's transaction stays open meanwhile, so the call has a short limit.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx

from identity import hris, store, webhook_store
from identity.administration import endpoint_place
from identity.handlers import hear
from identity.person import NOT_LISTED, Described, Leaves, Record, Statement, present_again
from identity.vault import Vault
from lyceum_kit.errors import Unavailable
from lyceum_kit.ledger import Tx
from lyceum_kit.timers import Timer

SECONDS = 3.0  # below the kit's idle_in_transaction_session_timeout
MAX_BYTES = 256 * 1024

Client = Callable[[], httpx.AsyncClient]


def make_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=SECONDS, follow_redirects=False)


async def read_employee(client: Client, base_url: str, api_key: str, external_id: str) -> Any | None:
    """The employee as BambooHR has it; None when it has none. Raises Unavailable for any other answer."""
    url = f"{base_url.rstrip('/')}/employees/{external_id}"
    try:
        async with asyncio.timeout(SECONDS), client() as http:
            answer = await http.get(
                url,
                params={"fields": ",".join(hris.BAMBOOHR_FIELDS)},
                auth=(api_key, "x"),
                headers={"Accept": "application/json"},
            )
    except (httpx.HTTPError, TimeoutError) as e:
        raise Unavailable(f"The HR system does not answer: {type(e).__name__}") from e
    if answer.status_code == 404:
        return None
    if answer.status_code != 200 or len(answer.content) > MAX_BYTES:
        raise Unavailable(f"The HR system answered {answer.status_code}")
    return hris.strict_json(answer.content)


async def on_read_again(tx: Tx, timer: Timer, *, vault: Vault, client: Client) -> None:
    """Somebody changed in the HR system: ask who they are now."""
    endpoint_id, external_id = UUID(timer.payload["endpoint_id"]), timer.payload["external_id"]
    endpoint = await webhook_store.endpoint(tx.conn, tx.tenant, endpoint_id, tx.now)
    if endpoint is None:
        return  # removed since; there is nobody left to ask
    config = json.loads(vault.open(endpoint.config, endpoint_place(tx.tenant, endpoint_id)))
    employee = await read_employee(client, config["base_url"], config["api_key"], external_id)
    statements: list[Statement] = (
        [Leaves(tx.now, reason=NOT_LISTED)]
        if employee is None
        else hris.read_bamboohr(external_id, employee, said_at=tx.now, time_zone=config["time_zone"])
    )
    rows = await store.people_by_external_id(tx.conn, tx.tenant, endpoint.source, [external_id])
    record = rows[0].record if rows else Record()
    said = [present_again(record, s, tx.now) if isinstance(s, Described) else s for s in statements]
    await hear(tx, endpoint.source, {external_id: said}, vault=vault)
