"""Uploads over HTTP: what is good is kept whole, what is not leaves nothing behind."""

import io
import struct
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import pytest

from catalog.errors import PackageRefused, PackageTooLarge
from catalog.importer import Importer
from catalog.storage import ContentStore
from lyceum.catalog.v1.events_pb2 import PackageImported
from lyceum_kit.delivery import emitted

TENANT = UUID("01990000-0000-7000-8000-000000000001")
XML = b'<?xml version="1.0"?>'


def code(answer: Any) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()["type"].removeprefix("urn:lyceum:problem:")


async def assert_nothing_kept(catalog: Any) -> None:
    assert await catalog.kept() == (0, [])


async def test_a_good_package_is_kept_and_served_and_told(catalog: Any, zipped: Any, good: Any) -> None:
    answer = await catalog.upload(zipped(good))
    assert answer.status_code == 201, answer.text
    package = answer.json()
    assert answer.headers["location"] == f"/api/catalog/packages/{package['package_id']}"
    assert package["items"] == [
        {"identifier": "i", "title": "Start", "launch_path": "index.html", "sco": True, "mastery_score": None}
    ]
    (event,) = await emitted(catalog.service.ledger, TENANT)
    assert isinstance(event, PackageImported)
    assert (event.files, event.title) == (2, "A course")
    # The id is the address: it must be random, not a time.
    assert UUID(package["package_id"]).version == 4


async def test_a_form_brings_a_package_too_and_the_same_bytes_are_the_same_package(
    catalog: Any, zipped: Any, good: Any
) -> None:
    body = zipped(good)
    first = await catalog.upload(body)
    async with catalog.author() as http:
        again = await http.post("/api/catalog/packages", files={"file": ("c.zip", body, "application/zip")})
        assert again.status_code == 200, again.text
        assert again.json() == first.json()
        empty = await http.post("/api/catalog/packages", files={"x": (None, "no file")})
        assert code(empty) == "upload-missing"
    assert len(await emitted(catalog.service.ledger, TENANT)) == 1


