"""No log says who somebody is: after the demo, an organisation's life and much that was refused, none has a name in it."""

import json
import re
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import asyncpg
import httpx
import pytest

from identity.signatures import sign_standard
from lyceum_local.demo.numbers import Outcome
from lyceum_local.postgres import with_database
from lyceum_local.remote import PlatformError
from lyceum_local.testing import Platform

# Somebody of whom the platform hears only in what it must refuse.
NAME, ADDRESS = "Hedwig Kiesler-Łamarr", "hedwig.kiesler@refused.example"
WRITTEN = {
    "identity": "SELECT display_name FROM people UNION SELECT email FROM people",
    "assessment": "SELECT recipient_name FROM certificates",
}


def spellings(name: str) -> set[str]:
    """As it is, in an address, and in JSON."""
    return {name, quote(name), quote_plus(name), json.dumps(name)[1:-1], repr(name.encode())[2:-1]}


def naming(logs: Path, names: Iterable[str]) -> list[str]:
    """The lines with one of the names."""
    every = re.compile("|".join(re.escape(form) for name in names for form in spellings(name)), re.IGNORECASE)
    return [
        f"{log.name}: {line}"
        for log in sorted(logs.glob("*.log"))
        for line in log.read_text(errors="replace").splitlines()
        if every.search(line)
    ]


async def written(platform: Platform) -> set[str]:
    """Every name and address that the services keep."""
    found: set[str] = set()
    for service, query in WRITTEN.items():
        connection = await asyncpg.connect(with_database(platform.config.postgres_url, service))
        try:
            found |= {row[0] for row in await connection.fetch(query) if row[0]}
        finally:
            await connection.close()
    return found


async def much_is_refused(platform: Platform, organisation: Any) -> set[int]:
    """What a person may come along with and is refused, one way or another; the statuses."""
    person = {"external_id": "hedwig", "display_name": NAME, "email": ADDRESS, "department": "Engineering"}
    wrong: list[Any] = [
        person | {"hire_date": NAME},
        person | {"display_name": f"{NAME}\0"},
        person | {"display_name": NAME * 1000},
        person | {"email": [ADDRESS]},
        person | {"manager_external_id": {"name": NAME}},
        {"display_name": NAME},
    ]
    statuses: set[int] = set()
    async with platform.api(organisation.tenant) as api:
        asked: list[tuple[str, str, Any]] = [
            *(("PUT", "hris/snapshot", {"complete": False, "people": [one]}) for one in wrong),
            ("PUT", "hris/snapshot", {"complete": False, "people": [person, person]}),
            ("GET", f"people/{quote(NAME)}", None),
            ("GET", f"people?manager_id={quote(NAME)}&search={quote(ADDRESS)}%00", None),
            ("POST", "tenants", {"slug": NAME, "admin": {"display_name": NAME, "email": ADDRESS}}),
            ("POST", f"people/{organisation.ids['person']}/roles", {"roles": [NAME]}),
        ]
        for method, path, body in asked:
            statuses.add((await api.request(method, f"/api/identity/{path}", json=body)).status_code)
        statuses |= {(await deliver(api, organisation, body)).status_code for body in webhooks(person)}
    taken = {"slug": organisation.tenant.slug, "name": NAME, "time_zone": "UTC", "admin": person}
    with pytest.raises(PlatformError):
        platform.operator.call("POST", "/api/identity/tenants", taken)
    return statuses


def webhooks(person: dict[str, Any]) -> list[bytes]:
    now = datetime.now(UTC).isoformat()
    return [
        json.dumps({"type": "person.vanished", "timestamp": now, "data": person}).encode(),
        json.dumps({"type": "person.created", "timestamp": NAME, "data": person}).encode(),
        json.dumps({"type": "person.created", "timestamp": now, "data": [person]}).encode(),
        json.dumps(person).encode()[:-1],
    ]


async def deliver(http: httpx.AsyncClient, organisation: Any, body: bytes) -> httpx.Response:
    webhook = organisation.webhook
    headers = sign_standard(webhook["secret"], f"{ADDRESS}-{len(body)}", datetime.now(UTC), body)
    return await http.post(webhook["url"], content=body, headers=headers)


async def test_no_log_has_a_name_or_an_address(
    platform: Platform, played: Outcome, organisation: Any, tmp_path: Path
) -> None:
    refused = await much_is_refused(platform, organisation)
    assert {400, 404, 422} <= refused
    assert max(refused) < 500
    names = await written(platform) | {NAME, ADDRESS}
    assert {"Ada Lovelace", "Katherine Johnson", organisation.ids["name"]} <= names
    logs = platform.config.data / "logs"
    assert {"ledger.log", "analytics.log", "postgres.log", "kafka.log"} <= {
        f.name for f in logs.glob("*.log")
    }
    assert naming(logs, names) == []

    # The control: a line with a name is found, however it was written, among all the others.
    kept = shutil.copytree(logs, tmp_path / "logs")
    for said in (
        f'{{"event": "hired {NAME}"}}',
        f"GET /people?search={quote_plus('Ada Lovelace')}",
        ADDRESS.upper(),
    ):
        with (kept / "ledger.log").open("a") as log:
            log.write(f"{said}\n")
        assert naming(kept, names)[-1] == f"ledger.log: {said}"
