"""Where packages are kept: a folder or a bucket, the same through obstore.

    <tenant>/blobs/<sha-256>         a file's bytes, kept once per tenant
    packages/<package id>.json       a package's paths → [sha-256, size], with its tenant

The index is written last, so a package is served whole or not at all. An import that dies before it leaves blobs
that nothing names, and the next import of the same file uses them.
"""

import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

import obstore
from obstore.store import LocalStore, ObjectStore, from_url

from catalog.packages.inspection import File

KEPT_INDEXES = 64
_CHUNK = 256 * 1024


class Stored(NamedTuple):
    """A file as it is served: its blob, and its size."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Index:
    tenant: UUID
    files: Mapping[str, Stored]
    folded: Mapping[str, str]

    def find(self, path: str) -> tuple[str, Stored] | None:
        """By name, or by name in another case: what authors on Windows never notice."""
        name = path if path in self.files else self.folded.get(path.casefold())
        return None if name is None else (name, self.files[name])


class ContentStore:
    """Opens nothing until it is used."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._opened: ObjectStore | None = None
        # Packages never change, so an index is right for ever.
        self._indexes: OrderedDict[UUID, Index] = OrderedDict()

    def _store(self) -> ObjectStore:
        if self._opened is None:
            parts = urlsplit(self._url)
            if parts.scheme == "file":
                self._opened = LocalStore(Path(parts.path), mkdir=True)
            else:
                self._opened = from_url(self._url)
        return self._opened

    async def put_package(self, tenant: UUID, package_id: UUID, files: Sequence[File], folder: Path) -> None:
        """Keep the files that lie in `folder` by number, then the index that makes them a package."""
        store = self._store()
        for file in files:
            blob = _blob(tenant, file.sha256)
            if not await self._exists(blob):
                await obstore.put_async(store, blob, folder / str(file.number))
        index = {"tenant": str(tenant), "files": {file.path: [file.sha256, file.size] for file in files}}
        await obstore.put_async(store, _index(package_id), json.dumps(index).encode())

    async def index(self, package_id: UUID) -> Index | None:
        """A package's files, or None when there is no such package."""
        if package_id in self._indexes:
            self._indexes.move_to_end(package_id)
            return self._indexes[package_id]
        try:
            found = await obstore.get_async(self._store(), _index(package_id))
        except FileNotFoundError:
            return None
        raw: dict[str, Any] = json.loads(bytes(await found.bytes_async()))
        files = {path: Stored(sha256, size) for path, (sha256, size) in raw["files"].items()}
        index = Index(UUID(raw["tenant"]), files, {path.casefold(): path for path in files})
        self._indexes[package_id] = index
        if len(self._indexes) > KEPT_INDEXES:
            self._indexes.popitem(last=False)
        return index

    async def read(self, tenant: UUID, file: Stored, start: int, end: int) -> AsyncIterator[bytes]:
        """Bytes `start` to before `end` of a file, in pieces."""
        if start == end:
            return
        found = await obstore.get_async(
            self._store(), _blob(tenant, file.sha256), options={"range": (start, end)}
        )
        async for chunk in found.stream(min_chunk_size=_CHUNK):
            yield bytes(chunk)

    async def check(self) -> None:
        """Raise when the store cannot be reached."""
        await self._exists("packages/none.json")

    async def _exists(self, path: str) -> bool:
        try:
            await obstore.head_async(self._store(), path)
        except FileNotFoundError:
            return False
        return True


def _blob(tenant: UUID, sha256: str) -> str:
    return f"{tenant}/blobs/{sha256[:2]}/{sha256}"


def _index(package_id: UUID) -> str:
    return f"packages/{package_id}.json"
