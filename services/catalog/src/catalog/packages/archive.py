"""A strict reader for zip archives of strangers. It reads; where bytes go is the caller's choice.

Python's zipfile is lenient where zip readers disagree with each other, and a disagreement is what an attack needs: it
moves offsets, ignores local headers and trusts sizes. Here each fact that the format states twice must be the same
twice, no byte belongs to two entries, and sizes are counted while unpacking (APPNOTE 6.3.10 has the layout).
"""

import stat
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

from catalog.packages.names import check_names
from catalog.packages.refusal import Refusal, quoted

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_END64_MAGIC, _LOCATOR64_MAGIC = b"PK\x06\x06", b"PK\x06\x07"
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF

_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_DESCRIPTOR = 0x0008
_PATCH = 0x0020
_UTF8 = 0x0800
_STORED, _DEFLATED = 0, 8
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Limits:
    """What a package may cost (the upload itself is limited where it arrives)."""

    unpacked_bytes: int = 2 << 30
    entries: int = 10_000
    ratio: int = 100
    # Small files of blanks compress better than 100:1 and hurt nobody: 10,000 of them are 640 MB.
    ratio_from_bytes: int = 64 << 10
    directory_bytes: int = 16 << 20


@dataclass(frozen=True)
class Entry:
    """One entry as the central directory describes it."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    mode: int
    offset: int

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/")

    def refuse(self, code: str, why: str) -> Refusal:
        return Refusal(code, f"The entry {quoted(self.name)} {why}.", entry=self.name)


@dataclass(frozen=True)
class Archive:
    """A checked directory. `starts[i]` is where the data of `entries[i]` begins."""

    entries: Sequence[Entry]
    starts: Sequence[int]


def open_archive(file: BinaryIO, limits: Limits) -> Archive:
    """Check everything that can be checked without unpacking."""
    length = file.seek(0, 2)
    entries, directory_at = _read_directory(file, length, limits)
    check_names([entry.name for entry in entries])
    for entry in entries:
        _check_entry(entry, directory_at)
    # By the directory alone first, since overlapping entries disagree with their local headers as well.
    _check_overlap(entries, [entry.offset + _LOCAL.size + len(entry.raw_name) for entry in entries])
    starts = [_check_local(file, entry, directory_at) for entry in entries]
    _check_overlap(entries, starts)
    unpacked = sum(entry.size for entry in entries)
    if unpacked > limits.unpacked_bytes:
        raise Refusal(
            "zip-unpacked-too-large",
            f"The package would unpack to {unpacked:,} bytes; {limits.unpacked_bytes:,} are allowed.",
        )
    return Archive(entries, starts)


def unpack(file: BinaryIO, entry: Entry, start: int) -> Iterator[bytes]:
    """Yield an entry's bytes. Stops with a Refusal as soon as they are not what the directory says."""
    inflate = zlib.decompressobj(-15) if entry.method == _DEFLATED else None
    size, crc, left = 0, 0, entry.compressed
    file.seek(start)
    pending = b""
    while left or pending:
        if not pending:
            pending = file.read(min(_CHUNK, left))
            if not pending:
                raise entry.refuse("zip-truncated", "is cut off by the end of the file")
            left -= len(pending)
        if inflate is None:
            block, pending = pending, b""
        else:
            try:
                block = inflate.decompress(pending, _CHUNK)
            except zlib.error:
                raise entry.refuse("zip-data-invalid", "is not valid deflate data") from None
            pending = inflate.unconsumed_tail
            if inflate.eof and (inflate.unused_data or left):
                raise entry.refuse("zip-size-mismatch", "has fewer compressed bytes than its header says")
        size += len(block)
        if size > entry.size:
            raise entry.refuse(
                "zip-size-mismatch", f"unpacks to more than the {entry.size:,} bytes it declares"
            )
        crc = zlib.crc32(block, crc)
        if block:
            yield block
    if inflate is not None and not inflate.eof:
        raise entry.refuse("zip-data-invalid", "ends in the middle of its deflate data")
    if size < entry.size:
        raise entry.refuse(
            "zip-size-mismatch", f"unpacks to {size:,} bytes, not to the {entry.size:,} bytes it declares"
        )
    if crc != entry.crc:
        raise entry.refuse("zip-data-invalid", "has another checksum than its header says")


