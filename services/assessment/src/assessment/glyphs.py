"""PURE: which characters a font can show, read from its cmap table (OpenType 1.9, formats 4 and 12).

PDF/UA allows no missing glyph: one emoji in a course's title, and there would be no document at all.
"""

import struct
from collections.abc import Iterator

REPLACEMENT = "?"
_MISSING_RANGE = 0xFFFF


def coverage(font: bytes) -> frozenset[int]:
    """The code points that a TrueType or OpenType font has a glyph for."""
    (tables,) = struct.unpack_from(">H", font, 4)
    found = {
        font[at : at + 4]: struct.unpack_from(">I", font, at + 8)[0] for at in range(12, 12 + 16 * tables, 16)
    }
    cmap = found[b"cmap"]
    (subtables,) = struct.unpack_from(">H", font, cmap + 2)
    starts = [cmap + struct.unpack_from(">I", font, cmap + 8 + 8 * n)[0] for n in range(subtables)]
    return frozenset(code for start in starts for code in _subtable(font, start))


def _subtable(font: bytes, at: int) -> Iterator[int]:
    (kind,) = struct.unpack_from(">H", font, at)
    if kind == 12:
        (groups,) = struct.unpack_from(">I", font, at + 12)
        for first, last, _glyph in struct.iter_unpack(">3I", font[at + 16 : at + 16 + 12 * groups]):
            yield from range(first, last + 1)
    elif kind == 4:
        count = struct.unpack_from(">H", font, at + 6)[0] // 2
        ends = struct.unpack_from(f">{count}H", font, at + 14)
        starts, deltas, offsets = (
            struct.unpack_from(f">{count}H", font, at + 16 + 2 * count * n) for n in (1, 2, 3)
        )
        for n, (first, last, delta, offset) in enumerate(zip(starts, ends, deltas, offsets, strict=True)):
            place = at + 16 + 6 * count + 2 * n + offset
            for code in range(first, min(last, _MISSING_RANGE - 1) + 1):
                glyph = struct.unpack_from(">H", font, place + 2 * (code - first))[0] if offset else code
                if (glyph + delta) & 0xFFFF if glyph or not offset else 0:
                    yield code


def shown(text: str, known: frozenset[int]) -> str:
    """The text with a question mark in place of each character that no font has."""
    return "".join(c if ord(c) in known else REPLACEMENT for c in text)
