"""PURE. Which names of zip entries are fit to be kept and served, on any file system and in any browser.

Packages are stored by content, so a name never becomes a path on a disk. It is checked as if it did: other tools
will unpack what authors download again, and a refusal today is cheaper than a surprise then.
"""

import re
import unicodedata
from collections.abc import Sequence

from catalog.packages.refusal import Refusal, quoted

MAX_BYTES = 200
MAX_DEPTH = 20

# Paths of the player's own pages on the package's origin.
OURS = "__lms"

_DRIVE = re.compile(r"^[A-Za-z]:")
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"]
)


def check_name(name: str) -> None:
    """Refuse what must not be the name of a file or folder (a folder ends in a slash)."""
    shown = quoted(name)

    def refuse(code: str, why: str) -> Refusal:
        return Refusal(code, f"The entry {shown} {why}.", entry=name)

    for character in name:
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            raise refuse("zip-control-character", f"contains the control character U+{ord(character):04X}")
        if character in _BIDI:
            raise refuse("zip-bidi-character", f"contains U+{ord(character):04X}, which turns text around")
    if "\\" in name:
        raise refuse("zip-backslash", "contains a backslash; paths in a package are separated by '/'")
    if name.startswith("/"):
        raise refuse("zip-absolute-path", "begins with '/'; paths in a package are relative")
    if _DRIVE.match(name):
        raise refuse("zip-drive-letter", "is an absolute path: it names a Windows drive")
    parts = name.removesuffix("/").split("/")
    if ".." in parts:
        raise refuse("zip-path-traversal", "climbs out of the package with '..'")
    if "" in parts or "." in parts:
        raise refuse("zip-path-unclean", "has an empty or '.' part in its path")
    if len(name.encode()) > MAX_BYTES:
        raise refuse("zip-name-too-long", f"is {len(name.encode())} bytes long; {MAX_BYTES} are allowed")
    if len(parts) > MAX_DEPTH:
        raise refuse("zip-path-too-deep", f"lies {len(parts)} folders deep; {MAX_DEPTH} are allowed")
    for part in parts:
        if part.split(".")[0].rstrip(" ").casefold() in _DEVICES:
            raise refuse("zip-name-reserved", f"has the part {part!r}, a device name on Windows")
    if parts[0].casefold() == OURS:
        raise refuse("zip-name-reserved", f"lies in {OURS}/, where the player's own pages are")


def check_names(names: Sequence[str]) -> None:
    """Refuse each unfit name, then names that some file system would take for one another."""
    for name in names:
        check_name(name)
    seen: dict[str, str] = {}
    folders: dict[str, str] = {}
    for name in names:
        key = unicodedata.normalize("NFC", name.removesuffix("/")).casefold()
        if key in seen:
            raise _twin(name, seen[key])
        seen[key] = name
        parts = key.split("/")
        folders.update(("/".join(parts[:depth]), name) for depth in range(1, len(parts)))
    for key, name in seen.items():
        if not name.endswith("/") and key in folders:
            raise Refusal(
                "zip-file-and-folder",
                f"The entry {quoted(name)} is a file, but {quoted(folders[key])} lies inside it.",
                entry=name,
            )
    for name in names:
        if not unicodedata.is_normalized("NFC", name):
            raise Refusal(
                "zip-name-not-nfc",
                f"The entry {name!a} is not in Unicode normal form C: other systems would spell it otherwise.",
                entry=name,
            )


def _twin(name: str, other: str) -> Refusal:
    if name == other:
        return Refusal("zip-duplicate-name", f"The entry {quoted(name)} is in the archive twice.", entry=name)
    if name.removesuffix("/") == other.removesuffix("/"):
        return Refusal("zip-file-and-folder", f"{quoted(name)} is both a file and a folder.", entry=name)
    return Refusal(
        "zip-name-twin",
        f"The entries {other!a} and {name!a} differ in case or in Unicode form only.",
        entry=name,
    )
