"""A marker is a word that occurs nowhere else: of the run, a person, and the field it was planted in."""

import base64
import re
import secrets
from collections.abc import Iterable, Mapping

# What belongs to nobody and stays: it shows that a search can find something.
HOUSE = EVERYBODY, OF_THE_HOUSE = 999, "p"
# Fields by letter. What is kept of a person in the clear until they are erased, and what never is.
KEPT = {
    "n": "name",
    "m": "mail",
    "x": "HR's id",
    "t": "why they left",
    "h": "HR's id of a leaver whom nobody knows",
    "i": "why that one left",
    "s": "name in a held listing",
    "r": "why a certificate was revoked",
}
NEVER = {
    "g": "given name beside a full one",
    "a": "answer to a question",
    "b": "suspend_data",
    "c": "comments",
    "d": "lesson_location",
    "e": "student_response",
    "j": "of what is no JSON",
    "k": "mail of somebody without a name",
    "l": "of an event of an unknown type",
    "u": "of a message that nobody signed",
    "q": "what somebody was looked for by",
}

Found = set[tuple[int, str]]  # (person, field)


class Markers:
    """Words of one run, and the search for them."""

    def __init__(self) -> None:
        self.word = "zq" + "".join(secrets.choice("bcdfghjkvwxyz") for _ in range(6))
        self._plain = re.compile(rf"{self.word}(\d{{3}})([a-z])")
        # PostgreSQL's compression puts a byte between any eight: `.??`.
        parts = [*self.word, r"(\d)", r"(\d)", r"(\d)", "([a-z])"]
        self._raw = re.compile(".??".join(parts).encode(), re.S)
        coded = {base64.b64encode(b"\0" * n + self.word.encode())[4 if n else 0 : 10] for n in range(3)}
        self._coded = re.compile(b"|".join(re.escape(c) for c in coded))

    def of(self, person: int, letter: str) -> str:
        assert letter in KEPT.keys() | NEVER.keys() | {OF_THE_HOUSE}
        return f"{self.word}{person:03d}{letter}"

    def in_text(self, text: str) -> Found:
        found = {(int(m[1]), m[2]) for m in self._plain.finditer(text)}
        for blob in re.findall(r"\\x([0-9a-f]{8,})", text):  # bytes, as PostgreSQL prints them
            found |= self.in_bytes(bytes.fromhex(blob[: len(blob) // 2 * 2]))
        return found | self._in_coded(text.encode())

    def in_bytes(self, data: bytes) -> Found:
        found = {(int(m[1] + m[2] + m[3]), m[4].decode()) for m in self._raw.finditer(data)}
        return found | self._in_coded(data)

    def _in_coded(self, data: bytes) -> Found:
        """In what is coded in base64, as a credential's claims are."""
        found: Found = set()
        for match in self._coded.finditer(data):
            start = max(0, match.start() - 64)
            run = re.search(rb"[A-Za-z0-9_+/-]*$", data[start : match.start()])
            assert run
            coded = re.match(rb"[A-Za-z0-9_+/-]*", data[start + run.start() : match.end() + 64])
            assert coded
            for shift in range(4):
                text = coded[0][shift:]
                plain = base64.b64decode(text[: len(text) // 4 * 4].translate(bytes.maketrans(b"-_", b"+/")))
                found |= {(int(m[1]), m[2]) for m in self._plain.finditer(plain.decode("latin-1"))}
        return found


def of(found: Found, people: Iterable[int]) -> Found:
    some = set(people)
    return {(n, letter) for n, letter in found if n in some}


def left(places: Mapping[str, Found], people: Iterable[int]) -> dict[str, Found]:
    return {place: some for place, found in places.items() if (some := of(found, people))}


def letters(found: Found, people: Iterable[int]) -> set[str]:
    return {letter for _, letter in of(found, people)}