def check_nested(open_file: Callable[[], BinaryIO], name: str, limits: Limits) -> None:
    """Refuse an archive inside the package that would explode where somebody unpacks it.

    We never unpack it ourselves, so an archive that cannot be read is a file like any other.
    """
    with open_file() as file:
        try:
            entries, _ = _read_directory(file, file.seek(0, 2), limits)
        except Refusal:
            return
    declared = sum(entry.size for entry in entries)
    if declared > limits.unpacked_bytes or any(_explodes(entry, limits) for entry in entries):
        raise Refusal(
            "zip-nested-bomb", f"The archive {quoted(name)} would unpack to {declared:,} bytes.", entry=name
        )
    deeper = next((entry.name for entry in entries if entry.name.lower().endswith(".zip")), None)
    if deeper is not None:
        raise Refusal(
            "zip-nested-bomb",
            f"The archive {quoted(name)} contains another archive, {quoted(deeper)}.",
            entry=name,
        )


def _read_directory(file: BinaryIO, length: int, limits: Limits) -> tuple[list[Entry], int]:
    end_at, count, size, offset = _find_directory(file, length)
    if count == 0 and size == 0:
        raise Refusal("zip-empty", "The zip archive has no entries.")
    if count > limits.entries:
        raise Refusal(
            "zip-too-many-entries", f"The package has {count:,} entries; {limits.entries:,} are allowed."
        )
    if size > limits.directory_bytes:
        raise Refusal(
            "zip-directory-invalid", f"The archive's directory is {size:,} bytes long: too long to be true."
        )
    if offset + size != end_at:
        raise Refusal(
            "zip-directory-invalid",
            f"The archive's directory should be {size:,} bytes at {offset:,}, but its end record is at {end_at:,}.",
        )
    file.seek(offset)
    directory = file.read(size)
    entries: list[Entry] = []
    at = 0
    while at < size:
        if len(entries) == count:
            raise Refusal(
                "zip-directory-invalid",
                f"The archive's directory has more than the {count:,} declared entries.",
            )
        entry, at = _read_entry(directory, at, number=len(entries) + 1)
        entries.append(entry)
    if len(entries) != count:
        raise Refusal(
            "zip-directory-invalid",
            f"The archive declares {count:,} entries, but its directory has {len(entries):,}.",
        )
    if min(entry.offset for entry in entries) != 0:
        file.seek(0)
        if file.read(4) != _LOCAL_MAGIC:
            raise Refusal(
                "zip-leading-data",
                "The file does not begin with a zip entry: other data precedes the archive.",
            )
    return entries, offset


def _find_directory(file: BinaryIO, length: int) -> tuple[int, int, int, int]:
    """Where the directory must end, its number of entries, size and offset."""
    file.seek(0)
    head = file.read(4)
    tail_at = max(0, length - _END.size - _MAX16)
    file.seek(tail_at)
    tail = file.read()
    found: list[int] = []
    at = tail.find(_END_MAGIC)
    seen = at >= 0
    while at >= 0:
        if at + _END.size <= len(tail) and at + _END.size + _END.unpack_from(tail, at)[7] == len(tail):
            found.append(at)
        at = tail.find(_END_MAGIC, at + 1)
    if not found:
        if seen:
            raise Refusal("zip-trailing-data", "The zip archive's end record is not at the end of the file.")
        if head == _LOCAL_MAGIC:
            raise Refusal("zip-truncated", "The zip archive's end record is missing: the file was cut off.")
        raise Refusal("not-a-zip", "The file is not a zip archive, whatever its name says.")
    if len(found) > 1:
        raise Refusal(
            "zip-end-ambiguous", "The zip archive has more than one end record; readers would disagree."
        )
    (at,) = found
    _, disk, directory_disk, here, count, size, offset, _ = _END.unpack_from(tail, at)
    end_at = tail_at + at
    locator_at = end_at - _LOCATOR64.size
    locator = b""
    if locator_at >= 0:
        file.seek(locator_at)
        locator = file.read(_LOCATOR64.size)
    if locator[:4] == _LOCATOR64_MAGIC:
        return _find_directory64(file, locator, locator_at, (here, count, size, offset))
    if _MAX16 in (here, count) or _MAX32 in (size, offset):
        raise _zip64("The end record refers to a zip64 record, but the archive has none.")
    if disk or directory_disk or here != count:
        raise Refusal("zip-multi-disk", "The archive is one part of a split archive.")
    return end_at, count, size, offset


