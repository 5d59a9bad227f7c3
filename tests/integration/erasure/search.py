"""The search for markers: in every row, file, record, trace, export and backup."""

import asyncio
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import httpx
from lz4.block import decompress  # pyright: ignore[reportUnknownVariableType] - it has no types

from lyceum_local import postgres
from lyceum_local.paths import LEDGER_SERVICES
from lyceum_local.testing.collector import Collector
from tests.integration.erasure.company import Company
from tests.integration.erasure.markers import Found

FEEDS = ("identity", "catalog", "enrollment", "assessment")
LZ4 = 0x82
VIEWS = ("v1_people", "v1_enrollments", "v1_assessments", "v1_module_progress", "v1_certificates")


async def places(company: Company, collector: Collector) -> dict[str, Found]:
    """By place, whose markers are there."""
    data = company.platform.config.data
    found = {
        "rows": await rows(company),
        "clickhouse": await _clickhouse(company),
        "traces": company.markers.in_text(repr(collector.spans)),
        "exports": await _exports(company),
    }
    for part in sorted(data.iterdir()):
        found[f"files of {part.name}"] = await files(company, part.name)
    return found


async def files(company: Company, part: str) -> Found:
    """In the files as they are, of one part of the data folder."""
    return await asyncio.to_thread(_files, company, company.platform.config.data / part)


def _files(company: Company, part: Path) -> Found:
    found: Found = set()
    for file in [part] if part.is_file() else part.rglob("*"):
        if not file.is_file():
            continue
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            continue  # gone meanwhile, and what was in it with it
        found |= company.markers.in_bytes(content.rstrip(b"\0"))
        if part.name == "clickhouse" and file.suffix == ".bin":
            found |= company.markers.in_bytes(b"".join(_blocks(content)))
    return found


def _blocks(content: bytes) -> Iterator[bytes]:
    """What a column's file holds, unpacked: of two words that begin alike, LZ4 keeps but the difference. Each block has a
    checksum of 16 bytes, the method, its size with these nine bytes, and its size unpacked
    (https://clickhouse.com/docs/development/architecture, CompressedReadBuffer)."""
    at = 0
    while at + 25 <= len(content):
        method, size, unpacked = struct.unpack_from("<BII", content, at + 16)
        if method != LZ4:
            raise ValueError(f"a block of ClickHouse is packed by method {method:#x}, and not searched")
        packed, at = content[at + 25 : at + 16 + size], at + 16 + size
        if at <= len(content):  # else it is being written
            yield decompress(packed, uncompressed_size=unpacked)


async def rows(company: Company) -> Found:
    found: Found = set()
    for service in LEDGER_SERVICES:
        url = postgres.with_database(company.platform.config.postgres_url, service)
        conn = await asyncpg.connect(url)
        try:
            for row in await conn.fetch("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace ="
                                        " 'public'::regnamespace"):  # fmt: skip
                for (text,) in await conn.fetch(f'SELECT t::text FROM "{row["relname"]}" AS t'):
                    found |= company.markers.in_text(text)
        finally:
            await conn.close()
    return found


async def _clickhouse(company: Company) -> Found:
    found: Found = set()
    config = company.platform.config
    async with httpx.AsyncClient(trust_env=False, auth=("operator", config.secrets.clickhouse)) as client:
        for table in (*(f"{feed}_events" for feed in FEEDS), *VIEWS):
            query = f"SELECT * FROM {table} WHERE tenant = '{company.tenant.tenant_id}' FORMAT TSV"
            answer = await client.post(f"http://127.0.0.1:{config.ports['clickhouse']}/", content=query)
            found |= company.markers.in_text(answer.raise_for_status().text)
    return found


async def _exports(company: Company) -> Found:
    """What an administrator can take away."""
    found: Found = set()
    for path in (
        *("identity/people?include_terminated=true&limit=200", "identity/hris/held"),
        *("analytics/metrics/completed?by=department&format=csv", "analytics/trend?days=7&format=csv"),
        *("enrollment/enrollments?limit=200", "identity/org-units"),
    ):
        found |= company.markers.in_text((await company.api.get(f"/api/{path}")).raise_for_status().text)
    for person_id in company.ids.values():
        for path in ("identity/people/{}", "assessment/certificates?person_id={}"):
            answer = await company.api.get(f"/api/{path.format(person_id)}")
            found |= company.markers.in_text(answer.raise_for_status().text)
    return found


def in_backup(company: Company, backup: Path) -> Found:
    found: Found = set()
    for archive in backup.rglob("*.tar.gz"):
        with tarfile.open(archive) as tar:
            for member in tar:
                if content := tar.extractfile(member):
                    found |= company.markers.in_bytes(content.read())
    return found