@pytest.mark.parametrize(
    "encoding", ["gb2312", "shift_jis", "windows-1252", "koi8-r", "utf-16", "utf-32", "cp037"]
)
def test_an_unusual_encoding_hides_no_doctype(zipped: Any, inspected: Any, encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE m [<!ENTITY x SYSTEM "file:///etc/passwd">]><m>&x;</m>'
    body = zipped({"imsmanifest.xml": text.encode(encoding)})
    assert inspected(body) in ("xml-doctype-forbidden", "manifest-not-xml")


def test_a_manifest_in_an_unusual_encoding_is_read(zipped: Any, inspected: Any, good: Any) -> None:
    text = (
        good["imsmanifest.xml"]
        .decode()
        .replace("A course", "課程")
        .replace('"1.0"', '"1.0" encoding="gb18030"', 1)
    )
    assert inspected(zipped({**good, "imsmanifest.xml": text.encode("gb18030")})) == ""
    unknown = text.replace("gb18030", "no-such-encoding").encode()
    assert inspected(zipped({**good, "imsmanifest.xml": unknown})) == "manifest-not-xml"


async def sent(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def test_an_upload_over_the_limit_is_stopped_while_it_arrives(catalog: Any) -> None:
    content = ContentStore(f"file://{catalog.folder}/content")
    importer = Importer(catalog.service.ledger, content, lambda: TENANT, "", max_bytes=10_000, seconds=30)
    with pytest.raises(PackageTooLarge):
        await importer.run(sent(*[b"x" * 1000] * 11), tenant=TENANT, actor="a")
    async with catalog.author() as http:
        url, declared = "/api/catalog/packages", {"content-length": str(10**10)}
        assert (await http.post(url, content=b"", headers=declared)).status_code == 413
    await assert_nothing_kept(catalog)


async def test_a_check_that_takes_too_long_is_ended(catalog: Any, zipped: Any, good: Any) -> None:
    content = ContentStore(f"file://{catalog.folder}/content")
    importer = Importer(catalog.service.ledger, content, lambda: TENANT, "", max_bytes=10_000, seconds=0)
    with pytest.raises(PackageRefused) as refusal:
        await importer.run(sent(zipped(good)), tenant=TENANT, actor="a")
    assert refusal.value.code == "inspection-limit"
    await assert_nothing_kept(catalog)


def _bomb() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", b"\0" * 2_000_000)
    return out.getvalue()


def _nested() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("deeper.zip", _bomb())
    return out.getvalue()


def _too_large(f: Any) -> Any:
    for n in range(2):
        f.add(f"f{n}", method=8, packed=b"\0" * 11_000_000, size=1_090_000_000)
    return f


def _overlapping(f: Any) -> Any:
    f.add("a", b"A" * 50)
    return f.add("b", b"B" * 50, offset=0, local_name=b"b")


# Each is tried alone and with a valid manifest and its page added: a missing manifest must not hide the cause.
HOSTILE: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "parent": ("zip-path-traversal", lambda f: f.add("../evil.txt", b"x")),
    "parent inside": ("zip-path-traversal", lambda f: f.add("a/../../evil.txt", b"x")),
    "absolute": ("zip-absolute-path", lambda f: f.add("/etc/passwd", b"x")),
    "backslash": ("zip-backslash", lambda f: f.add("..\\evil.txt", b"x")),
    "drive": ("zip-drive-letter", lambda f: f.add("C:/evil.txt", b"x")),
    "NUL": ("zip-control-character", lambda f: f.add("index.html\0.txt", b"x")),
    "escape": ("zip-control-character", lambda f: f.add("a\x1b[2Jb", b"x")),
    "right-to-left": ("zip-bidi-character", lambda f: f.add("a\u202egpj.exe", b"x")),
    "too long": ("zip-name-too-long", lambda f: f.add("n" * 201, b"x")),
    "300 bytes of Ł": ("zip-name-too-long", lambda f: f.add("Ł" * 150, b"x")),
    "NFD": ("zip-name-not-nfc", lambda f: f.add("u\u0308.txt", b"x")),
    "not UTF-8": ("zip-name-encoding", lambda f: f.add(b"\xff\xfe.txt", b"x")),
    "device": ("zip-name-reserved", lambda f: f.add("files/CON.txt", b"x")),
    "our pages": ("zip-name-reserved", lambda f: f.add("__LMS/run", b"x")),
    "empty part": ("zip-path-unclean", lambda f: f.add("a//b", b"x")),
    "dot part": ("zip-path-unclean", lambda f: f.add("./b", b"x")),
    "too deep": ("zip-path-too-deep", lambda f: f.add("d/" * 21 + "f", b"x")),
    "twice": ("zip-duplicate-name", lambda f: f.add("a", b"1").add("a", b"2")),
    "case twins": ("zip-name-twin", lambda f: f.add("page.html", b"1").add("Page.html", b"2")),
    "form twins": ("zip-name-twin", lambda f: f.add("\u00fc", b"1").add("u\u0308", b"2")),
    "manifest twins": ("zip-name-twin", lambda f: f.add("x", b"").add("IMSManifest.xml", b"").add("ImsManifest.xml", b"")),
    "file and folder": ("zip-file-and-folder", lambda f: f.add("a", b"1").add("a/b", b"2")),
    "symbolic link": ("zip-special-entry", lambda f: f.add("link", b"/etc/passwd", mode=0o120777)),
    "device node": ("zip-special-entry", lambda f: f.add("null", b"", mode=0o020666)),
    "folder with data": ("zip-special-entry", lambda f: f.add("folder/", b"x")),
    "encrypted": ("zip-encrypted", lambda f: f.add("secret", b"x", flags=0x0801)),
    "bzip2": ("zip-compression-unsupported", lambda f: f.add("b", b"x", method=12)),
    "lzma": ("zip-compression-unsupported", lambda f: f.add("b", b"x", method=14)),
    "two stored sizes": ("zip-stored-size-mismatch", lambda f: f.add("a", b"12345", size=4, local_size=4)),
    "outside": ("zip-entry-outside-file", lambda f: f.add("a", b"x", compressed=10**6, size=10**6)),
    "far offset": ("zip-entry-outside-file", lambda f: f.add("a", b"x", offset=2**31)),
    "no local header": ("zip-local-header-invalid", lambda f: f.add("a", b"x", local_magic=b"PK\x03\x03")),
    "two names": ("zip-header-mismatch", lambda f: f.add("a.txt", b"x", local_name=b"../b.txt")),
    "two methods": ("zip-header-mismatch", lambda f: f.add("a", b"x", local_method=8)),
    "two sizes": ("zip-header-mismatch", lambda f: f.add("a", b"x" * 9, method=8, local_size=5)),
    "more than declared": ("zip-size-mismatch", lambda f: f.add("a", b"x" * 900, method=8, size=800)),
    "less than declared": ("zip-size-mismatch", lambda f: f.add("a", b"x" * 900, method=8, size=999)),
    "checksum": ("zip-data-invalid", lambda f: f.add("a", b"x", crc=7)),
    "not deflate": ("zip-data-invalid", lambda f: f.add("a", b"x" * 20, method=8, packed=b"\xff" * 20)),
    "cut deflate": ("zip-data-invalid", lambda f: f.add("a", b"", method=8, packed=b"\x4b", size=5)),
    "bytes after deflate": ("zip-size-mismatch", lambda f: f.add("a", b"x", method=8, packed=b"\x03\x00junk", size=1)),
    "bomb": ("zip-ratio", lambda f: f.add("zeros", b"\0" * 1_000_000, method=8)),
    "lying bomb": ("zip-size-mismatch", lambda f: f.add("zeros", b"\0" * 1_000_000, method=8, size=50_000)),
    "bomb in a zip": ("zip-nested-bomb", lambda f: f.add("exercise.zip", _bomb())),
    "zip in a zip in a zip": ("zip-nested-bomb", lambda f: f.add("exercise.zip", _nested())),
    "overlap": ("zip-overlap", _overlapping),
    "too large": ("zip-unpacked-too-large", _too_large),
    "no zip64": ("zip-zip64-invalid", lambda f: f.add("a", b"", size=0xFFFFFFFF)),
    "short zip64": ("zip-zip64-invalid", lambda f: f.add("a", b"", size=0xFFFFFFFF, extra=struct.pack("<2H4s", 1, 4, b"1234"))),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_for_its_own_cause(forge: Any, inspected: Any, name: str) -> None:
    expected, make = HOSTILE[name]
    assert inspected(make(forge()).build()) == expected
    assert inspected(make(forge().good()).build()) == expected


async def test_hostile_archives_get_a_problem_each_and_leave_nothing(catalog: Any, forge: Any) -> None:
    for expected, make in HOSTILE.values():
        answer = await catalog.upload(make(forge().good()).build())
        assert (answer.status_code, code(answer)) == (422, expected), answer.text
        assert len(answer.json()["detail"]) > 20
    await assert_nothing_kept(catalog)


BROKEN: list[tuple[str, Callable[[Any], bytes]]] = [
    ("zip-trailing-data", lambda f: f.build(suffix=b"more")),
    ("zip-directory-invalid", lambda f: f.build()[:-22].ljust(900, b"\0") + f.build()[-22:]),
    ("zip-truncated", lambda f: f.build()[:-30]),
    ("zip-directory-invalid", lambda f: f.build(count=1)),
    ("zip-directory-invalid", lambda f: f.build(count=9)),
    ("zip-too-many-entries", lambda f: f.build(count=10_001)),
    ("zip-leading-data", lambda f: f.build(prefix=b"GIF89a/*" + b" " * 40)),
    ("zip-end-ambiguous", lambda f: f.build(comment=b"PK\x05\x06" + b"\0" * 18)),
    ("zip-empty", lambda _: b"PK\x05\x06" + b"\0" * 18),
    ("not-a-zip", lambda _: b"# just some text\n"),
    ("not-a-zip", lambda _: b"<html><body>hello</body></html>"),
    ("not-a-zip", lambda _: b"<broken"),
    ("package-empty", lambda _: b""),
]


@pytest.mark.parametrize(("expected", "change"), BROKEN)
def test_a_broken_archive_is_refused(forge: Any, inspected: Any, expected: str, change: Any) -> None:
    assert inspected(change(forge().good())) == expected


def test_ten_thousand_entries_are_the_end(forge: Any, inspected: Any) -> None:
    many = forge().good()
    for n in range(10_000):
        many.add(f"f{n}")
    assert inspected(many.build()) == "zip-too-many-entries"


def doctype(body: bytes) -> bytes:
    return XML + body + b"<manifest/>"


@pytest.mark.parametrize("name", ["imsmanifest.xml", "cmi5.xml"])
@pytest.mark.parametrize(
    "body",
    [
        doctype(b'<!DOCTYPE m [<!ENTITY x SYSTEM "file:///etc/passwd">]>'),
        doctype(b'<!DOCTYPE m [<!ENTITY x SYSTEM "http://127.0.0.1:1/x">]>'),
        doctype(b'<!DOCTYPE m [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x.dtd"> %p;]>'),
        doctype(b'<!DOCTYPE m SYSTEM "http://127.0.0.1:1/x.dtd">'),
        doctype(b"<!DOCTYPE m>"),
        XML + b"<!DOCTYPE m [<!ENTITY a0 'ha'>"
        + b"".join(b"<!ENTITY a%d '%s'>" % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12)) + b"]><m a='&a11;'/>",
        doctype(b"<!DOCTYPE m>").decode().encode("utf-16"),
    ],
    ids=["file", "http", "parameter", "external", "bare", "laughs", "utf-16"],
)  # fmt: skip
def test_a_doctype_is_refused_whatever_is_in_it(zipped: Any, inspected: Any, name: str, body: bytes) -> None:
    assert inspected(zipped({name: body, "index.html": b"x"})) == "xml-doctype-forbidden"


def test_a_lone_course_structure_with_a_doctype_is_refused(inspected: Any) -> None:
    assert inspected(doctype(b"<!DOCTYPE courseStructure>")) == "xml-doctype-forbidden"


def manifest(good: dict[str, bytes], old: bytes, new: bytes) -> dict[str, bytes]:
    assert old in good["imsmanifest.xml"]
    return {**good, "imsmanifest.xml": good["imsmanifest.xml"].replace(old, new)}


@pytest.mark.parametrize(
    ("expected", "old", "new"),
    [
        ("xml-xinclude-forbidden", b"<metadata>", b'<x:include xmlns:x="http://www.w3.org/2001/XInclude" href="/etc/passwd"/><metadata>'),
        ("manifest-not-xml", b"</manifest>", b""),
        ("xml-too-deep", b"<metadata>", b"<a>" * 150 + b"</a>" * 150 + b"<metadata>"),
        ("scorm-2004-not-supported", b">1.2<", b">2004 4th Edition<"),
        ("scorm-2004-not-supported", b">1.2<", b">CAM 1.3<"),
        ("scorm-version-not-supported", b">1.2<", b">1.1<"),
        ("manifest-not-scorm", b">1.2<", b">IMS CP<"),
        ("manifest-no-organization", b'default="o"', b'default="other"'),
        ("manifest-no-items", b' identifierref="r"', b""),
        ("manifest-unknown-resource", b'identifierref="r"', b'identifierref="other"'),
        ("manifest-launch-missing", b'href="index.html"', b'href="other.html"'),
        ("manifest-launch-invalid", b' href="index.html"', b""),
        ("manifest-launch-external", b'href="index.html"', b'href="https://example.com/index.html"'),
        ("manifest-launch-external", b'href="index.html"', b'href="//example.com/index.html"'),
        ("manifest-launch-external", b'href="index.html"', b'href="javascript:alert(1)"'),
        ("manifest-launch-external", b'href="index.html"', b'href="../index.html"'),
        ("manifest-mastery-score", b"</item>", b"<adlcp:masteryscore>120</adlcp:masteryscore></item>"),
        ("manifest-mastery-score", b"</item>", b"<adlcp:masteryscore>nan</adlcp:masteryscore></item>"),
        ("manifest-duplicate-identifier", b"</item>", b'</item><item identifier="i" identifierref="r"/>'),
        ("manifest-too-large", b"<metadata>", b"<!--" + bytes(range(32, 45)).replace(b"-", b"") * 450_000 + b"--><metadata>"),
    ],
)  # fmt: skip
def test_a_manifest_is_refused_for_its_own_cause(
    forge: Any, inspected: Any, good: Any, expected: str, old: bytes, new: bytes
) -> None:
    archive = forge()
    for name, data in manifest(good, old, new).items():
        archive.add(name, data)
    assert inspected(archive.build()) == expected


async def test_without_a_manifest_at_the_top_the_answer_says_where_it_is(
    catalog: Any, zipped: Any, good: Any
) -> None:
    inside = zipped({f"course/{name}": data for name, data in good.items()})
    assert code(await catalog.upload(inside)) == "manifest-not-at-root"
    assert code(await catalog.upload(zipped({"index.html": b"x"}))) == "manifest-missing"
    assert (
        code(await catalog.upload(zipped({"IMSMANIFEST.XML": good["imsmanifest.xml"]})))
        == "manifest-name-case"
    )
    packed_twice = await catalog.upload(zipped({"course.zip": zipped(good)}))
    assert code(packed_twice) == "manifest-missing"
    assert "another zip" in packed_twice.json()["detail"]
    await assert_nothing_kept(catalog)


async def test_shell_metacharacters_in_names_are_names(catalog: Any, zipped: Any, good: Any) -> None:
    answer = await catalog.upload(zipped({**good, "$(touch x);`id`|&.txt": b"x", "a b'\".php": b"<?php"}))
    assert answer.status_code == 201, answer.text


REFUSED_SAMPLES = {
    "hostile/absolute-path-C-xt": "zip-drive-letter",
    "hostile/compressed-uncompressed": "zip-stored-size-mismatch",
    "hostile/file-data-overflows": "zip-entry-outside-file",
    "hostile/invalid-characters": "zip-backslash",
    "hostile/invalid-local-file": "zip-local-header-invalid",
    "hostile/invalid-zip64": "zip-zip64-invalid",
    "hostile/not-enough-bytes": "zip-header-mismatch",
    "hostile/too-many-bytes": "zip-header-mismatch",
    "hostile/scorm-nested": "manifest-not-at-root",
    "hostile/scorm-no-manifest": "manifest-missing",
    "hostile/unexpected-EOF": "zip-zip64-invalid",
    "hostile/zip-slip-unix": "zip-path-traversal",
    "hostile/zip-slip-windows": "zip-backslash",
    "hostile/zip64-extended": "zip-zip64-invalid",
    "cmi5/101-": "cmi5-not-supported",
    "cmi5/201-": "cmi5-id-not-iri",
    "cmi5/202-": "cmi5-relative-url",
    "cmi5/204-": "cmi5-query-conflict",
    "cmi5/205-": "cmi5-duplicate-id",
    "cmi5/206-": "cmi5-url-invalid",
    "cmi5/207-": "cmi5-structure-invalid",
    "cmi5/209-": "not-a-zip",
    "cmi5/pre_post": "cmi5-not-supported",
    "cmi5/single_au": "cmi5-not-supported",
    "scorm/RuntimeBasicCalls_SCORM2004": "scorm-2004-not-supported",
    "scorm/Sequencing": "scorm-2004-not-supported",
}


def with_manifest(body: bytes, good: dict[str, bytes]) -> bytes | None:
    """The archive with honest entries for a manifest and its page put before its directory; None for no zip."""
    end = body.rfind(b"PK\x05\x06")
    if end < 0:
        return None
    _, disk, first, here, count, size, offset, comment = struct.unpack_from("<4s4H2LH", body, end)
    zip64, record = offset == 0xFFFFFFFF, 0
    if zip64:
        (record,) = struct.unpack_from("<Q", body, end - 20 + 8)
        here, count, size, offset = struct.unpack_from("<4Q", body, record + 24)
    entries, directory = b"", b""
    for name, data in good.items():
        shared = (20, 0, 0, 0, 33, zlib.crc32(data), len(data), len(data), len(name), 0)
        directory += struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, *shared, 0, 0, 0, 0, offset + len(entries))
        directory += name.encode()
        entries += struct.pack("<4s5H3L2H", b"PK\x03\x04", *shared) + name.encode() + data
    out = bytearray(
        body[:offset] + entries + body[offset : offset + size] + directory + body[offset + size :]
    )
    moved = len(entries) + len(directory)
    now = here + len(good), count + len(good), size + len(directory), offset + len(entries)
    if zip64:
        struct.pack_into("<Q", out, end + moved - 20 + 8, record + moved)
        struct.pack_into("<4Q", out, record + moved + 24, *now)
    else:
        struct.pack_into("<4s4H2LH", out, end + moved, body[end : end + 4], disk, first, *now, comment)
    return bytes(out)


async def test_every_hostile_sample_is_refused_for_its_own_cause(
    catalog: Any, samples: dict[str, bytes], good: Any
) -> None:
    for name, sample in samples.items():
        if name.endswith("SCORM12.zip"):
            continue
        expected = next(cause for start, cause in REFUSED_SAMPLES.items() if name.startswith(start))
        bodies = [sample]
        if name.startswith("hostile/") and not expected.startswith("manifest-"):
            bodies.append(with_manifest(sample, good) or b"")
        for body in bodies:
            answer = await catalog.upload(body)
            assert (name, answer.status_code, code(answer)) == (name, 422, expected), answer.text
    await assert_nothing_kept(catalog)


async def test_the_scorm_12_samples_import(catalog: Any, samples: dict[str, bytes]) -> None:
    scos: dict[str, list[bool]] = {}
    for name, body in samples.items():
        if name.endswith("SCORM12.zip"):
            answer = await catalog.upload(body)
            assert answer.status_code == 201, answer.text
            scos[name] = [item["sco"] for item in answer.json()["items"]]
    assert scos == {
        "scorm/ContentPackagingOneFilePerSCO_SCORM12.zip": [False] * 19,
        "scorm/RuntimeBasicCalls_SCORM12.zip": [True],
    }