def _find_directory64(
    file: BinaryIO, locator: bytes, locator_at: int, short: tuple[int, int, int, int]
) -> tuple[int, int, int, int]:
    _, disk, end64_at, disks = _LOCATOR64.unpack(locator)
    if end64_at + _END64.size > locator_at:
        raise _zip64("The zip64 end record lies outside the archive.")
    file.seek(end64_at)
    _magic, record, _, _, disk_here, directory_disk, here, count, size, offset = _END64.unpack(
        file.read(_END64.size)
    )
    if _magic != _END64_MAGIC:
        raise _zip64("The zip64 end record does not begin with its signature.")
    if end64_at + 12 + record != locator_at:
        raise _zip64("The zip64 end record has another length than it says.")
    if disk or disks > 1 or disk_here or directory_disk or here != count:
        raise Refusal("zip-multi-disk", "The archive is one part of a split archive.")
    for told, full, most in zip(
        short, (here, count, size, offset), (_MAX16, _MAX16, _MAX32, _MAX32), strict=True
    ):
        if told not in (most, full):
            raise _zip64("The end record and the zip64 end record contradict each other.")
    return end64_at, count, size, offset


def _zip64(detail: str, entry: str = "") -> Refusal:
    return Refusal("zip-zip64-invalid", detail, entry=entry)


def _read_entry(directory: bytes, at: int, *, number: int) -> tuple[Entry, int]:
    if directory[at : at + 4] != _CENTRAL_MAGIC or at + _CENTRAL.size > len(directory):
        raise Refusal("zip-directory-invalid", f"Entry {number:,} of the archive's directory is broken.")
    fields = _CENTRAL.unpack_from(directory, at)
    _, _, _, flags, method, _, _, crc, compressed, size = fields[:10]
    name_length, extra_length, comment_length, disk, _, attributes, offset = fields[10:]
    at += _CENTRAL.size
    end = at + name_length + extra_length + comment_length
    if end > len(directory):
        raise Refusal("zip-directory-invalid", f"Entry {number:,} reaches beyond the archive's directory.")
    raw_name = directory[at : at + name_length]
    extra = directory[at + name_length : at + name_length + extra_length]
    name = _decode_name(raw_name, flags)
    size, compressed, offset, disk = _zip64_fields(extra, name, size, compressed, offset, disk)
    if disk:
        raise Refusal(
            "zip-multi-disk", f"The entry {quoted(name)} is on another part of a split archive.", entry=name
        )
    return Entry(name, raw_name, flags, method, crc, compressed, size, attributes >> 16, offset), end


def _decode_name(raw: bytes, flags: int) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        if flags & _UTF8:
            raise Refusal(
                "zip-name-encoding", f"The entry name {raw!a} is marked as UTF-8, but is not."
            ) from None
        return raw.decode("cp437")


def _zip64_fields(
    extra: bytes, name: str, size: int, compressed: int, offset: int, disk: int
) -> tuple[int, int, int, int]:
    """Replace the values that say "see zip64"."""
    field = next((data for kind, data in _extra_fields(extra) if kind == 1), None)
    at = 0

    def take(value: int, most: int, width: int, what: str) -> int:
        nonlocal at
        if value != most:
            return value
        data = b"" if field is None else field[at : at + width]
        at += width
        if len(data) < width:
            raise _zip64(
                f"The entry {quoted(name)} refers to zip64 information for its {what}, but that is not in the archive: "
                "its data would lie beyond the end of the file.",
                name,
            )
        return int.from_bytes(data, "little")

    return (
        take(size, _MAX32, 8, "uncompressed size"),
        take(compressed, _MAX32, 8, "compressed size"),
        take(offset, _MAX32, 8, "position"),
        take(disk, _MAX16, 4, "disk"),
    )


