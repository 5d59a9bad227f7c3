"""Whatever bytes arrive, the inspection answers: a package, or a cause. It never breaks."""

import io
import tempfile
import zipfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.packages.inspection import Package, inspect
from catalog.packages.refusal import Refusal, quoted

MANIFEST = b"""<manifest xmlns:adlcp="http://www.adlnet.org/xsd/adlcp_rootv1p2"><metadata><schemaversion>1.2</schemaversion>
</metadata><organizations><organization><item identifier="i" identifierref="r"/></organization></organizations>
<resources><resource identifier="r" adlcp:scormtype="sco" href="a.html"/></resources></manifest>"""
CMI5 = b"""<courseStructure xmlns="https://w3id.org/xapi/profiles/cmi5/v1/CourseStructure.xsd"><course id="urn:a:1"><title>
<langstring>T</langstring></title><description><langstring>D</langstring></description></course><au id="urn:a:2"><title>
<langstring>T</langstring></title><description><langstring>D</langstring></description><url>a.html</url></au></courseStructure>"""


def archive(manifest: str, data: bytes, compression: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as made:
        made.writestr(manifest, data)
        made.writestr("a.html", b"<p>hello hello hello</p>")
    return out.getvalue()


SEEDS = [
    archive(name, data, how)
    for name, data in (("imsmanifest.xml", MANIFEST), ("cmi5.xml", CMI5))
    for how in (0, 8)
]


def answer(body: bytes) -> Package | Refusal:
    with tempfile.TemporaryDirectory() as folder:
        try:
            return inspect(io.BytesIO(body), Path(folder))
        except Refusal as refusal:
            return refusal


def test_the_seeds_are_good_packages() -> None:
    answers = [answer(seed) for seed in SEEDS]
    assert [isinstance(a, Package) or a.code for a in answers] == [True, True, *["cmi5-not-supported"] * 2]


@settings(max_examples=400)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=6)), max_size=4),
    st.floats(0, 1),
)
def test_a_damaged_archive_is_read_or_refused(
    seed: bytes, damage: list[tuple[float, bytes]], cut: float
) -> None:
    body = bytearray(seed)
    for where, what in damage:
        at = int(where * len(body))
        body[at : at + len(what)] = what
    if cut < 0.2:
        del body[int(cut * 5 * len(body)) :]
    assert isinstance(answer(bytes(body)), (Package, Refusal))


@settings(max_examples=200)
@given(st.sampled_from([("imsmanifest.xml", MANIFEST), ("cmi5.xml", CMI5)]), st.data())
def test_a_damaged_manifest_is_read_or_refused(seed: tuple[str, bytes], data: st.DataObject) -> None:
    name, text = seed
    at = data.draw(st.integers(0, len(text)))
    gone = data.draw(st.integers(0, 40))
    inserted = data.draw(st.one_of(st.binary(max_size=10), st.text(max_size=10).map(str.encode)))
    assert isinstance(answer(archive(name, text[:at] + inserted + text[at + gone :], 0)), (Package, Refusal))


@given(st.binary(max_size=200))
def test_any_bytes_at_all_are_refused(body: bytes) -> None:
    assert isinstance(answer(body), Refusal)


@given(st.text())
def test_a_strangers_name_is_quoted_without_control_characters(name: str) -> None:
    assert quoted(name).isprintable()
