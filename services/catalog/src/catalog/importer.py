"""An upload's way into the catalog: to disk, checked in a process of its own, stored, and only then an event."""

import asyncio
import contextlib
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import anyio

from catalog import handlers, store
from catalog.errors import PackageTooLarge, refused
from catalog.packages.inspection import File
from catalog.packages.refusal import Refusal
from catalog.storage import ContentStore
from lyceum.catalog.v1.events_pb2 import PackageImported, PackageItem
from lyceum_kit.ids import NewId
from lyceum_kit.ledger import Ledger


@dataclass(frozen=True)
class Importer:
    """`new_package_id` is random, unlike other ids: a package's id is also its address (content.py)."""

    ledger: Ledger
    content: ContentStore
    new_package_id: NewId
    folder: str
    max_bytes: int
    seconds: float
    # Unpacking is work: two at a time leave the machine to others.
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))

    async def run(
        self, chunks: AsyncIterator[bytes], *, tenant: UUID, actor: str
    ) -> tuple[PackageImported, bool]:
        """Import an upload; the package, and whether it is new. The same bytes again are the same package."""
        with TemporaryDirectory(prefix="lyceum-upload-", dir=self.folder or None) as name:
            folder = Path(name)
            upload, unpacked = folder / "upload", folder / "files"
            unpacked.mkdir()
            size, sha256 = await self._receive(chunks, upload)
            async with self.ledger.read(tenant) as conn:
                known = await store.package_by_content(conn, tenant, sha256)
            if known is not None:
                return known, False
            async with self.slots:
                verdict = await self._inspect(upload, unpacked)
            files = [File(**file) for file in verdict["files"]]
            package = PackageImported(
                package_id=str(self.new_package_id()),
                format=verdict["format"],
                title=verdict["title"],
                size_bytes=size,
                files=len(files),
                sha256=sha256,
                items=[PackageItem(**item) for item in verdict["items"]],
                uploaded_by=actor,
            )
            # Should the database fail now, the files stay under an id that nobody knows.
            await self.content.put_package(tenant, UUID(package.package_id), files, unpacked)
            await self.ledger.run(tenant, handlers.record_package, package, actor=actor)
            return package, True

    async def _receive(self, chunks: AsyncIterator[bytes], target: Path) -> tuple[int, str]:
        size, digest = 0, hashlib.sha256()
        async with await anyio.open_file(target, "xb") as out:
            async for chunk in chunks:
                size += len(chunk)
                if size > self.max_bytes:
                    raise PackageTooLarge(
                        f"A package has at most {self.max_bytes:,} bytes", limit=self.max_bytes
                    )
                digest.update(chunk)
                await out.write(chunk)
        return size, digest.hexdigest()

    async def _inspect(self, upload: Path, unpacked: Path) -> dict[str, Any]:
        # -I and an empty environment: whatever goes wrong in there knows no secret of ours.
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-m", "catalog.packages.inspection", str(upload), str(unpacked),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env={"LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        try:
            async with asyncio.timeout(self.seconds):
                out, errors = await process.communicate()
        except TimeoutError:
            raise refused(
                Refusal("inspection-limit", f"The check took longer than {self.seconds:.0f} seconds.")
            ) from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if process.returncode is not None and process.returncode > 0:
            raise RuntimeError(f"the inspection failed: {errors.decode(errors='replace')[-2000:]}")
        if process.returncode:
            raise refused(
                Refusal("inspection-limit", "The check ended early: it needed too much time or memory.")
            )
        answer = json.loads(out)
        if "refusal" in answer:
            why = answer["refusal"]
            raise refused(Refusal(why["code"], why["detail"], entry=why["entry"]))
        return answer["package"]