def _extra_fields(extra: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        yield kind, extra[at + 4 : at + 4 + length]
        at += 4 + length


def _check_entry(entry: Entry, directory_at: int) -> None:
    if entry.flags & _ENCRYPTED or entry.method == 99:
        raise entry.refuse("zip-encrypted", "is encrypted")
    kind = stat.S_IFMT(entry.mode)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "symbolic link" if kind == stat.S_IFLNK else "special file"
        raise entry.refuse("zip-special-entry", f"is a {what}; only files and folders are accepted")
    if entry.is_folder == (kind == stat.S_IFREG) and kind:
        raise entry.refuse(
            "zip-special-entry", "is a folder by name and a file by kind, or the other way round"
        )
    if entry.method not in (_STORED, _DEFLATED) or entry.flags & _PATCH:
        raise entry.refuse(
            "zip-compression-unsupported", f"uses compression method {entry.method}; use deflate"
        )
    if entry.method == _STORED and entry.compressed != entry.size:
        raise entry.refuse(
            "zip-stored-size-mismatch",
            f"is not compressed, but has two sizes: {entry.compressed:,} and {entry.size:,}",
        )
    if entry.is_folder and entry.size:
        raise entry.refuse("zip-special-entry", "is a folder with data in it")
    if entry.offset + _LOCAL.size + entry.compressed > directory_at:
        raise entry.refuse(
            "zip-entry-outside-file", f"should have {entry.compressed:,} bytes, beyond the end of the archive"
        )


def _explodes(entry: Entry, limits: Limits) -> bool:
    return entry.size > limits.ratio_from_bytes and entry.size > limits.ratio * max(entry.compressed, 1)


def check_ratio(entry: Entry, limits: Limits) -> None:
    if _explodes(entry, limits):
        raise entry.refuse(
            "zip-ratio",
            f"would unpack from {entry.compressed:,} to {entry.size:,} bytes: more than {limits.ratio} to 1",
        )


def _check_local(file: BinaryIO, entry: Entry, directory_at: int) -> int:
    """Compare the local header with the directory; return where the data begins."""
    file.seek(entry.offset)
    header = file.read(_LOCAL.size)
    if header[:4] != _LOCAL_MAGIC:
        raise entry.refuse("zip-local-header-invalid", "does not begin with a local header")
    _, _, flags, method, _, _, crc, compressed, size, name_length, extra_length = _LOCAL.unpack(header)
    raw_name, extra = file.read(name_length), file.read(extra_length)
    if raw_name != entry.raw_name:
        raise entry.refuse("zip-header-mismatch", f"is called {quoted(_lossy(raw_name))} in its own header")
    if method != entry.method or (flags ^ entry.flags) & (_ENCRYPTED | _DESCRIPTOR):
        raise entry.refuse(
            "zip-header-mismatch", "is packed one way by its own header and another by the directory"
        )
    size, compressed, _, _ = _zip64_fields(extra, entry.name, size, compressed, 0, 0)
    told = (crc, compressed, size)
    later = flags & _DESCRIPTOR  # the numbers follow the data; here they may be zero
    for value, expected, what in zip(
        told, (entry.crc, entry.compressed, entry.size), ("checksum", "compressed size", "size"), strict=True
    ):
        if value != expected and not (later and value == 0):
            raise entry.refuse(
                "zip-header-mismatch",
                f"has the {what} {expected:,} in the archive's directory and {value:,} in its own header",
            )
    start = entry.offset + _LOCAL.size + name_length + extra_length
    if start + entry.compressed > directory_at:
        raise entry.refuse("zip-entry-outside-file", "has data beyond the end of the archive")
    return start


def _lossy(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _check_overlap(entries: Sequence[Entry], starts: Sequence[int]) -> None:
    spans = sorted(zip(entries, starts, strict=True), key=lambda pair: pair[0].offset)
    for (first, start), (second, _) in pairwise(spans):
        if start + first.compressed > second.offset:
            raise second.refuse("zip-overlap", f"shares bytes with the entry {quoted(first.name)}")
