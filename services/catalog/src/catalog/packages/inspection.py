"""The whole check of an upload: archive, every byte, manifest. Writes what is good into a folder, numbered.

`python -m catalog.packages.inspection <upload> <folder>` runs it in a process of its own with limits on memory,
processor time and file size, and answers in JSON. The process imports neither the kit nor a network client.
"""

import hashlib
import json
import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from catalog.packages import archive, cmi5, markup, scorm
from catalog.packages.archive import Limits
from catalog.packages.refusal import Refusal, quoted

MEMORY_BYTES = 768 << 20
CPU_SECONDS = 30
LIMITS = Limits()


@dataclass(frozen=True)
class File:
    """A file of the package. Its bytes are in the folder under `str(number)`."""

    path: str
    number: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Package:
    """What a good upload holds."""

    format: str
    title: str
    items: Sequence[scorm.Item]
    files: Sequence[File]


def inspect(upload: BinaryIO, folder: Path, limits: Limits = LIMITS) -> Package:
    """Check `upload` and unpack it into `folder`, or raise a Refusal."""
    head = upload.read(1024)
    if not head:
        raise Refusal("package-empty", "The upload has no bytes.")
    if _looks_like_xml(head):
        raise _lone_manifest(upload)
    opened = archive.open_archive(upload, limits)
    for entry in opened.entries:
        archive.check_ratio(entry, limits)
    files: list[File] = []
    for entry, start in zip(opened.entries, opened.starts, strict=True):
        if entry.is_folder:
            continue
        number = len(files)
        target = folder / str(number)
        digest = hashlib.sha256()
        with target.open("xb") as out:
            for block in archive.unpack(upload, entry, start):
                digest.update(block)
                out.write(block)
        files.append(File(entry.name, number, entry.size, digest.hexdigest()))
        with target.open("rb") as written:
            nested = written.read(4) == b"PK\x03\x04"
        if nested:
            archive.check_nested(lambda target=target: target.open("rb"), entry.name, limits)
    return _read_package(files, folder)


def _looks_like_xml(head: bytes) -> bool:
    text = head.decode("utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig", errors="ignore")
    return text.lstrip().startswith("<")


def _lone_manifest(upload: BinaryIO) -> Refusal:
    """cmi5 allows a course structure without a zip; everything else needs one."""
    upload.seek(0)
    try:
        root = markup.read_xml(upload.read(markup.MAX_BYTES + 1), "The upload")
    except Refusal as refusal:
        if refusal.code == "manifest-not-xml":
            return Refusal(
                "not-a-zip", "The file is not a zip archive, and not a cmi5 course structure either."
            )
        return refusal
    if root.name != "courseStructure":
        return Refusal("not-a-zip", f"The file is an XML document (<{root.name}>), not a zip archive.")
    cmi5.check_course(root, None)
    return cmi5.refuse_as_unsupported()


def _read_package(files: Sequence[File], folder: Path) -> Package:
    by_path = {file.path: file for file in files}

    def tree(name: str) -> markup.Node:
        file = by_path[name]
        if file.size > markup.MAX_BYTES:
            raise Refusal(
                "manifest-too-large", f"{name} has {file.size:,} bytes; {markup.MAX_BYTES:,} are allowed."
            )
        return markup.read_xml((folder / str(file.number)).read_bytes(), name)

    if scorm.MANIFEST in by_path:
        manifest = scorm.read_manifest(tree(scorm.MANIFEST), by_path)
        return Package("scorm12", manifest.title, manifest.items, files)
    if cmi5.MANIFEST in by_path:
        cmi5.check_course(tree(cmi5.MANIFEST), by_path)
        raise cmi5.refuse_as_unsupported()
    raise _no_manifest(by_path)


def _no_manifest(paths: Sequence[str] | dict[str, File]) -> Refusal:
    wanted = f"{scorm.MANIFEST} (SCORM) or {cmi5.MANIFEST} (cmi5)"
    for path in paths:
        folder, _, name = path.rpartition("/")
        if name.casefold() in (scorm.MANIFEST, cmi5.MANIFEST):
            if not folder:
                return Refusal(
                    "manifest-name-case", f"The manifest is called {quoted(path)}; it must be {name.lower()}."
                )
            return Refusal(
                "manifest-not-at-root",
                f"{quoted(name)} lies in the folder {quoted(folder)}. Zip what is in the folder, not the folder.",
                entry=path,
            )
    inner = next((path for path in paths if path.lower().endswith(".zip")), None)
    hint = f" It holds another zip, {quoted(inner)}: upload that." if inner else ""
    return Refusal("manifest-missing", f"The package has no {wanted} at its top.{hint}")


def _limit_process() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    most = LIMITS.unpacked_bytes
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(upload: str, folder: str) -> None:
    _limit_process()
    try:
        with Path(upload).open("rb") as file:
            answer = {"package": asdict(inspect(file, Path(folder)))}
    except Refusal as refusal:
        answer = {"refusal": {"code": refusal.code, "detail": refusal.detail, "entry": refusal.entry}}
    except (MemoryError, RecursionError):
        answer = {
            "refusal": {
                "code": "inspection-limit",
                "detail": "The check needed too much memory.",
                "entry": "",
            }
        }
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
