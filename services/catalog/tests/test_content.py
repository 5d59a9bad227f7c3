"""The packages' own origins."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from catalog.content import Span, requested
from lyceum_kit.testing import client


@pytest.fixture
async def origin(catalog: Any, zipped: Any, good: Any) -> Any:
    """A client on the origin of an imported package."""
    files = {
        **good, "media/clip.MP4": bytes(range(256)) * 40, "Pages/Two.html": b"two", "a b.svg": b"<svg/>",
        "run.php": b"<?php", "empty.css": b"", "ü/日本.txt": b"names",
    }  # fmt: skip
    answer = await catalog.upload(zipped(files))
    assert answer.status_code == 201, answer.text
    host = f"{answer.json()['package_id']}.localhost:8081"
    transport = httpx.ASGITransport(catalog.service.http)
    async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as http:
        yield http


async def test_files_are_served_with_their_types_and_the_origins_rules(origin: Any) -> None:
    answer = await origin.get("/index.html")
    assert (answer.status_code, answer.content) == (200, b"<title>Start</title>")
    assert answer.headers["content-type"] == "text/html"
    policy = answer.headers["content-security-policy"]
    assert "frame-ancestors 'self' http://127.0.0.1:8080" in policy
    assert "allow-top-navigation" not in policy
    assert "unload=(self)" in answer.headers["permissions-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "set-cookie" not in answer.headers
    for path, kind in (
        ("/media/clip.MP4", "video/mp4"), ("/a%20b.svg", "image/svg+xml"), ("/run.php", "application/octet-stream"),
        ("/%C3%BC/%E6%97%A5%E6%9C%AC.txt", "text/plain"), ("/pages/two.HTML", "text/html"), ("/empty.css", "text/css"),
    ):  # fmt: skip
        answer = await origin.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind), path


async def test_ranges_and_known_files_save_the_way(origin: Any) -> None:
    whole = await origin.get("/media/clip.MP4")
    for header, status, start, end in (
        ("bytes=0-9", 206, 0, 10), ("bytes=10000-", 206, 10000, 10240), ("bytes=-5", 206, 10235, 10240),
        ("bytes=0-99999", 206, 0, 10240), ("bytes=0-1,5-6", 200, 0, 10240), ("lines=1-2", 200, 0, 10240),
    ):  # fmt: skip
        answer = await origin.get("/media/clip.MP4", headers={"range": header})
        assert (answer.status_code, answer.content) == (status, whole.content[start:end]), header
        if status == 206:
            assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/10240"
    beyond = await origin.get("/media/clip.MP4", headers={"range": "bytes=10240-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */10240")
    etag = whole.headers["etag"]
    known = await origin.get("/media/clip.MP4", headers={"if-none-match": f'"x", W/{etag}'})
    assert (known.status_code, known.content) == (304, b"")
    changed = await origin.get("/media/clip.MP4", headers={"range": "bytes=0-9", "if-range": '"other"'})
    assert changed.status_code == 200
    head = await origin.head("/media/clip.MP4")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "10240")


@pytest.mark.parametrize(
    "path",
    ["/", "/none.html", "/media", "/media/", "/../packages", "/%2e%2e/x", "/index.html%00", "/__lms/run", "/..%5cx",
     "/api/catalog/courses", "/api/catalog/livez"],
)  # fmt: skip
async def test_everything_else_on_a_packages_origin_is_not_found(origin: Any, path: str) -> None:
    answer = await origin.get(path)
    assert (answer.status_code, answer.content) == (404, b"")


async def test_service_workers_and_writing_are_refused(origin: Any) -> None:
    worker = await origin.get("/index.html", headers={"service-worker": "script"})
    assert (worker.status_code, worker.content) == (403, b"")
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert (await origin.request(method, "/index.html")).status_code == 405


async def test_unknown_packages_and_other_spellings_of_an_id_are_not_found(catalog: Any, origin: Any) -> None:
    known = origin.base_url.host.split(".")[0]
    async with client(catalog.service) as http:
        for label in (str(uuid4()), known.replace("-", ""), "www", "{" + known + "}"):
            answer = await http.get("/index.html", headers={"host": f"{label}.localhost:8081"})
            assert answer.status_code == 404, label
        # And the app's host serves no package, whatever the path.
        assert (await http.get("/index.html")).status_code == 404
        assert (await http.get("/api/catalog/livez")).status_code == 200


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [("", 5, None), ("bytes=-", 5, None), ("bytes=3-2", 5, None), ("bytes=-0", 5, "unsatisfiable"),
     ("bytes=0-", 0, "unsatisfiable"), ("bytes=0-0", 5, Span(0, 1)), ("bytes=-9", 5, Span(0, 5))],
)  # fmt: skip
def test_a_range_is_read_as_the_specification_says(header: str, size: int, expected: object) -> None:
    assert requested(header, size) == expected
