"""Catalog over a real database and a content folder, and archives made by hand, good and hostile."""

import io
import struct
import zipfile
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from catalog.app import build
from catalog.packages.inspection import inspect
from catalog.packages.refusal import Refusal
from catalog.settings import Settings
from lyceum_kit.service import Service
from lyceum_kit.testing import TestKeys, client

TENANT = UUID("01990000-0000-7000-8000-000000000001")
OTHER = UUID("01990000-0000-7000-8000-000000000002")
AUTHOR = UUID("01990000-0000-7000-8000-0000000000a1")

MANIFEST = b"""<?xml version="1.0"?>
<manifest identifier="m" xmlns="http://www.imsproject.org/xsd/imscp_rootv1p1p2"
          xmlns:adlcp="http://www.adlnet.org/xsd/adlcp_rootv1p2">
  <metadata><schema>ADL SCORM</schema><schemaversion>1.2</schemaversion></metadata>
  <organizations default="o"><organization identifier="o"><title>A course</title>
    <item identifier="i" identifierref="r"><title>Start</title></item>
  </organization></organizations>
  <resources><resource identifier="r" type="webcontent" adlcp:scormtype="sco" href="index.html"/></resources>
</manifest>"""
GOOD = {"imsmanifest.xml": MANIFEST, "index.html": b"<title>Start</title>"}


@dataclass(frozen=True)
class Forged:
    """An entry of a zip that may lie. None: what is true."""

    name: bytes
    data: bytes = b""
    method: int = 0
    flags: int = 0x0800
    mode: int = 0
    packed: bytes | None = None
    size: int | None = None
    compressed: int | None = None
    crc: int | None = None
    local_name: bytes | None = None
    local_size: int | None = None
    local_method: int | None = None
    local_magic: bytes = b"PK\x03\x04"
    offset: int | None = None
    extra: bytes = b""


@dataclass
class Forge:
    """Writes zip files byte by byte, as no zip library would."""

    entries: list[Forged] = field(default_factory=list[Forged])

    def add(self, name: str | bytes, data: bytes = b"", **lies: Any) -> "Forge":
        self.entries.append(Forged(name.encode() if isinstance(name, str) else name, data, **lies))
        return self

    def good(self) -> "Forge":
        for name, data in GOOD.items():
            self.add(name, data)
        return self

    def build(
        self, *, prefix: bytes = b"", suffix: bytes = b"", count: int | None = None, comment: bytes = b""
    ) -> bytes:
        body, directory = bytearray(prefix), bytearray()
        for entry in self.entries:
            packed = entry.packed
            if packed is None:
                packed = _deflate(entry.data) if entry.method == 8 else entry.data
            crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
            size = len(entry.data) if entry.size is None else entry.size
            compressed = len(packed) if entry.compressed is None else entry.compressed
            offset = len(body) if entry.offset is None else entry.offset
            local_name = entry.name if entry.local_name is None else entry.local_name
            local_size = size if entry.local_size is None else entry.local_size
            local_method = entry.method if entry.local_method is None else entry.local_method
            body += struct.pack(
                "<4s5H3L2H", entry.local_magic, 20, entry.flags, local_method, 0, 33, crc, compressed, local_size,
                len(local_name), 0,
            )  # fmt: skip
            body += local_name + packed
            directory += struct.pack(
                "<4s6H3L5H2L", b"PK\x01\x02", 0x031E, 20, entry.flags, entry.method, 0, 33, crc, compressed, size,
                len(entry.name), len(entry.extra), 0, 0, 0, entry.mode << 16, offset,
            )  # fmt: skip
            directory += entry.name + entry.extra
        number = len(self.entries) if count is None else count
        end = struct.pack(
            "<4s4H2LH", b"PK\x05\x06", 0, 0, number, number, len(directory), len(body), len(comment)
        )
        return bytes(body + directory + end + comment + suffix)


def _deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


@pytest.fixture
def forge() -> Callable[[], Forge]:
    return Forge


@pytest.fixture
def zipped() -> Callable[[Mapping[str, bytes]], bytes]:
    """An honest zip of these files."""

    def make(files: Mapping[str, bytes]) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
        return out.getvalue()

    return make


@pytest.fixture
def good() -> dict[str, bytes]:
    """The files of a small package that imports."""
    return dict(GOOD)


@pytest.fixture
def inspected(tmp_path: Path) -> Callable[[bytes], str]:
    """The cause for which an upload is refused, straight from the inspection; empty when it is not."""

    def inspect_bytes(body: bytes) -> str:
        folder = tmp_path / uuid4().hex
        folder.mkdir()
        try:
            inspect(io.BytesIO(body), folder)
        except Refusal as refusal:
            return refusal.code
        return ""

    return inspect_bytes


@pytest.fixture(scope="session")
def samples() -> dict[str, bytes]:
    """Packages made by others, which lie beside the checkout where the project is developed; not in a clone."""
    for parent in Path(__file__).resolve().parents:
        for folder in (parent / "shared" / "content", parent.parent / "shared" / "content"):
            if folder.is_dir():
                found = sorted(p for p in folder.glob("*/*") if p.suffix in (".zip", ".xml"))
                return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}
    pytest.skip("the sample packages of others are not part of the repository")


@dataclass(frozen=True)
class Catalog:
    """A running catalog and people to talk to it."""

    service: Service
    keys: TestKeys
    folder: Path

    def as_(self, *roles: str, tenant: UUID = TENANT) -> httpx.AsyncClient:
        return client(self.service, token=self.keys.token(tenant=tenant, subject=AUTHOR, roles=roles))

    def author(self) -> httpx.AsyncClient:
        return self.as_("learner", "author")

    async def upload(self, body: bytes) -> httpx.Response:
        async with self.author() as http:
            return await http.post(
                "/api/catalog/packages", content=body, headers={"content-type": "application/zip"}
            )

    async def kept(self) -> tuple[int, list[Path]]:
        """How many events and packages the ledger has, and what lies in the content folder."""
        assert self.service.ledger
        async with self.service.ledger.engine.connect() as conn:
            await conn.execute(text("SELECT set_config('lyceum.tenant', :t, true)"), {"t": str(TENANT)})
            rows = await conn.scalar(
                text("SELECT (SELECT count(*) FROM events) + (SELECT count(*) FROM packages)")
            )
        return int(rows or 0), sorted(p for p in self.folder.rglob("*") if p.is_file())


@pytest.fixture
async def catalog(database: Callable[[str], Awaitable[Any]], tmp_path: Path) -> AsyncIterator[Catalog]:
    made = await database("catalog")
    keys = TestKeys()
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    settings = Settings(
        database_url=made.app_url,
        content_url=f"file://{tmp_path / 'content'}",
        catalog_upload_folder=str(uploads),
        app_origin="http://127.0.0.1:8080",
        content_origin="http://{package}.localhost:8081",
    )
    service = build(settings, verifier=keys.verifier)
    yield Catalog(service, keys, tmp_path)
    assert service.ledger
    await service.ledger.close()
